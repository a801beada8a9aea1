"""The frame store: all frames of a split, cropped and resized, in one Zarr v3 group.

Arrays, flat over frames: `frames` uint8 [F h w 3] RGB, and where known `clean` (the same frame without transients),
`masks` uint8 [F h w] (1 = transient, 0 = static, 255 = unknown), `c2w` float64 [F 4 4] (camera-to-world, OpenCV axes)
and `intrinsics` float64 [F 4] (fx fy cx cy, normalised by width and height). `offsets` int64 [S+1] bounds the scenes:
frame number = `offsets[scene]` + frame of the clip, the index of the cameras too. One frame is one chunk,
`frames_per_shard` frames are one file. The store is joined from parts without copying, so shards may have empty places:
a scene's frames lie in `frames`, `clean` and `masks` from row `rows[scene]` on (`rows` int64 [S]).
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float, Int, UInt8

from wildrayzer.data.frame_store.codecs import codec_of
from wildrayzer.data.frame_store.join import SCHEMA
from wildrayzer.data.frame_store.manifest import StorePart
from wildrayzer.data.frame_store.shards import ShardReader, shard_file
from wildrayzer.data.frame_store.writer import FrameStoreWriter, unfinished
from wildrayzer.io.metadata_checksum import check_metadata, has_checksum, read_attributes

__all__ = ["FrameStore", "FrameStoreWriter"]


PRELOAD_MB = 512
"""Splits up to this size are held in memory by jobs that read all of their frames."""


class FrameStore:
    """A complete store, read frame by frame or held in memory.

    Raises:
        ValueError: the store is missing, a file, unfinished or of another schema.
    """

    def __init__(self, path: str | Path, *, preload_mb: int = 0) -> None:
        self.path = Path(path)
        if self.path.is_file():
            raise ValueError(f"frame store {self.path} is a file; name the folder that the stage `frames` made")
        if not (self.path / "zarr.json").is_file():
            state = "is unfinished" if unfinished(self.path) or self.path.exists() else "does not exist"
            raise ValueError(f"frame store {self.path} {state}; run the stage `frames` again")
        attributes = self._checked_attributes()
        self._group = zarr.open_group(self.path, mode="r")
        self.scenes: list[str] = list(attributes["scenes"])
        self.image_size = int(attributes["image_size"])
        self.attributes: dict[str, Any] = dict(attributes["attributes"])
        self.digest = str(attributes["digest"])
        arrays: dict[str, Any] = dict(self._group.arrays())
        self._shapes = {key: arrays[key].shape[1:] for key in ("frames", "clean", "masks") if key in arrays}
        empty: Any = attributes.get("empty_shards", {})
        self._shards = {key: self._reader(key, arrays[key], empty.get(key)) for key in self._shapes}
        self._cameras: dict[str, Any] = {key: arrays[key] for key in ("c2w", "intrinsics") if key in arrays}
        self._held: dict[str, np.ndarray] = {}
        if has_checksum(attributes):  # earlier versions wrote no chunks of zeros
            self._check_files(arrays)
        self.offsets = self._small(arrays["offsets"])
        self._rows = self._small(arrays["rows"]) if "rows" in arrays else self.offsets[:-1]
        self.parts = (StorePart(self.digest, 0, len(self), 0, self.num_frames, seed_frame=0),)
        if self._image_bytes() <= preload_mb * 2**20:
            self.preload()

    def __len__(self) -> int:
        return len(self.scenes)

    def _checked_attributes(self) -> dict[str, Any]:
        again = "delete it and run the stage `frames` again"
        attributes = read_attributes(self.path)
        if "digest" not in attributes:
            raise ValueError(f"frame store {self.path} is unfinished; run the stage `frames` again")
        if attributes.get("schema") not in (1, SCHEMA):
            raise ValueError(
                f"frame store {self.path} has schema {attributes.get('schema')}, this version reads {SCHEMA}; {again}"
            )
        check_metadata(self.path, fix=again)
        return attributes

    def _check_files(self, arrays: Mapping[str, Any]) -> None:
        """Zarr reads a chunk without a file as zeros; shards have checks of their own."""
        for key in {"offsets", "rows", "c2w", "intrinsics"} & arrays.keys():
            array = arrays[key]
            for number in range(-(-array.shape[0] // array.chunks[0])):
                file = shard_file(self.path / key, number, array.ndim)
                if not file.is_file():
                    raise ValueError(f"{file}: the file is missing; delete the store and run its stage again")

    def _small(self, array: Any, where: Any = slice(None)) -> np.ndarray:
        """Content of an array without shards: all of it, or the rows `where`.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return np.asarray(array.oindex[where])
        except (ValueError, RuntimeError) as error:
            place = self.path / array.basename
            raise ValueError(
                f"{place}: the array is damaged ({error}); delete the store and run its stage again"
            ) from None

    def _reader(self, key: str, array: Any, empty: list[int] | None) -> ShardReader:
        shape, chunks = array.shape[1:], array.shards[0]
        known = None if empty is None else frozenset(empty)
        try:
            return ShardReader(self.path / key, shape, chunks, codec_of(array.metadata.to_dict()), known)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"frame store {self.path}: the codec of {key} {error}; make the store again") from None

    def _image_bytes(self) -> int:
        return self.num_frames * sum(int(np.prod(shape)) for shape in self._shapes.values())

    @property
    def num_frames(self) -> int:
        """Frames of all scenes."""
        return int(self.offsets[-1])

    @property
    def has_clean(self) -> bool:
        """Every frame has a clean twin."""
        return "clean" in self._shapes

    @property
    def has_masks(self) -> bool:
        """Some frames have true masks."""
        return "masks" in self._shapes

    @property
    def has_cameras(self) -> bool:
        """Every frame has a camera."""
        return bool(self._cameras)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a frame."""
        return (self.image_size, self.image_size, 3)

    def length(self, scene: int) -> int:
        """Frames of a scene."""
        return int(self.offsets[scene + 1] - self.offsets[scene])

    def scene_of(self, frames: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Scene numbers of global frame indices."""
        return np.searchsorted(self.offsets, frames, side="right") - 1

    def preload(self) -> "FrameStore":
        """Hold frames, clean twins, masks and cameras in memory; reading is plain indexing from then on."""
        for key, shape in self._shapes.items():
            if key not in self._held:
                held = np.empty((self.num_frames, *shape), np.uint8)
                for start, stop, row in self._runs():
                    self._shards[key].read_rows(row, held[start:stop])
                self._held[key] = held
        self._cameras = {
            key: array if isinstance(array, np.ndarray) else self._small(array) for key, array in self._cameras.items()
        }
        return self

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        """Frames from `start` to `stop` that lie together, and the row of the first."""
        shift = self._rows - self.offsets[:-1]
        bounds = [*np.flatnonzero(np.diff(shift, prepend=-1)).tolist(), len(self)]
        for first, after in pairwise(bounds):
            yield int(self.offsets[first]), int(self.offsets[after]), int(self._rows[first])

    def _take(self, key: str, frames: Int[np.ndarray, " n"]) -> np.ndarray:
        if key not in self._shapes:
            raise ValueError(f"frame store {self.path} holds no {key}; use a split that has them")
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < self.num_frames:
            raise IndexError(f"frame store {self.path} has {self.num_frames} frames; asked for {frames.tolist()}")
        if key in self._held:
            return self._held[key][frames]
        scenes = self.scene_of(frames)
        out = np.empty((len(frames), *self._shapes[key]), np.uint8)
        for place, row in zip(out, (frames - self.offsets[scenes] + self._rows[scenes]).tolist(), strict=True):
            self._shards[key].read(row, place)
        return out

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Frames by global index, in the order asked for."""
        return self._take("frames", frames)

    def read_clean(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Clean twins by global index."""
        return self._take("clean", frames)

    def read_masks(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w"]:
        """True masks by global index: 1 = transient, 255 = unknown."""
        return self._take("masks", frames)

    def cameras(self, frames: Int[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 4"]]:
        """Camera-to-world matrices and normalised intrinsics by global index."""
        if not self._cameras:
            raise ValueError(f"frame store {self.path} holds no cameras; use a split that has them")
        c2w, intrinsics = self._cameras["c2w"], self._cameras["intrinsics"]
        if isinstance(c2w, np.ndarray):
            return c2w[frames], intrinsics[frames]
        return self._small(c2w, frames), self._small(intrinsics, frames)
