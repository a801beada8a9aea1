"""Disks that are too small, before and while they are written to."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The disk is full, the user's share of it is, or the file is larger than the file system or the shell allows."""


class DiskFullError(ValueError):
    """There is not enough disk space; the message names the folder and says what to do."""


def where_full(error: Exception) -> str:
    """What to add to the message of a full disk that names no file: where temporary files are; empty for other errors.

    Libraries write there, and their errors name neither the file nor the folder.
    """
    if not isinstance(error, OSError) or error.errno not in _FULL or error.filename is not None:
        return ""
    return (
        f": the disk of the output, or of temporary files ({tempfile.gettempdir()}), is full; free space there, or set "
        "TMPDIR to a folder on a larger disk"
    )


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
    """Turn the error of a full disk into one that says what to do.

    Args:
        folder: that is written to.
        purpose: what is being written, for the message.

    Raises:
        DiskFullError: the disk, or the user's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"{folder} is full ({error.strerror}): {purpose} stopped; free space there, or make the folder a link to a "
            "larger disk, and start again: what is finished is kept"
        ) from None
