"""The frame store: all frames of a split, cropped and resized, in one Zarr v3 group.

Arrays, flat over frames: `frames` uint8 [F h w 3] RGB, and where known `clean` (the same frame without transients),
`masks` uint8 [F h w] (1 = transient, 0 = static, 255 = unknown), `c2w` float64 [F 4 4] (camera-to-world, OpenCV axes)
and `intrinsics` float64 [F 4] (fx fy cx cy, normalised by width and height). `offsets` int64 [S+1] bounds the scenes.
One frame is one chunk, `frames_per_shard` frames are one file, and the codec is lossless.
"""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float, Int, UInt8

from wildrayzer.data.shards import read_all
from wildrayzer.data.store_writer import SCHEMA, UNKNOWN, FrameStoreWriter, unfinished

__all__ = ["UNKNOWN", "FrameStore", "FrameStoreWriter"]


PRELOAD_MB = 512
"""Splits up to this size are held in memory by jobs that read all of their frames."""


class FrameStore:
    """A complete store, read frame by frame or held in memory.

    Raises:
        ValueError: the store is missing, unfinished or of another schema.
    """

    def __init__(self, path: str | Path, *, preload_mb: int = 0) -> None:
        self.path = Path(path)
        if not (self.path / "zarr.json").is_file():
            state = "is unfinished" if unfinished(self.path).exists() or self.path.exists() else "does not exist"
            raise ValueError(f"frame store {self.path} {state}; run the stage `frames` again")
        self._group = zarr.open_group(self.path, mode="r")
        attributes = dict(self._group.attrs)
        if "digest" not in attributes:
            raise ValueError(f"frame store {self.path} is unfinished; run the stage `frames` again")
        if attributes["schema"] != SCHEMA:
            raise ValueError(
                f"frame store {self.path} has schema {attributes['schema']}, this version reads {SCHEMA}; "
                "delete it and run the stage `frames` again"
            )
        self.scenes: list[str] = list(attributes["scenes"])  # type: ignore[arg-type]
        self.image_size = int(attributes["image_size"])  # type: ignore[arg-type]
        self.attributes: dict[str, Any] = dict(attributes["attributes"])  # type: ignore[arg-type]
        self.digest = str(attributes["digest"])
        self._arrays: dict[str, Any] = dict(self._group.arrays())
        self.offsets: np.ndarray = self._arrays["offsets"][:]
        self._cameras = {key: self._arrays[key][:] for key in ("c2w", "intrinsics") if key in self._arrays}
        if self._image_bytes() <= preload_mb * 2**20:
            self.preload()

    def __len__(self) -> int:
        return len(self.scenes)

    def _image_bytes(self) -> int:
        return sum(int(np.prod(self._arrays[key].shape)) for key in ("frames", "clean", "masks") if key in self._arrays)

    @property
    def num_frames(self) -> int:
        """Frames of all scenes."""
        return int(self.offsets[-1])

    @property
    def has_clean(self) -> bool:
        """Every frame has a clean twin."""
        return "clean" in self._arrays

    @property
    def has_masks(self) -> bool:
        """Some frames have true masks."""
        return "masks" in self._arrays

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

    def scene_of(self, frames: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """Scene numbers of global frame indices."""
        return np.searchsorted(self.offsets, frames, side="right") - 1

    def preload(self) -> "FrameStore":
        """Hold frames, clean twins and masks in memory; reading is plain indexing from then on."""
        for key in ("frames", "clean", "masks"):
            if key in self._arrays and not isinstance(self._arrays[key], np.ndarray):
                self._arrays[key] = read_all(self._arrays[key], self.path / key)
        return self

    def _take(self, key: str, frames: Int[np.ndarray, "n"]) -> np.ndarray:
        if key not in self._arrays:
            raise ValueError(f"frame store {self.path} holds no {key}; use a split that has them")
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < self.num_frames:
            raise IndexError(f"frame store {self.path} has {self.num_frames} frames; asked for {frames.tolist()}")
        array = self._arrays[key]
        if isinstance(array, np.ndarray):
            return array[frames]
        return (
            np.stack([array[int(frame)] for frame in frames])
            if len(frames)
            else np.empty((0, *array.shape[1:]), np.uint8)
        )

    def read(self, frames: Int[np.ndarray, "n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Frames by global index, in the order asked for."""
        return self._take("frames", frames)

    def read_clean(self, frames: Int[np.ndarray, "n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Clean twins by global index."""
        return self._take("clean", frames)

    def read_masks(self, frames: Int[np.ndarray, "n"]) -> UInt8[np.ndarray, "n h w"]:
        """True masks by global index: 1 = transient, 255 = unknown."""
        return self._take("masks", frames)

    def cameras(self, frames: Int[np.ndarray, "n"]) -> tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 4"]]:
        """Camera-to-world matrices and normalised intrinsics by global index."""
        if not self._cameras:
            raise ValueError(f"frame store {self.path} holds no cameras; use a split that has them")
        return self._cameras["c2w"][frames], self._cameras["intrinsics"][frames]
