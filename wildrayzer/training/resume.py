"""Resume states, and when to save one and stop: everything that lets a killed job continue where it was.

States lie in a folder that is no declared output of the workflow, because Snakemake deletes declared outputs before it
tries again. A folder names the identity that its states belong to; states of another identity are set aside.
"""

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field

from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import read_behind_digest, write_json, written_behind_digest
from wildrayzer.io.validated import read_validated
from wildrayzer.training.job import Origin

logger = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9})\.pt$")
_KEPT = 2


class _Rounding(BaseModel):
    step: int
    options: dict[str, Any]


class _Marker(BaseModel):
    """What `identity.json` holds; the first versions recorded no rounding options."""

    identity: str
    rounding: list[_Rounding] = Field(default_factory=list)
    origin: Origin | None = None
    continued: list[dict[str, Any]] = Field(default_factory=list)


class ResumeFolder:
    """The resume states of one training job.

    Args:
        folder: made if missing.
        identity: digest of everything that decides the result; states of another identity are moved to
            `FOLDER.stale-N`, never loaded and never deleted.
        former: identity that an earlier version gave the same job.
        rounding: options that change the result only by the order of sums; a run may continue with other ones, and
            `history` says from which step on.
        origin: what the run learns from.
        continues: take up states of an origin with fewer steps or parts instead of setting them aside; `continued` says
            from which step on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        identity: str,
        former: str = "",
        rounding: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
        continues: bool = False,
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.former = former
        self.rounding = dict(rounding or {})
        self.origin = origin
        self.continues = continues
        self.continued: list[dict[str, Any]] = []
        """Where the run was continued with more data: `{"step": 600, "steps": 700, "new_parts": {"dynamic": 1}}`, …."""
        self._growth: dict[str, Any] | None = None
        self.history: list[dict[str, Any]] = []
        """Options of `rounding` by the step from which they were used: `{"step": 0, "options": {...}}`, …."""

    @property
    def digest(self) -> str:
        """The identity, and where the run was continued, which decides its weights as well."""
        return digest_json([self.identity, self.continued]) if self.continued else self.identity

    def claim(self) -> None:
        """Make the folder this job's: set states of another identity aside, or see what a continued run has more.

        Raises:
            ValueError: the run is to continue, but its states are of other options or of parts that are gone.
        """
        marker = _read_marker(self._marker)
        self.continued = list(marker.get("continued", []))
        other = self.folder.exists() and marker.get("identity") not in (self.identity, self.former or self.identity)
        if other and self.continues and self._states():
            self.history = list(marker.get("rounding", []))
            self._growth = self._more_than()
            return  # the marker stays as it is until the step is known
        if other:
            target = next(
                path
                for number in range(10_000)
                if not (path := self.folder.with_name(f"{self.folder.name}.stale-{number}")).exists()
            )
            logger.warning(
                "%s holds states of other options, data or parent weights, or of another version of the code; moved to "
                "%s, and the stage starts at step 0; if only data were added, you can stop, rename the folder back and "
                "call with `--config continue=STAGE`",
                self.folder,
                target,
            )
            self.folder.rename(target)
            marker, self.continued = {}, []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.history = list(marker.get("rounding", []))
        self._write_marker()

    def _more_than(self) -> dict[str, Any]:
        assert self.origin is not None, "a run that continues says what it learns from"
        return self.origin.growth(recorded_origin(self.folder), name=self.folder.name)

    def begin(self, step: int) -> None:
        """Record with which data and rounding options training continues after `step`, and warn of changes."""
        if self._growth is not None:
            new = ", ".join(f"{count} of {source}" for source, count in self._growth["new_parts"].items())
            logger.warning(
                "%s continues after step %d of now %d with more data, new parts: %s; the weights differ from those "
                "of a run that had all data from the start, and the manifest says so",
                self.folder.name, step, self._growth["steps"], new,
            )  # fmt: skip
            self.continued.append({"step": step, **self._growth})
        self.continued = [one for one in self.continued if step and one["step"] <= step]
        used = [one for one in self.history if one["step"] < step] if step else []
        before = used[-1]["options"] if used else None
        if before is not None and before != self.rounding:
            changes = [
                f"{name}: {before.get(name)} → {self.rounding.get(name)}"
                for name in {**before, **self.rounding}
                if before.get(name) != self.rounding.get(name)
            ]
            logger.warning(
                "continuing after step %d with other options that change only the order of sums: %s; the weights will "
                "differ from an undisturbed run's by rounding, and the manifest says so",
                step,
                ", ".join(changes),
            )
        if before != self.rounding:
            used.append({"step": step, "options": self.rounding})
        self.history = used
        self._write_marker()

    @property
    def _marker(self) -> Path:
        return self.folder / "identity.json"

    def _write_marker(self) -> None:
        marker = _Marker(identity=self.identity, rounding=self.history, origin=self.origin, continued=self.continued)
        write_json(self._marker, marker.model_dump(), checksum=True)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` optimiser steps, led by its SHA-256, and drop all but the newest two."""
        with written_behind_digest(self._path(step)) as payload:
            torch.save({"step": step, **state}, payload)
        for _, path in self._states()[:-_KEPT]:
            path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest whole state, or None; a damaged one is named in the log, and the one before is taken."""
        for step, path in reversed(self._states()):
            state = _read(path, step)
            if state is not None:
                return state
            logger.warning("%s is damaged; trying the state before it", path)
        return None

    def load_step(self, step: int) -> dict[str, Any]:
        """The state after `step` optimiser steps, which the main process read whole.

        Raises:
            ValueError: this process cannot see it, or reads it damaged.
        """
        path = self._path(step)
        fix = "every process must start from one state: check this node's file system and run the same command again"
        try:
            state = _read(path, step)
        except OSError as error:
            raise ValueError(
                f"{path}: not readable here ({error.strerror}), but the main process read it; {fix}"
            ) from None
        if state is None:
            raise ValueError(f"{path}: damaged as read here, but the main process read it whole; {fix}")
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.pt"

    def _states(self) -> list[tuple[int, Path]]:
        found = [(int(match[1]), path) for path in self.folder.glob("step-*.pt") if (match := _NAME.search(path.name))]
        return sorted(found)


def recorded_origin(folder: Path) -> Origin:
    """What the run with these resume states learned from.

    Raises:
        ValueError: the states do not say it.
    """
    origin = _read_marker(folder / "identity.json").get("origin")
    if origin is None:
        raise ValueError(
            f"{folder}: its states do not say what they were trained on (earlier version, or a damaged "
            "identity.json), so that they cannot be continued; leave the stage out of `continue` to train it again"
        )
    return Origin(**origin)


def _read_marker(path: Path) -> dict[str, Any]:
    """Which run the states belong to; empty without a marker, or with one that cannot be read."""
    try:
        return read_validated(path, _Marker, fix="").model_dump()
    except (OSError, ValueError):
        return {}


def _read(path: Path, step: int) -> dict[str, Any] | None:
    """A state, or None where its digest does not fit."""
    with read_behind_digest(path) as payload:
        if payload is None:
            return None
        state: dict[str, Any] = torch.load(payload, map_location="cpu", weights_only=True)
    assert state["step"] == step
    return state


class StoppedEarlyError(RuntimeError):
    """A job stopped before its last step with its state saved; running it again resumes from there."""


def job_deadline(minutes: float | None, *, started: float, margin: float = 120.0) -> float | None:
    """When a job must save and stop, in Unix seconds: `margin` before its end, or half-way where that is later.

    The job ends `minutes` after `started`, or when Slurm says (SLURM_JOB_END_TIME) if that is earlier: Slurm counts
    from before the job's process. An end before `started` is another job's and does not count.

    Args:
        minutes: walltime of the job; None has no limit.
        started: when the job's process started, in Unix seconds; the time that it takes to load torch counts as well.
        margin: seconds kept for saving.
    """
    if minutes is None:
        return None
    end, slurm_end = started + minutes * 60.0, os.environ.get("SLURM_JOB_END_TIME", "")
    if slurm_end.isdecimal() and started < int(slurm_end) < end:
        end = float(slurm_end)
    return max(end - margin, (started + end) / 2)


class StopRequest:
    """Asks the loop to save and stop.

    Args:
        deadline: when to, in Unix seconds (`job_deadline`), the same on all nodes of a job. None has no limit.
    """

    def __init__(self, *, deadline: float | None = None) -> None:
        self._deadline = deadline
        self._signal: int | None = None

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        if self._signal is not None:
            return f"signal {signal.Signals(self._signal).name}"
        if self._deadline is not None and time.time() >= self._deadline:
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
