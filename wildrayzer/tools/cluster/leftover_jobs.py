"""Jobs on a Slurm cluster that a killed Snakemake left behind, distinguished from those of a Snakemake that still runs.

All Slurm jobs of one call of Snakemake have the same name, which no other call uses. While a call runs, on whatever
host, it holds a lock on a file of this name in its working directory. Jobs whose lock is free belong to no call.
"""

import logging
import os
import re
import subprocess
import time
from pathlib import Path

from filelock import FileLock

from wildrayzer.io.locks import acquire, is_held

logger = logging.getLogger(__name__)

CALLS = Path(".snakemake") / "slurm-calls"
"""Folder of the locks in the working directory."""
_NAME = re.compile(r"wildrayzer_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Names of this project's jobs: `slurm-jobname-prefix` of the profile and the UUID of the call. The UUID is required
because Snakemake itself may run in a job whose name has the prefix."""
_HELD: dict[Path, FileLock] = {}
"""Locks of this process; they are released when it ends."""


def cancel_left_over(directory: str | Path, call: str, *, seconds: float = 120.0) -> list[str]:
    """Cancel jobs that killed calls left in a working directory, and wait until they are gone.

    This call then holds a lock of its own in the directory.

    Snakemake does not adopt jobs of an earlier call: it submits its own, and both would write the same files. Calls
    that still run in the same directory, such as for another configuration, keep their jobs.

    Args:
        directory: the working directory.
        call: name of this call's Slurm jobs.
        seconds: how long to wait.

    Returns:
        Numbers of the jobs that were cancelled.

    Raises:
        ValueError: jobs are still there after `seconds`, or it is unknown whether the call of a job still runs.
    """
    calls = Path(directory) / CALLS
    calls.mkdir(parents=True, exist_ok=True)
    # Look at the other calls' locks before this call takes its own.
    alive = {path.name: is_held(path) for path in calls.iterdir() if path.name != call}
    if calls / call not in _HELD:
        _HELD[calls / call] = acquire(calls / call)
    jobs = _jobs_in(directory)
    unknown = [job for job, name in jobs.items() if alive.get(name) is None and name != call]
    if unknown:
        raise ValueError(
            f"jobs {', '.join(unknown)} of this directory are in the queue, and it is unknown whether the Snakemake "
            "that submitted them still runs; wait for them, or cancel them with scancel, and start again"
        )
    ended = [name for name, lives in alive.items() if lives is False]
    left = [job for job, name in jobs.items() if name in ended]
    if left:
        logger.warning("cancelling jobs that an earlier call left in %s: %s", directory, ", ".join(left))
        subprocess.run(["scancel", *left], check=True, timeout=60)
    end = time.monotonic() + seconds
    while still := [job for job, name in _jobs_in(directory).items() if name in ended]:
        if time.monotonic() > end:
            raise ValueError(
                f"jobs {', '.join(still)} of an earlier call do not end; check them with squeue, and start again when "
                "they are gone"
            )
        time.sleep(1.0)
    for name in ended:
        (calls / name).unlink(missing_ok=True)
    return left


def _jobs_in(directory: str | Path) -> dict[str, str]:
    """Jobs of this project in a working directory: names by number."""
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%i|%j|%Z"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    rows = (line.split("|", 2) for line in output.splitlines())
    return {job: name for job, name, place in rows if _NAME.fullmatch(name) and Path(place) == Path(directory)}
