"""Loading batches in worker processes, and what to do when none arrives."""

import logging
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from wildrayzer.training.batch import Batch
from wildrayzer.training.data import BatchBuilder
from wildrayzer.training.distributed import World

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""How often a loader that waits looks for requests to stop."""
GRACE_SECONDS = 60.0
"""How long one of several processes waits before it obeys: they agree on a stop in a step, which needs the batch."""
PATIENCE_SECONDS = 900.0
"""How long to wait for a batch before training fails."""
_FIRST_WARNING_SECONDS = 30.0
_KILLED_SECONDS = 10.0
"""How long a killed worker may take to disappear."""
_SHARED_MEMORY = Path("/dev/shm")
_TIMED_OUT, _WORKER_DIED = "DataLoader timed out", "DataLoader worker (pid"
"""How torch's errors begin; it has no classes for them."""


class LoaderError(ValueError):
    """Loader workers deliver no batch; the message names the free shared memory and the fix."""


class _StepDataset(Dataset[list[Batch]]):
    """Micro-batches of this process by step, for loader workers."""

    def __init__(self, builder: BatchBuilder, world: World) -> None:
        self.builder, self.rank, self.size = builder, world.rank, world.size

    def __getitem__(self, step: int) -> list[Batch]:
        return self.builder.build(step, rank=self.rank, world=self.size)


def _ignore_stop_signals(_worker: int) -> None:
    """Leave requests to stop to the training process: a cluster signals loader workers too, and the step needs them."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def load_batches(
    builder: BatchBuilder, world: World, *, steps: range, workers: int, stop_requested: Callable[[], bool]
) -> Generator[list[Batch], None, None]:
    """Micro-batches of this process, one list per step. Close it to end the workers.

    The iterator ends before the last step if a stop is requested while it waits for a worker. A worker whose batch does
    not fit into shared memory loses it without an error that the training process sees, so that waits are limited.

    Args:
        builder: makes the batches.
        world: this process among all.
        steps: in order.
        workers: loader processes; 0 loads in this process.
        stop_requested: whether to stop; looked at while waiting.

    Raises:
        LoaderError: a worker died, or none delivered the next batch within `PATIENCE_SECONDS`.
    """
    loader = DataLoader(
        _StepDataset(builder, world),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        timeout=POLL_SECONDS if workers else 0,
        pin_memory=world.device.type == "cuda",
        worker_init_fn=_ignore_stop_signals,
    )
    batches = iter(loader)
    grace = 0.0 if world.size == 1 else GRACE_SECONDS
    try:
        for _ in steps:
            batch = _next(batches, stop_requested, grace)
            if batch is None:
                return
            if isinstance(batch, str):
                raise LoaderError(f"{workers} loader workers: {batch}; {_fix()}")
            yield batch
    finally:
        _end_workers(batches)


def _end_workers(batches: Iterator[list[Batch]]) -> None:
    """End the workers, also those that hang: they ignore SIGTERM, and Python waits for them before it exits."""
    # torch does this when the iterator is freed, but the traceback of an error keeps it. torch offers no public call.
    getattr(batches, "_shutdown_workers", lambda: None)()
    for child in multiprocessing.active_children():
        child.kill()
        child.join(_KILLED_SECONDS)


def _next(batches: Iterator[list[Batch]], stop_requested: Callable[[], bool], grace: float) -> list[Batch] | str | None:
    """The next batch; None if a stop is requested while waiting for it; or what is wrong with the workers."""
    started, warn_after = time.monotonic(), _FIRST_WARNING_SECONDS
    while True:
        try:
            return next(batches)
        except RuntimeError as error:
            message = str(error)
            if message.startswith(_WORKER_DIED):
                return message
            if not message.startswith(_TIMED_OUT):
                raise
        waited = time.monotonic() - started
        if waited >= grace and stop_requested():
            return None
        if waited >= PATIENCE_SECONDS:
            return f"no batch for {waited:.0f} s"
        if waited >= warn_after:
            logger.warning("no batch from the loader workers for %.0f s; %s", waited, _space())
            warn_after *= 2


def _space() -> str:
    if not _SHARED_MEMORY.is_dir():
        return f"there is no {_SHARED_MEMORY}"
    usage = shutil.disk_usage(_SHARED_MEMORY)
    return f"{_SHARED_MEMORY} has {usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB free"


def _fix() -> str:
    return (
        f"{_space()}. Batches pass through this shared memory: start the container with more (`--shm-size=16g`, or "
        "`--ipc=host`), remove files of other processes there, or set `workers` of the stage to 0. If there is room, "
        "the storage of the frames hangs. Then run the same command again: training resumes from its newest state"
    )
