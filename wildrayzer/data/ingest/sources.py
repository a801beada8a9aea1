"""What is to be taken in: videos and folders of images, each under its own name."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wildrayzer.data.ingest.media.animation import is_animated
from wildrayzer.data.ingest.media.video import VIDEO_SUFFIXES
from wildrayzer.data.readers.pixels import decode_file
from wildrayzer.io.digests import digest_file, digest_json

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".mpo", ".gif"),
    ".apng",
    *([".jxl"] if ".jxl" in Image.registered_extensions() else []),
)
"""Pictures that are taken; JPEG XL where Pillow reads it."""
_NOT_READ = (
    *(".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2", ".orf", ".exr", ".hdr", ".psd"),
    *(".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".m2ts", ".mts", ".3gp", ".ogv", ".mxf", ".asf", ".vob"),
    *(".insv", ".insp"),
)
"""Pictures and videos that are not read: one in a folder is reported by name."""
_TAKEN = (
    f"videos ({', '.join(VIDEO_SUFFIXES)}) and folders of images ({', '.join(IMAGE_SUFFIXES)}) are taken; convert it"
)
_MAPS = re.compile(r"(?:\w*masks?|segmentations?|semantics?|depths?|normals?|flows?)(?:_\d+)?", re.IGNORECASE)
"""Names of folders whose pictures describe those of another folder."""
_REDUCED = re.compile(r"images_(\d+)(?:_png)?")
"""Names of the reduced copies that projects of COLMAP, nerfstudio and gsplat hold beside `images`."""
_LONGEST = 120
"""Characters of a name: scene names and temporary names are longer, and file systems take 255 bytes."""


@dataclass(frozen=True)
class Source:
    """A video or animated picture, or a folder whose images are the frames of one recording."""

    name: str
    """Letters, digits, `.`, `_` and `-`; scenes are named after it."""
    path: Path
    """Video, animated picture or image folder."""
    kind: Literal["video", "images"]
    """How it is read."""
    images: tuple[Path, ...] = ()
    """The folder's images, numbers in their names in numerical order."""

    @property
    def fingerprint(self) -> str:
        """Stands for the files by name, size and time of change; they are not read for it."""
        files = self.images or (self.path,)
        return digest_json([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])

    @cached_property
    def content(self) -> str:
        """Digest of what is in the files, in their order; names and times do not matter. All of them are read."""
        files = self.images or (self.path,)
        return digest_json([digest_file(file) for file in files])


@dataclass
class FoundSources:
    """What paths lead to."""

    sources: list[Source] = field(default_factory=list)
    """Recordings, in the order given."""
    left_out: dict[Path, str] = field(default_factory=dict)
    """Pictures, videos and links in the folders that cannot be taken, with the reason."""
    copies: dict[Path, str] = field(default_factory=dict)
    """Folders that are no recordings: reduced copies and masks of other folders."""
    ignored: list[Path] = field(default_factory=list)
    """Files that are neither video nor image."""


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Sorting key in which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def find_sources(paths: Sequence[Path]) -> FoundSources:
    """The sources that paths name, and what in the folders is not taken.

    The images of a folder are one source; each video and each animated picture in it, and each folder below it, is
    another. Hidden files are skipped. Sources with the same name are prefixed with the names of their folders.

    Raises:
        ValueError: a path is missing, named twice or of an unknown kind, or a folder holds nothing that can be taken.
    """
    found = FoundSources()
    for path in paths:
        if path.is_dir():
            before = len(found.sources)
            _in_folder(path, found, set())
            if len(found.sources) == before:
                some = "".join(f"\n  {lost}: {reason}" for lost, reason in list(found.left_out.items())[:5])
                raise ValueError(f"{path} holds neither videos nor images; {_TAKEN}{some}")
        elif not path.is_file():
            raise ValueError(f"{path}: no such file or folder")
        elif _moves(path):
            found.sources.append(_named(path, path.stem, "video"))
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            raise ValueError(f"{path} is a single image; name the folder that holds the images of the recording")
        else:
            raise ValueError(f"{path}: unknown suffix {path.suffix!r}; {_TAKEN}")
    found.sources = _told_apart(found.sources)
    return found


