"""Outputs: private while unfinished and put in place by one rename; what exists is not replaced unasked."""

import contextlib
import errno
import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from wildrayzer.io.files import has_ended, umask


def private_folder(path: Path, purpose: str) -> Path:
    """A new empty folder beside `path` that no other process uses: `.NAME.PURPOSE-HOST-PROCESS-…`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = tempfile.mkdtemp(prefix=f".{path.name}.{purpose}-{socket.gethostname()}-{os.getpid()}-", dir=path.parent)
    Path(made).chmod(0o777 & ~umask())  # mkdtemp's folders are private
    return Path(made)


def remove_leftovers(path: Path, purpose: str) -> list[Path]:
    """Remove private folders of processes of this host that have ended; returns what was removed."""
    prefix = f".{path.name}.{purpose}-{socket.gethostname()}-"
    removed = []
    for folder in path.parent.glob(f"{glob.escape(prefix)}*"):
        if has_ended(folder.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def put_in_place(made: Path, path: Path) -> None:
    """Rename a finished folder to `path`; what was there is removed. Of two processes the later one wins."""
    while True:
        try:
            made.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        trash = private_folder(path, "old")
        with contextlib.suppress(FileNotFoundError):  # another process has moved it away
            path.rename(trash / "store")
        shutil.rmtree(trash, ignore_errors=True)


def check_outputs(paths: Iterable[Path], *, same: bool, overwrite: bool) -> None:
    """Refuse to replace files that this command did not write, or wrote of something else.

    Args:
        paths: files or folders that the command is about to write; an empty folder may be written to.
        same: what exists is the command's own output, of the same inputs and options.
        overwrite: the user gave `--overwrite`.

    Raises:
        ValueError: naming what exists, and the fix; or what is a file where a folder is needed.
    """
    paths = list(paths)
    for path in paths:
        above = next(folder for folder in path.absolute().parents if folder.is_symlink() or folder.exists())
        if not above.is_dir():
            raise ValueError(f"{path}: {above} is a file or a broken link, not a folder; name another --out")
    if same or overwrite:
        return
    for path in paths:
        if path.is_dir() and not any(path.iterdir()):
            continue
        if path.exists() or path.is_symlink():
            raise ValueError(
                f"{path} exists, and is not what this command writes of these inputs and options; name another --out, "
                "or replace it with --overwrite"
            )


def check_own_folder(out: Path, marker: str, kind: str, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything, or with `overwrite` anything but an earlier output of the same command.

    Args:
        out: folder that the command is about to put in place.
        marker: file that each output of the command holds.
        kind: what the command makes, for messages.
        overwrite: the user gave `--overwrite`.

    Raises:
        ValueError: naming the folder and the fix.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if not out.exists() and not out.is_symlink():
        return
    if not (out / marker).is_file():
        raise ValueError(f"--out {out} exists and is no earlier {kind}; name another folder")
    if not overwrite:
        raise ValueError(f"--out {out} holds an earlier {kind}; name another folder, or replace it with --overwrite")
