"""An export as a folder: written whole or not at all, never over other files, with a manifest that says what it is."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wildrayzer.io.files import write_json
from wildrayzer.io.outputs import check_own_folder, private_folder, put_in_place, remove_leftovers
from wildrayzer.io.provenance import code_versions
from wildrayzer.tools.export.source import ExportFrame, ExportSource

MANIFEST = "export.json"
"""File by which the folder of an export is known."""


@dataclass
class Counts:
    """What an export has written."""

    scenes: int = 0
    frames: int = 0
    masks: int = 0
    masks_unknown: int = 0
    """Masks of which no pixel is known."""

    def add(self, frame: ExportFrame) -> None:
        """Count a frame."""
        self.frames += 1
        if frame.mask is not None:
            self.masks += 1
            self.masks_unknown += bool((frame.mask == 255).all())


@dataclass(frozen=True)
class Format:
    """A format to export to."""

    name: str
    write: Callable[[ExportSource, list[str], Path, Counts], None]
    """Writes scenes of a source into an empty folder, and counts the frames."""
    polarity: str
    """What the values of exported masks mean."""
    cameras: bool
    """Whether cameras are written."""


def choose_scenes(source: ExportSource, wanted: Iterable[str]) -> list[str]:
    """Scenes whose name contains one of the words; all of them without words.

    Raises:
        ValueError: no scene fits, or a name cannot be a folder's.
    """
    words = list(wanted)
    chosen = [name for name in source.scenes if not words or any(word in name for word in words)]
    if not chosen:
        raise ValueError(
            f"--scene {', '.join(words)}: no scene of {source.path} has this in its name; there are "
            f"{', '.join(source.scenes[:5])}{', …' if len(source.scenes) > 5 else ''}"
        )
    for name in chosen:
        # Names come with the data: none may lead out of the folder.
        if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
            raise ValueError(
                f"{source.path}: the scene {name!r} cannot be the name of a folder; leave it out (--scene)"
            )
    return chosen


def export(
    source: ExportSource, out: Path, form: Format, *, scenes: Iterable[str] = (), overwrite: bool = False
) -> Counts:
    """Write scenes of a source as the folder `out`, which appears when it is complete.

    Args:
        source: what to export.
        out: folder; must not exist, be empty, or, with `overwrite`, be an earlier export.
        form: the format.
        scenes: words in the names of scenes; all scenes without any.
        overwrite: replace an earlier export.

    Raises:
        ValueError: `out` holds something, or the source lacks what the format needs.
    """
    check_own_folder(out, MANIFEST, "export", overwrite=overwrite)
    chosen, counts = choose_scenes(source, scenes), Counts()
    remove_leftovers(out, "export")
    folder = private_folder(out, "export")
    try:
        form.write(source, chosen, folder, counts)
        counts.scenes = len(chosen)
        about: dict[str, Any] = {"format": form.name, "source": str(source.path), "digests": dict(source.digests)}
        if source.masks is not None and counts.masks:
            about |= {"masks": source.masks, "polarity": form.polarity}
        if form.cameras and source.cameras is not None:
            about["cameras"] = source.cameras
        write_json(folder / MANIFEST, {**about, "counts": asdict(counts), "versions": dict(code_versions())})
        put_in_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return counts
