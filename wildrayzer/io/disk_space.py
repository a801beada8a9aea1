"""Disks that are too small, before and while they are written to."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DiskFullError(ValueError):
    """A disk without room; the message says where, how much is missing and what becomes of what was written."""


def require_space(folder: Path, needed: int, *, purpose: str) -> None:
    """Check that a folder has room for `needed` more bytes.

    Raises:
        DiskFullError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"{purpose} needs {needed / 1e9:.3f} GB more, but {folder} has {free / 1e9:.3f} GB free; free space there, "
            "or make the folder a link to a larger disk"
        )


@contextmanager
def writing(folder: Path, *, purpose: str) -> Iterator[None]:
    """Say what to do when the disk, or the user's share of it, gets full.

    Raises:
        DiskFullError: it did.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"{folder} is full: {purpose} stopped; free space there and start again, it goes on from what has arrived"
        ) from None
