"""Memory of training processes. Slurm's srun starts them, so that Snakemake's benchmark files do not have it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

SUFFIX = ".job.json"
"""Ending of the file that a training process is given."""


def sample(peaks: dict[str, float]) -> None:
    """Raise each training job's largest memory in GB to what its processes hold now, by the path of its file."""
    now: dict[str, float] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command and command[-1].endswith(SUFFIX) and " " not in command[-1]:
                now[command[-1]] = now.get(command[-1], 0.0) + process.memory_info().rss / 1e9
    for job, held in now.items():
        peaks[job] = max(held, peaks.get(job, 0.0))


@contextlib.contextmanager
def sampled(file: Path, *, every: float = 1.0) -> Iterator[None]:
    """Sample every so many seconds, and add the largest values to a JSON file at the end."""
    peaks = read(file)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            sample(peaks)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        file.write_text(json.dumps(peaks, indent=1), encoding="utf-8")


def read(file: Path) -> dict[str, float]:
    """What an earlier rehearsal has sampled; empty without one."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def of_stage(peaks: dict[str, float], run: str, kind: str) -> float | None:
    """Largest memory of a run's jobs of a stage, all processes together."""
    found = [held for job, held in peaks.items() if f"/{run}/" in job and job.endswith(f"{kind}{SUFFIX}")]
    return max(found, default=None)
