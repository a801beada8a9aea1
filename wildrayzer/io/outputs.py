"""Outputs of commands: an existing one is replaced only if it is the same, or if the user asks for it."""

from collections.abc import Iterable
from pathlib import Path


def check_outputs(paths: Iterable[Path], *, same: bool, overwrite: bool) -> None:
    """Refuse to replace files that this command did not write, or wrote of something else.

    Args:
        paths: files or folders that the command is about to write; an empty folder may be written to.
        same: what exists is the command's own output, of the same inputs and options.
        overwrite: the user gave `--overwrite`.

    Raises:
        ValueError: naming what exists, and the fix.
    """
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
