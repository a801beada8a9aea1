"""One part of a frame store: a folder of Zarr v3 that is complete in itself."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from wildrayzer.data.frame_store.codecs import codec_of
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.frame_store.shards import AGAIN, OpenShards, ShardReader, shard_file
from wildrayzer.data.frame_store.writer import SCHEMA
from wildrayzer.io.metadata_checksum import check_metadata, has_checksum, read_attributes
from wildrayzer.io.object_store import zarr_group

_CAMERAS = ("c2w", "intrinsics")


class PartReader:
    """Reads a part by frame numbers that count from its first frame.

    Args:
        path: folder of the part.
        opened: open files, shared by all parts of a split.

    Raises:
        ValueError: the part is unfinished, damaged or of another schema.
    """

    def __init__(self, path: Path, opened: OpenShards) -> None:
        self.path = path
        attributes = self._checked_attributes()
        arrays: dict[str, Any] = dict(zarr_group(path).arrays())
        shapes: dict[str, tuple[int, ...]] = {
            key: arrays[key].shape[1:] for key in ("frames", "clean", "masks") if key in arrays
        }
        empty: Any = attributes.get("empty_shards", {})
        self.shards = {key: self._reader(key, arrays[key], empty.get(key), opened) for key in shapes}
        self._cameras: dict[str, Any] = {key: arrays[key] for key in _CAMERAS if key in arrays}
        if has_checksum(attributes):  # earlier versions wrote no chunks of zeros
            self._check_files(arrays)
        self._offsets = self._small(arrays["offsets"])
        self._rows = self._small(arrays["rows"]) if "rows" in arrays else self._offsets[:-1]
        scenes, lengths = tuple(attributes["scenes"]), tuple(np.diff(self._offsets).tolist())
        entry = PartEntry(str(attributes["digest"]), 0, scenes, lengths)
        known = (*shapes, *(["cameras"] if self._cameras else []))
        coding, about = self.shards["frames"].codec.coding, attributes["attributes"]
        self.manifest = SplitManifest(int(attributes["image_size"]), coding, known, dict(about), (entry,))
        """Manifest of a split that consists of this part only."""

    def check_listed(self, manifest: SplitManifest, entry: PartEntry, path: Path) -> None:
        """Refuse a part that is not the one which a manifest lists.

        Raises:
            ValueError: it differs in content, scenes, frame size, codec or arrays; names the difference.
        """
        (own,) = self.manifest.parts
        listed = {"digest": entry.key, "scenes": entry.scenes, "lengths of scenes": entry.lengths}
        found = {"digest": own.key, "scenes": own.scenes, "lengths of scenes": own.lengths}
        for name in ("image_size", "coding", "arrays", "attributes"):
            listed[name], found[name] = getattr(manifest, name), getattr(self.manifest, name)
        for name, expected in listed.items():
            if found[name] != expected:
                short = name in ("scenes", "lengths of scenes")
                values = "" if short else f": {found[name]}, the manifest has {expected}"
                raise ValueError(f"{self.path} is not the part that {path} lists, its {name} differ{values}; {AGAIN}")

    def read(self, key: str, frames: Int[np.ndarray, " n"], out: np.ndarray, places: Int[np.ndarray, " n"]) -> None:
        """Fill `out[places]` with the frames of an array, in the order asked for."""
        scenes = np.searchsorted(self._offsets, frames, side="right") - 1
        rows = frames - self._offsets[scenes] + self._rows[scenes]
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            self.shards[key].read(row, out[place])

    def read_all(self, key: str, out: np.ndarray) -> None:
        """Fill `out` with all frames of an array; every shard is read in one go."""
        for start, stop, row in self._runs():
            self.shards[key].read_rows(row, out[start:stop])

    def cameras(self, key: str, frames: Any = slice(None)) -> np.ndarray:
        """Rows of `c2w` or `intrinsics`; all of them by default."""
        return self._small(self._cameras[key], frames)

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        """Frames from `start` to `stop` that lie together, and the row of the first."""
        shift = self._rows - self._offsets[:-1]
        bounds = [*np.flatnonzero(np.diff(shift, prepend=-1)).tolist(), len(self._rows)]
        for first, after in pairwise(bounds):
            yield int(self._offsets[first]), int(self._offsets[after]), int(self._rows[first])

    def _checked_attributes(self) -> dict[str, Any]:
        if not (self.path / "zarr.json").is_file():
            raise ValueError(f"frame store {self.path} is missing or unfinished; run the stage `frames` again")
        attributes = read_attributes(self.path)
        if "digest" not in attributes:
            raise ValueError(f"frame store {self.path} is unfinished; run the stage `frames` again")
        if attributes.get("schema") not in (1, SCHEMA):
            raise ValueError(
                f"frame store {self.path} has schema {attributes.get('schema')}, this version reads {SCHEMA}; {AGAIN}"
            )
        check_metadata(self.path, fix=AGAIN)
        return attributes

    def _check_files(self, arrays: Mapping[str, Any]) -> None:
        """Zarr reads a chunk without a file as zeros; shards have checks of their own."""
        for key in {"offsets", "rows", *_CAMERAS} & arrays.keys():
            array = arrays[key]
            for number in range(-(-array.shape[0] // array.chunks[0])):
                file = shard_file(self.path / key, number, array.ndim)
                if not file.is_file():
                    raise ValueError(f"{file}: the file is missing; {AGAIN}")

    def _small(self, array: Any, where: Any = slice(None)) -> np.ndarray:
        """Content of an array without shards: all of it, or the rows `where`.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return np.asarray(array.oindex[where])
        except (ValueError, RuntimeError) as error:
            place = self.path / array.basename
            raise ValueError(f"{place}: the array is damaged ({error}); {AGAIN}") from None

    def _reader(self, key: str, array: Any, empty: list[int] | None, opened: OpenShards) -> ShardReader:
        shape, chunks = array.shape[1:], array.shards[0]
        known = None if empty is None else frozenset(empty)
        try:
            return ShardReader(self.path / key, shape, chunks, codec_of(array.metadata.to_dict()), known, opened)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"frame store {self.path}: the codec of {key} {error}; make the store again") from None
