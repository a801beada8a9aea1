"""What a part was read from: the state of each clip's files, recorded so that only changed clips are read again.

The record of the part `KEY.zarr` is `KEY.json` beside it. A part of which no clip could be used has only a record.
"""

import json
import logging
import os
import shutil
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.readers.base import SceneReader, file_stamp
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.io.files import read_json, write_bytes_atomic
from wildrayzer.io.outputs import remove_leftovers
from wildrayzer.io.part_lists import parts_folder

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the record."""
_KEY = "[0-9a-f]" * 16
"""Pattern of keys."""


@dataclass(frozen=True)
class Stamp:
    """State of the files of a clip, as three digests."""

    files: str
    """Of their names, relative to the data folder, and sizes."""
    times: str
    """Of their times of modification."""
    content: str
    """Of what is in them."""


class ClipFiles:
    """Looks at the files of a split's clips.

    Args:
        reader: names the files of a clip.
        folder: data folder of the split.
    """

    def __init__(self, reader: SceneReader, folder: Path) -> None:
        self._reader, self._root = reader, folder.resolve()
        self._content_of = lru_cache(maxsize=64)(_content)  # clips of one chunk follow each other

    def stamp(self, name: str) -> Stamp:
        """State of a clip's files now; every file is read."""
        return replace(self._look(name), content=self._content(name))

    def unchanged(self, name: str, recorded: Stamp) -> Stamp | None:
        """The state of a clip's files if it is as recorded, with the times of now; None if they have changed.

        Files that were moved or copied have other times: their content is read and compared.
        """
        now = self._look(name)
        if now.files != recorded.files:
            return None
        if now.times != recorded.times and self._content(name) != recorded.content:
            return None
        return replace(now, content=recorded.content)

    def _look(self, name: str) -> Stamp:
        entries = [(os.path.relpath(file, self._root), *file_stamp(file)) for file in self._reader.files(name)]
        sizes = digest_json([(file, size) for file, size, _ in entries])
        return Stamp(sizes, digest_json([time for _, _, time in entries]), "")

    def _content(self, name: str) -> str:
        return digest_json([self._content_of(file) for file in self._reader.files(name)])


def _content(file: Path) -> str | None:
    try:
        return digest_file(file)
    except OSError:  # missing, a folder, or not to be read: the reader says so when it reads the clip
        return None


@dataclass(frozen=True)
class PartRecord:
    """What a part was made from."""

    key: str
    """Of the part; that of the record itself if no clip could be used."""
    made_from: str
    """Digest of all options that decide the part's content."""
    clips: dict[str, dict[str, Any]]
    """By name, in the order of reading: `stamp`, and the facts of the report; for a skipped clip `reason`, `detail` and
    `frames` instead."""
    unlisted: tuple[str, ...] = ()
    """Scenes that lie beside these, but that the split's list does not name."""

    @cached_property
    def used(self) -> dict[str, dict[str, Any]]:
        """Clips in the part."""
        return {name: clip for name, clip in self.clips.items() if "reason" not in clip}

    @cached_property
    def skipped(self) -> dict[str, dict[str, Any]]:
        """Clips that cannot be used."""
        return {name: clip for name, clip in self.clips.items() if "reason" in clip}

    def stamp(self, name: str) -> Stamp:
        """Recorded state of a clip's files."""
        return Stamp(*self.clips[name]["stamp"])

    def with_stamps(self, stamps: dict[str, Stamp]) -> "PartRecord":
        """The record with other times."""
        clips = {
            name: {**clip, "stamp": list(vars(stamps[name]).values())} if name in stamps else clip
            for name, clip in self.clips.items()
        }
        return replace(self, clips=clips)

    def save(self, folder: Path) -> None:
        """Write the record beside its part; a file that holds the same is left as it is."""
        content = {"version": VERSION, "made_from": self.made_from, "clips": self.clips, "unlisted": self.unlisted}
        text = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        file = folder / f"{self.key}.json"
        if not file.is_file() or file.read_bytes() != text:
            write_bytes_atomic(file, text)


def read_record(folder: Path, key: str) -> PartRecord:
    """The record of a part.

    Raises:
        ValueError: it is damaged or of another version.
        FileNotFoundError: there is none.
    """
    document = read_json(folder / f"{key}.json")
    try:
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']}, not {VERSION}")
        record = PartRecord(key, str(document["made_from"]), document["clips"], tuple(document["unlisted"]))
        [record.stamp(name) for name in record.clips]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder / key}.json: no record of a part ({error!r}); delete it") from None
    return record


def read_records(folder: Path, made_from: str) -> Iterator[PartRecord]:
    """The records of complete parts in a folder that were made from these options, in the order of their names."""
    for file in sorted(folder.glob(f"{_KEY}.json")):
        try:
            record = read_record(folder, file.stem)
        except ValueError as error:
            logger.warning("%s; its clips are read again", error)
            continue
        complete = not record.used or (folder / f"{file.stem}.zarr" / "zarr.json").is_file()
        if complete and record.made_from == made_from:
            yield record


def recorded_sizes(store: FrameStore) -> dict[str, tuple[int, int]]:
    """Width and height of the frames of each clip before they were fitted, where the records of the parts tell.

    Raises:
        ValueError: a record is damaged.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for part in store.parts:
        try:
            record = read_record(parts_folder(store.path), part.key)
        except FileNotFoundError:
            continue  # a store of one folder, or of an earlier version
        for name, clip in record.used.items():
            width, _, height = str(clip.get("size", "")).partition("×")
            if width.isdecimal() and height.isdecimal():
                sizes[name] = (int(width), int(height))
    return sizes


def remove_parts(folder: Path, *, keep: Container[str]) -> None:
    """Remove parts and records from a folder, but those whose keys are in `keep`, and what killed writers have left."""
    remove_leftovers(folder / "part", "unfinished")
    for entry in [*folder.glob(f"{_KEY}.zarr"), *folder.glob(f"{_KEY}.json")]:
        if entry.stem not in keep:
            logger.info("%s is no part of the split any more; removed", entry)
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
