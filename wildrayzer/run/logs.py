"""Logging of a workflow job: everything to the job's log file, and progress and warnings also to the terminal."""

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from wildrayzer.io.locks import LockHeldError, locked
from wildrayzer.run.redo import record_job

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def ignore_time_stamps() -> None:
    """Silence Zarr on the time stamp that Snakemake leaves in every folder that is an output, groups included."""
    warnings.filterwarnings("ignore", message=r"Object at \.snakemake_timestamp")


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Log to `path` and to standard error while the context lasts; an exception ends up in the file as well.

    Raises:
        ValueError: the same job runs already: a Snakemake that was killed can leave its jobs behind, and two processes
            must not write the same files.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _locked(Path(path)), _logging(path):
        yield


@contextmanager
def workflow_job(job: Any) -> Iterator[None]:
    """The same for a job of the workflow; its params and the size of its outputs are recorded when it ends well.

    Args:
        job: the `snakemake` object of a script.

    Raises:
        ValueError: as `job_log`.
    """
    with job_log(job.log[0]):
        yield
    record_job(job.log[0], dict(job.params.items()), map(str, job.output))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock beside the log; the operating system releases it when the process ends, in whatever way."""
    lock = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except LockHeldError as error:
            raise ValueError(
                f"this job runs already, as {error.holder}, left by a run that was killed; end that process "
                f"or wait for it, then start again (lock: {lock})"
            ) from None
        yield


@contextmanager
def _logging(path: str | Path) -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    file, terminal = logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler(sys.stderr)
    file.setFormatter(logging.Formatter(_FORMAT))
    terminal.setFormatter(logging.Formatter("%(message)s"))
    root.handlers, root.level = [file, terminal], logging.INFO
    try:
        with warnings.catch_warnings():
            ignore_time_stamps()
            yield
    except BaseException:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(traceback.format_exc())
        raise
    finally:
        file.close()
        root.handlers, root.level = before, level
