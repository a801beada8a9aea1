"""Progress of a transfer: a bar on a terminal, a line a minute in the log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

logger = logging.getLogger(__name__)

LOG_EVERY = 60.0
"""Seconds between lines in the log."""


@contextmanager
def transfer_progress(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with each number of bytes that arrived."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
    task = bar.add_task(name, total=total)
    done, last = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        bar.advance(task, count)
        if time.monotonic() - last >= LOG_EVERY:
            last = time.monotonic()
            whole = "" if total is None else f" of {total / 1e9:.2f}"
            logger.info("%s: %.2f%s GB", name, done / 1e9, whole)

    with bar:
        yield advance
