"""Resume states: everything a killed job needs to go on, written by rename, two kept.

States live in a folder that is no declared output of the workflow, because Snakemake deletes declared outputs before it
tries again. A state names the configuration and the parent weights it belongs to; one of another run is set aside.
"""

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch

from wildrayzer.io.files import read_json, write_bytes_atomic, write_json

logger = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9})\.pt$")
_KEPT = 2
_DIGEST_BYTES = 32


class ResumeFolder:
    """The resume states of one training job.

    Args:
        folder: made if missing.
        identity: digest of everything that decides the result; states with another identity are moved to
            `FOLDER.stale-N`, never loaded and never deleted.
    """

    def __init__(self, folder: Path, *, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def claim(self) -> None:
        """Make the folder this job's: set states of another identity aside."""
        marker = self.folder / "identity.json"
        if self.folder.exists() and (not marker.exists() or read_json(marker)["identity"] != self.identity):
            target = next(
                path
                for number in range(10_000)
                if not (path := self.folder.with_name(f"{self.folder.name}.stale-{number}")).exists()
            )
            logger.warning("%s belongs to another configuration or parent; moved to %s", self.folder, target)
            self.folder.rename(target)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(marker, {"identity": self.identity})

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` optimiser steps, led by its SHA-256, and drop all but the newest two."""
        buffer = io.BytesIO()
        torch.save({"step": step, **state}, buffer)
        payload = buffer.getvalue()
        write_bytes_atomic(self._path(step), hashlib.sha256(payload).digest() + payload)
        for _, path in self._states()[:-_KEPT]:
            path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest whole state, or None; a damaged one is named and passed over for the one before."""
        for step, path in reversed(self._states()):
            state = _read(path, step)
            if state is not None:
                return state
            logger.warning("%s is damaged; trying the state before it", path)
        return None

    def load_step(self, step: int) -> dict[str, Any]:
        """The state after `step` optimiser steps, which another process found whole.

        Raises:
            ValueError: this process cannot see it, or reads it damaged.
        """
        path = self._path(step)
        fix = "every process must start from one state: see to this node's file system and run the same command again"
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


def _read(path: Path, step: int) -> dict[str, Any] | None:
    """A state, or None where its digest does not fit."""
    content = path.read_bytes()
    digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    assert state["step"] == step
    return state