def _in_folder(folder: Path, found: FoundSources, seen: set[Path]) -> None:
    """Add what a folder holds. `seen` are the folders that were visited, links followed: links may lead in circles."""
    resolved = folder.resolve()
    if resolved in seen:
        found.copies[folder] = f"it is {resolved}, which is taken already"
        return
    seen.add(resolved)
    entries = [entry for entry in sorted(folder.iterdir(), key=natural_order) if not entry.name.startswith(".")]
    files = [entry for entry in entries if entry.is_file()]
    moving = [file for file in files if _moves(file)]
    images = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and file not in moving)
    if images:
        found.sources.append(_named(folder, resolved.name, "images", images))
    for file in files:
        suffix = file.suffix.lower()
        if file in moving:
            found.sources.append(_named(file, file.stem, "video"))
        elif suffix in IMAGE_SUFFIXES:
            continue
        elif suffix in _NOT_READ:
            found.left_out[file] = f"{suffix} files are not read; convert it to PNG, JPEG or MP4"
        else:
            found.ignored.append(file)
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            found.left_out[entry] = (
                f"is a link to {entry.readlink()}, which is not there; mount the disk or mend the link"
            )
    folders = [entry for entry in entries if entry.is_dir()]
    copies = _copies(folders)
    found.copies |= copies
    for entry in folders:
        if entry not in copies:
            _in_folder(entry, found, seen)


def _moves(file: Path) -> bool:
    """Whether a file is a recording by itself."""
    return file.suffix.lower() in VIDEO_SUFFIXES or is_animated(file)


def _copies(folders: Sequence[Path]) -> dict[Path, str]:
    """Folders beside others that hold reduced copies of their pictures, or masks."""
    copies = {folder: "its name is that of masks or other maps" for folder in folders if _MAPS.fullmatch(folder.name)}
    sizes = {folder: int(match[1]) for folder in folders if (match := _REDUCED.fullmatch(folder.name))}
    sizes |= {folder: 1 for folder in folders if folder.name == "images"}
    if sizes:
        full = min(sizes, key=lambda folder: sizes[folder])
        copies |= {folder: f"its name is that of reduced copies of {full.name}" for folder in sizes if folder != full}
    return copies


def _named(path: Path, name: str, kind: Literal["video", "images"], images: tuple[Path, ...] = ()) -> Source:
    return Source(_safe_name(name, path), path, kind, images)


def _safe_name(name: str, path: Path) -> str:
    """The name in letters, digits, `.`, `_` and `-` of ASCII.

    One with other letters keeps what is ASCII in it (é is e) and gets a digest, so that two of them stay apart; so does
    one that is too long.
    """
    whole = unicodedata.normalize("NFC", name)  # macOS writes é as two characters
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")
    if not whole.isascii() or len(safe) > _LONGEST:
        return f"{safe[:_LONGEST] or 'source'}_{digest_json(whole)[:8]}"
    if not safe:
        raise ValueError(f"{path}: its name has no letter or digit to name scenes by; rename it")
    return safe


def _told_apart(sources: Sequence[Source]) -> list[Source]:
    """The sources with names that differ.

    Equal names in one folder get what the sources are as suffix (`walk_mp4`, `walk_images`), equal names in several
    folders get the names of more and more of these as prefix.

    Raises:
        ValueError: a file or folder is named twice.
    """
    places = [source.path.resolve() for source in sources]
    if twice := [place for place, count in Counter(places).items() if count > 1]:
        raise ValueError(f"{twice[0]} is named twice; name it once")
    names = [source.name.lower() for source in sources]  # some file systems ignore case
    same = Counter(zip(names, [place.parent for place in places], strict=True))
    ends = [f"_{place.suffix[1:] if source.kind == 'video' else 'images'}" if same[name, place.parent] > 1 else ""
            for source, name, place in zip(sources, names, places, strict=True)]  # fmt: skip
    folders = {name: len({place.parent for other, place in zip(names, places, strict=True) if other == name})
               for name in names}  # fmt: skip
    depths = [int(folders[name] > 1) for name in names]
    for _ in range(max((len(place.parents) for place in places), default=1)):
        named = [
            replace(source, name=_with_folders(source, place, depth) + end) if depth or end else source
            for source, place, depth, end in zip(sources, places, depths, ends, strict=True)
        ]
        counts = Counter(source.name.lower() for source in named)
        if max(counts.values(), default=1) == 1:
            return named
        depths = [depth + (counts[source.name.lower()] > 1) for source, depth in zip(named, depths, strict=True)]
    alike = [str(source.path) for source in named if counts[source.name.lower()] > 1]
    raise ValueError(f"{', '.join(alike)}: their names are too much alike; rename all but one")


def _with_folders(source: Source, place: Path, depth: int) -> str:
    own = place.stem if source.kind == "video" else place.name
    return _safe_name("_".join([*(folder.name for folder in reversed(place.parents[:depth])), own]), place)


def read_image(path: Path, *, odd: Counter[str] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of an image file, turned as its EXIF orientation says; `odd` as of `decode_file`.

    Raises:
        BadSceneError: as `decode_file`.
    """
    return np.asarray(decode_file(path, upright=True, odd=odd))
