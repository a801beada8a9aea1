"""Parts of sources on disk: what they must look like, how many scenes they hold, where they lie in a download."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wildrayzer.data.readers.base import BadSceneError, SceneReader
from wildrayzer.data.readers.davis import IMAGES, DavisReader
from wildrayzer.data.readers.lvsm import LvsmReader
from wildrayzer.data.readers.pixelsplat import PixelSplatReader
from wildrayzer.datasets.table import MANIFEST, Part, PartLayout
from wildrayzer.io.files import read_json

_EXPECTED = {
    "pixelsplat": "a folder with *.torch chunks",
    "lvsm": "a folder with full_list.txt or metadata/*.json",
    "davis": "a folder with JPEGImages",
    "huggingface": "a folder with config.json and *.safetensors",
    "folder": "a folder that is not empty",
    "file": "a file",
}


def fits(path: Path, layout: PartLayout) -> bool:
    """Whether a path looks like a part of this layout."""
    if layout == "file":
        return path.is_file()
    if not path.is_dir():
        return False
    if layout == "pixelsplat":
        return any(path.glob("*.torch"))
    if layout == "lvsm":
        return (path / "full_list.txt").is_file() or any((path / "metadata").glob("*.json"))
    if layout == "davis":
        return (path / IMAGES).is_dir()
    if layout == "huggingface":
        return (path / "config.json").is_file() and any(path.glob("*.safetensors"))
    return any(path.iterdir())


def locate(root: Path, name: str, part: Part) -> Path:
    """Where a part lies in what was downloaded: the first of its patterns that fits its layout.

    Raises:
        ValueError: nothing fits; says what is there.
    """
    for pattern in part.find or (name,):
        candidates = [root] if pattern == "." else sorted(root.glob(pattern))
        found = [path for path in candidates if fits(path, part.layout)]
        if found:
            return found[0]
    there = sorted(entry.name for entry in root.iterdir())[:20]
    raise ValueError(
        f"{name}: {' or '.join(part.find or (name,))} in {root} is not {_EXPECTED[part.layout]}; it holds {there}. "
        "The download is laid out in another way than the table of sources says: mend `find` there, or move the right "
        "folder to its place"
    )


def broken_link(path: str | Path) -> Path | None:
    """The path or a folder above it that is a link to nowhere, such as to a disk that is not mounted."""
    path = Path(path)
    return next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)


def problem_of(path: str | Path, layout: PartLayout) -> str | None:
    """What is wrong with a path as a part of this layout; None where it fits."""
    path = Path(path)
    if not path.exists():
        return "does not exist"
    return None if fits(path, layout) else f"is not {_EXPECTED[layout]}"


def scene_names(folder: str | Path, layout: PartLayout, scene_list: str | None = None) -> list[str] | None:
    """Names of the scenes of a split as its listing gives them; None where it has no listing.

    Args:
        folder: of the split.
        layout: of the split.
        scene_list: the split's option of this name.

    Raises:
        ValueError: the listing cannot be read.
    """
    folder = Path(folder)
    if layout == "pixelsplat" and (folder / "index.json").is_file():
        return PixelSplatReader(folder).names
    if layout == "lvsm" and (folder / "full_list.txt").is_file():
        reader = LvsmReader(folder)
        return [*reader.names, *reader.rejected]
    return DavisReader(folder, scene_list).names if layout == "davis" else None


def missing_chunks(folder: str | Path) -> list[str]:
    """Chunks that the index of a pixelSplat-style split names and that are not there.

    Raises:
        ValueError: as `PixelSplatReader`.
    """
    reader = PixelSplatReader(Path(folder))
    return sorted({chunk for chunk in map(reader.group, reader.names) if not (reader.folder / chunk).is_file()})


@dataclass(frozen=True)
class SplitContent:
    """What was found by looking at every scene of a split."""

    frames: int
    """Frames of the scenes that can be used."""
    unusable: tuple[str, ...]
    """Reason and details of each scene that cannot be used."""
    reasons: dict[str, int]
    """How many of them have each reason."""
    notes: tuple[str, ...] = ()
    """What the reader observed about the split as a whole."""


def look_through(
    folder: str | Path, layout: Literal["pixelsplat", "lvsm", "davis"], scene_list: str | None = None
) -> SplitContent:
    """Look at every scene of a split: scene files, cameras, and whether what they name is there.

    Of each scene's first picture the header is read; no picture is decoded.

    Args:
        folder: of the split.
        layout: of the split.
        scene_list: the split's option of this name.

    Raises:
        ValueError: the split has no readable list of scenes.
    """
    reader: SceneReader
    if layout == "davis":
        reader = DavisReader(Path(folder), scene_list)
    else:
        reader = PixelSplatReader(Path(folder)) if layout == "pixelsplat" else LvsmReader(Path(folder))
    frames, bad = 0, list(reader.rejected.values())
    for name in reader.names:
        try:
            frames += reader.check(name)
        except BadSceneError as error:
            bad.append(error)
    reasons = dict(Counter(error.reason for error in bad))
    return SplitContent(frames, tuple(map(str, bad)), reasons, tuple(reader.notes))


def manifest_of(path: str | Path) -> dict[str, Any] | None:
    """What a fetched folder was made of; None for one that was provided, with a `source.json` of its own or none."""
    file = Path(path) / MANIFEST
    if not file.is_file():
        return None
    try:
        manifest = read_json(file)
    except ValueError:
        return None
    return manifest if isinstance(manifest, dict) and {"source", "version"} <= set(manifest) else None
