"""Leaving in time: pre-emption signals and the job's walltime end a run with its state saved."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedEarlyError(RuntimeError):
    """A job left before its last step with its state saved; running it again goes on from there."""


class StopRequest:
    """Asks the loop to save and leave.

    Args:
        minutes: walltime of the job; the loop leaves `margin` seconds before it. None has no limit.
        margin: seconds kept for saving.
    """

    def __init__(self, *, minutes: float | None = None, margin: float = 120.0) -> None:
        self._deadline = None if minutes is None else time.monotonic() + max(minutes * 60.0 - margin, minutes * 30.0)
        self._signal: int | None = None

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        if self._signal is not None:
            return f"signal {signal.Signals(self._signal).name}"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "the job's walltime is nearly over"
        return None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Turn SIGTERM, SIGUSR1 and SIGQUIT into a request while the context lasts (main thread only).

        SIGQUIT is how torchrun passes a request on to its processes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT)
        before = {number: signal.signal(number, self._remember) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, _frame: object) -> None:
        self._signal = number
