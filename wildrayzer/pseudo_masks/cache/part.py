"""A part of a cache, opened for reading: the Zarr group of a bounded set of whole clips."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from wildrayzer.io.metadata_checksum import check_metadata, read_attributes
from wildrayzer.io.object_store import zarr_group
from wildrayzer.pseudo_masks.cache.arrays import SCHEMA, arrays_of
from wildrayzer.pseudo_masks.cache.chunks import ChunkReader


class CachePart:
    """A complete group. No array is read before it is asked for.

    Args:
        path: folder of the group.
        kind: kind of group, a key of `ARRAYS`.
        fix: what to do about a damaged group, for messages.

    Raises:
        ValueError: the group is missing, unfinished, damaged, or of another kind or schema.
    """

    def __init__(self, path: Path, kind: str, *, fix: str) -> None:
        self.path, self.fix = path, fix
        attributes = _checked_attributes(path, kind, fix)
        self.key: str = attributes["digest"]
        """Digest of everything that the group was made from; the name of a part."""
        self.digests: dict[str, str] = attributes["digests"]
        self.scenes: list[str] = attributes["scenes"]
        self.num_frames: int = attributes["frames"]
        self.sizes: dict[str, int] = attributes["sizes"]
        self.about: dict[str, Any] = attributes["about"]
        self.summary: dict[str, Any] = attributes.get("summary", {})
        """Counts of `CacheWriter.summary`; groups of schema 1 have none."""
        self.versions: dict[str, str] = attributes.get("versions", {})
        self.arrays = arrays_of(kind, attributes["schema"])
        self.lengths: list[int] = attributes["lengths"] if "lengths" in attributes else self._read_lengths()
        self._readers: dict[str, ChunkReader] = {}
        self._held: dict[str, np.ndarray] = {}

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` (exclusive) of an array.

        Raises:
            ValueError: the array is damaged.
        """
        if name in self._held:
            return self._held[name][start:stop]
        return self._checked(name, lambda: self._reader(name).rows(start, stop))

    def take(self, name: str, frames: Int[np.ndarray, " n"]) -> np.ndarray:
        """Frames of an array by index in the part, which must be in range.

        Raises:
            ValueError: the array is damaged.
        """
        if not self.arrays[name].dimensions:  # one number per frame: all of them cost no more than one chunk
            self.preload([name])
        if name in self._held:
            return self._held[name][frames]
        return np.stack([self._frame(name, int(frame)) for frame in frames])

    def preload(self, names: Iterable[str]) -> None:
        """Read arrays into memory; reading is then plain indexing."""
        for name in names:
            self._held[name] = self.rows(name, 0, self.num_frames)

    def _frame(self, name: str, number: int) -> np.ndarray:
        return self._checked(name, lambda: self._reader(name).frame(number))

    def _reader(self, name: str) -> ChunkReader:
        if name not in self._readers:
            self._readers[name] = ChunkReader(self.path / name)
        return self._readers[name]

    def _read_lengths(self) -> list[int]:
        """Lengths of the clips; schema 1 has them only as an array of bounds."""
        bounds = self._checked("offsets", lambda: np.asarray(zarr_group(self.path)["offsets"]))
        return np.diff(bounds).tolist()

    def _checked(self, name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return read()
        except (ValueError, RuntimeError) as error:  # a checksum's or a codec's own message does not name the file
            raise ValueError(f"cache {self.path}: the array {name} is damaged ({error}); {self.fix}") from None


def _checked_attributes(path: Path, kind: str, fix: str) -> dict[str, Any]:
    """Attributes of a complete group; raises the errors of `CachePart`."""
    if not (path / "zarr.json").is_file():
        state = "is unfinished" if path.exists() or unfinished(path) else "does not exist"
        raise ValueError(f"cache {path} {state}; {fix}")
    attributes = read_attributes(path)
    if "files" not in attributes:
        raise ValueError(f"cache {path} is unfinished; {fix}")
    if attributes.get("schema") not in (1, SCHEMA):
        raise ValueError(f"cache {path} has schema {attributes.get('schema')}, this version reads {SCHEMA}; {fix}")
    check_metadata(path, fix=fix)
    if attributes["layout"] != kind:
        raise ValueError(f"cache {path} contains {attributes['layout']}, not {kind}; name the right group")
    for name, size in attributes["files"].items():
        file = path / name
        if not file.is_file():
            raise ValueError(f"cache {path} lacks the file {name}; {fix}")
        if file.stat().st_size != size:
            raise ValueError(f"cache {path}: {name} has {file.stat().st_size} of {size} bytes; {fix}")
    return attributes


def unfinished(path: Path) -> list[Path]:
    """What lies beside a group that is not complete yet."""
    return sorted(path.parent.glob(f".{path.name}.unfinished*"))
