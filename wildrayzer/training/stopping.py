"""Leaving in time: pre-emption signals and the job's walltime end a run with its state saved."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedEarlyError(RuntimeError):
    """A job left before its last step with its state saved; running it again goes on from there."""


def time_to_leave(minutes: float | None, *, begun: float, margin: float = 120.0) -> float | None:
    """When a job must save and leave, in Unix seconds: `margin` before its end, or half-way where that is later.

    The job ends `minutes` after `begun`, or where Slurm says (SLURM_JOB_END_TIME) if that is earlier: Slurm counts from
    before the job's process. An end before `begun` is another job's and does not count.

    Args:
        minutes: walltime of the job; None has no limit.
        begun: when the job's process began, in Unix seconds; what it loads later counts as well.
        margin: seconds kept for saving.
    """
    if minutes is None:
        return None
    end, told = begun + minutes * 60.0, os.environ.get("SLURM_JOB_END_TIME", "")
    if told.isdecimal() and begun < int(told) < end:
        end = float(told)
    return max(end - margin, (begun + end) / 2)


class StopRequest:
    """Asks the loop to save and leave.

    Args:
        leave_at: when to, in Unix seconds (`time_to_leave`), which the nodes of a job share. None has no limit.
    """

    def __init__(self, *, leave_at: float | None = None) -> None:
        self._leave_at = leave_at
        self._signal: int | None = None

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        if self._signal is not None:
            return f"signal {signal.Signals(self._signal).name}"
        if self._leave_at is not None and time.time() >= self._leave_at:
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
