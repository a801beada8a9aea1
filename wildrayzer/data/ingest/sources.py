"""What is to be taken in: videos and folders of images, each under a name of its own."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from wildrayzer.data.ingest.video import VIDEO_SUFFIXES
from wildrayzer.data.readers.pixels import decode_file
from wildrayzer.io.provenance import digest_json

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Pictures that are taken."""
_TAKEN = (
    f"videos ({', '.join(VIDEO_SUFFIXES)}) and folders of images ({', '.join(IMAGE_SUFFIXES)}) are taken; convert it"
)


@dataclass(frozen=True)
class Source:
    """A video, or a folder whose images are the frames of one recording."""

    name: str
    """Letters, digits, `.`, `_` and `-`; scenes are named after it."""
    path: Path
    """Video file or image folder."""
    kind: Literal["video", "images"]
    """How it is read."""
    images: tuple[Path, ...] = ()
    """The folder's images, numbers in their names in numerical order."""

    @property
    def fingerprint(self) -> str:
        """Stands for the files by name, size and time of change; they are not read for it."""
        files = self.images or (self.path,)
        return digest_json([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Sorting key in which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def find_sources(paths: Sequence[Path]) -> tuple[list[Source], list[Path]]:
    """The sources that paths name, and the files in folders that are neither video nor image.

    A folder of images is one source; of videos and folders in a folder, each is one. Hidden files are passed over.

    Raises:
        ValueError: a path is missing or of an unknown kind, a folder holds nothing or both kinds, or two sources
            have the same name.
    """
    sources: list[Source] = []
    ignored: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = _in_folder(path, ignored)
            if not found:
                raise ValueError(f"{path} holds neither videos nor images; {_TAKEN}")
            sources += found
        elif not path.is_file():
            raise ValueError(f"{path}: no such file or folder")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            sources.append(_named(path, path.stem, "video"))
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            raise ValueError(f"{path} is a single image; name the folder that holds the images of the recording")
        else:
            raise ValueError(f"{path}: unknown suffix {path.suffix!r}; {_TAKEN}")
    _check_names(sources)
    return sources, ignored


def _in_folder(folder: Path, ignored: list[Path]) -> list[Source]:
    entries = [entry for entry in sorted(folder.iterdir(), key=natural_order) if not entry.name.startswith(".")]
    files = [entry for entry in entries if entry.is_file()]
    images = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if images and videos:
        raise ValueError(
            f"{folder} holds images ({images[0].name}) and videos ({videos[0].name}); move one kind to another folder"
        )
    ignored += [file for file in files if file not in images and file not in videos]
    sources = [_named(folder, folder.resolve().name, "images", images)] if images else []
    sources += [_named(video, video.stem, "video") for video in videos]
    for entry in entries:
        if entry.is_dir():
            sources += _in_folder(entry, ignored)
    return sources


def _named(path: Path, name: str, kind: Literal["video", "images"], images: tuple[Path, ...] = ()) -> Source:
    return Source(_safe_name(name, path), path, kind, images)


def _safe_name(name: str, path: Path) -> str:
    """The name in letters, digits, `.`, `_` and `-` of ASCII.

    One with other letters keeps what is ASCII in it (é is e) and gets a digest, so that two of them stay apart.
    """
    whole = unicodedata.normalize("NFC", name)  # macOS writes é as two characters
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")
    if not whole.isascii():
        return f"{safe or 'source'}_{digest_json(whole)[:8]}"
    if not safe:
        raise ValueError(f"{path}: its name has no letter or digit to name scenes by; rename it")
    return safe


def _check_names(sources: Sequence[Source]) -> None:
    seen: dict[str, Path] = {}
    for source in sources:
        if source.name in seen:
            raise ValueError(
                f"{seen[source.name]} and {source.path} would both be named {source.name!r}; rename one of them"
            )
        seen[source.name] = source.path


def read_image(path: Path, *, odd: Counter[str] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of an image file, turned as its EXIF orientation says; `odd` as of `decode_file`.

    Raises:
        BadSceneError: as `decode_file`.
    """
    return np.asarray(decode_file(path, upright=True, odd=odd))
