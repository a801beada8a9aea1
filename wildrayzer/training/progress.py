"""Progress of a training stage: a bar with speed and time left on a terminal, a line now and then in a log file."""

import logging
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

logger = logging.getLogger(__name__)
_LINE_SECONDS = 20.0


class StageProgress:
    """Context manager; `advance` once a step."""

    def __init__(self, name: str, start: int, total: int, *, shown: bool) -> None:
        self.name, self.start, self.done, self.total = name, start, start, total
        self.interactive = shown and sys.stderr.isatty()
        self.logged = shown and not self.interactive
        self.begun = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
            disable=not self.interactive,
        )
        self.task = self.bar.add_task(name, total=total, completed=start, figures="")

    def __enter__(self) -> "StageProgress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, figures: dict[str, Tensor]) -> None:
        """One more step is done."""
        self.done += 1
        now = time.monotonic()
        if now - self.last_line < (1.0 if self.interactive else _LINE_SECONDS) and self.done < self.total:
            return
        self.last_line = now
        speed = (self.done - self.start) / (now - self.begun)
        left = (self.total - self.done) / speed
        text = f"loss {figures['loss'].item():.4f}, {speed:.1f} steps/s"
        if self.interactive:
            self.bar.update(self.task, completed=self.done, figures=text)
        elif self.logged:
            logger.info("%s %d/%d, %s, %.0f s left", self.name, self.done, self.total, text, left)
