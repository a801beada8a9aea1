"""Logging of a workflow job: everything to the job's log file, progress and warnings to the terminal as well."""

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Log to `path` and to standard error while the context lasts; an exception ends up in the file as well."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    file, terminal = logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)
    file.setFormatter(logging.Formatter(_FORMAT))
    terminal.setFormatter(logging.Formatter("%(message)s"))
    root.handlers, root.level = [file, terminal], logging.INFO
    try:
        with warnings.catch_warnings():
            # Snakemake leaves a time stamp in every folder that is an output, Zarr groups included
            warnings.filterwarnings("ignore", message=r"Object at \.snakemake_timestamp")
            yield
    except BaseException:
        with Path(path).open("a") as stream:
            stream.write(traceback.format_exc())
        raise
    finally:
        file.close()
        root.handlers, root.level = before, level
