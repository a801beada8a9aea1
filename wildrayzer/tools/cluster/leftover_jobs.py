"""Jobs on a Slurm cluster that a killed Snakemake has left behind, told from those of one that still runs.

All Slurm jobs of a call of Snakemake have one name of their own. A call holds a lock on a file of this name in its
working directory while it lives, on whatever host: what runs under the name of a free lock belongs to nobody.
"""

import fcntl
import getpass
import logging
import os
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

CALLS = Path(".snakemake") / "slurm-calls"
"""Folder of the locks, below the working directory."""
_NAME = re.compile(r"wildrayzer_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Names of this project's jobs: `slurm-jobname-prefix` in the profile, and the call's number. Snakemake itself may run
in a job whose name begins so."""
_HELD: list[IO[str]] = []
"""Locks of this process; they end with it."""


def cancel_left_over(directory: str | Path, call: str, *, seconds: float = 120.0) -> list[str]:
    """End jobs of killed calls in a working directory, and wait until they are gone; say that this call lives.

    Snakemake does not take up jobs of an earlier call: it submits its own, and both would write the same files. Calls
    that make other files, such as those of another configuration, may run in the same directory: theirs are left alone.

    Args:
        directory: the working directory.
        call: name of this call's Slurm jobs.
        seconds: how long to wait.

    Returns:
        The jobs that were ended.

    Raises:
        ValueError: they are still there after `seconds`, or nothing tells whether the call of a job lives.
    """
    calls = Path(directory) / CALLS
    calls.mkdir(parents=True, exist_ok=True)
    alive = {path.name: _lives(path) for path in calls.iterdir() if path.name != call}
    _hold(calls / call)
    found = _jobs_in(directory)
    unknown = [job for job, name in found.items() if alive.get(name) is None and name != call]
    if unknown:
        raise ValueError(
            f"jobs {', '.join(unknown)} of this directory are in the queue, and nothing tells whether the Snakemake "
            "that submitted them still runs; wait for them, or end them with scancel, and start again"
        )
    ended = [name for name, lives in alive.items() if lives is False]
    left = [job for job, name in found.items() if name in ended]
    if left:
        logger.warning("cancelling jobs that an earlier call left in %s: %s", directory, ", ".join(left))
        subprocess.run(["scancel", *left], check=True, timeout=60)
    end = time.monotonic() + seconds
    while still := [job for job, name in _jobs_in(directory).items() if name in ended]:
        if time.monotonic() > end:
            raise ValueError(
                f"jobs {', '.join(still)} of an earlier call do not end; look at them with squeue and wait"
            )
        time.sleep(1.0)
    for name in ended:
        (calls / name).unlink(missing_ok=True)
    return left


def _hold(path: Path) -> None:
    stream = path.open("a+")
    _HELD.append(stream)
    stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    stream.flush()
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        logger.warning("%s: this file system has no locks (%s)", path, error)


def _lives(path: Path) -> bool | None:
    """Whether the process that holds a lock lives; None where the file system has no locks."""
    try:
        with path.open("a+") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return None
    return False


def _jobs_in(directory: str | Path) -> dict[str, str]:
    """Jobs of this project in a working directory, and their names."""
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%Z"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    rows = (line.split("|", 2) for line in said.splitlines())
    return {job: name for job, name, place in rows if _NAME.fullmatch(name) and Path(place) == Path(directory)}
