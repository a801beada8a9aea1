"""The frame store: all frames of a split, cropped and resized, as the concatenation of its parts.

A part is one Zarr v3 group. Arrays, flat over frames: `frames` uint8 [F h w 3] RGB, and where known `clean` (the same
frame without transients), `masks` uint8 [F h w] (1 = transient, 0 = static, 255 = unknown), `c2w` float64 [F 4 4]
(camera-to-world, OpenCV axes) and `intrinsics` float64 [F 4] (fx fy cx cy, normalised by width and height). `offsets`
int64 [S+1] bounds the scenes, and a scene's frames lie in `frames`, `clean` and `masks` from row `rows[scene]` on
(`rows` int64 [S]). One frame is one chunk, `frames_per_shard` frames are one file.

Readers count over all parts: frame number = `offsets[scene]` + frame of the clip.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from wildrayzer.data.frame_store.manifest import SplitManifest, find_store
from wildrayzer.data.frame_store.part import PartReader
from wildrayzer.data.frame_store.shards import OpenShards
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.io.object_store import located
from wildrayzer.io.part_lists import parts_folder

__all__ = ["FrameStore", "FrameStoreWriter", "StoreForm"]


PRELOAD_MB = 512
"""Splits up to this size are held in memory by jobs that read all of their frames."""


class FrameStore:
    """A complete store, read frame by frame or held in memory. Parts are opened when they are first read.

    Args:
        path: the manifest of a split (`frames/SPLIT.json`), or a store of one folder: a part, or that of a run of an
            earlier version (`frames/SPLIT.zarr`), which is read as a split of one part. It may lie in an object store
            (`s3://BUCKET/frames/SPLIT.json`).
        preload_mb: a split up to this size is held in memory.
        manifest: of a split whose manifest is not written to `path` yet.

    Raises:
        ValueError: the store is missing, unfinished, damaged, or of another version; see `SplitManifest.load`.
    """

    def __init__(self, path: str | Path, *, preload_mb: int = 0, manifest: SplitManifest | None = None) -> None:
        found = find_store(path) if manifest is None else Path(path)
        if found is None:
            state = "is unfinished" if located(path).exists() or parts_folder(path).exists() else "does not exist"
            raise ValueError(f"frame store {path} {state}; run the stage `frames` again")
        self.path = found
        self._opened = OpenShards()
        self._readers: dict[int, PartReader] = {}
        if manifest is None and found.is_dir():
            self._readers[0] = PartReader(found, self._opened)
            manifest = self._readers[0].manifest
        self._manifest = manifest = manifest or SplitManifest.load(found)
        self.image_size, self.digest = manifest.image_size, manifest.digest
        self.attributes: dict[str, Any] = dict(manifest.attributes)
        self.parts = manifest.places()
        self.scenes: list[str] = [scene for part in manifest.parts for scene in part.scenes]
        lengths = np.array([length for part in manifest.parts for length in part.lengths], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self._first_frames = np.array([part.first_frame for part in self.parts])
        shapes = {"frames": self.frame_shape, "clean": self.frame_shape, "masks": self.frame_shape[:2]}
        self._shapes = {key: shape for key, shape in shapes.items() if key in manifest.arrays}
        self._held: dict[str, np.ndarray] = {}
        if self.num_frames * sum(int(np.prod(shape)) for shape in self._shapes.values()) <= preload_mb * 2**20:
            self.preload()

    def __len__(self) -> int:
        return len(self.scenes)

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
        return "cameras" in self._manifest.arrays

    @property
    def frame_shape(self) -> tuple[int, ...]:
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
                for number, part in enumerate(self.parts):
                    self._reader(number).read_all(key, held[part.first_frame : part.first_frame + part.num_frames])
                self._held[key] = held
        for key in ("c2w", "intrinsics") if self.has_cameras else ():
            if key not in self._held:
                self._held[key] = np.concatenate([self._reader(n).cameras(key) for n in range(len(self.parts))])
        return self

    def _reader(self, number: int) -> PartReader:
        if number not in self._readers:
            entry = self._manifest.parts[number]
            reader = PartReader(parts_folder(self.path) / f"{entry.key}.zarr", self._opened)
            reader.check_listed(self._manifest, entry, self.path)
            self._readers[number] = reader
        return self._readers[number]

    def _by_part(self, frames: Int[np.ndarray, " n"]) -> list[tuple[PartReader, np.ndarray, np.ndarray]]:
        """The parts that hold these frames: reader, frame numbers within the part, and places among those asked for."""
        numbers = np.searchsorted(self._first_frames, frames, side="right") - 1
        found = []
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            found.append((self._reader(number), frames[places] - self._first_frames[number], places))
        return found

    def _take(self, key: str, frames: Int[np.ndarray, " n"]) -> np.ndarray:
        if key not in self._shapes:
            raise ValueError(f"frame store {self.path} holds no {key}; use a split that has them")
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < self.num_frames:
            raise IndexError(f"frame store {self.path} has {self.num_frames} frames; asked for {frames.tolist()}")
        if key in self._held:
            return self._held[key][frames]
        out = np.empty((len(frames), *self._shapes[key]), np.uint8)
        for reader, own, places in self._by_part(frames):
            reader.read(key, own, out, places)
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
        if not self.has_cameras:
            raise ValueError(f"frame store {self.path} holds no cameras; use a split that has them")
        if "c2w" in self._held:
            return self._held["c2w"][frames], self._held["intrinsics"][frames]
        c2w, intrinsics = np.empty((len(frames), 4, 4)), np.empty((len(frames), 4))
        for reader, own, places in self._by_part(frames):
            c2w[places], intrinsics[places] = reader.cameras("c2w", own), reader.cameras("intrinsics", own)
        return c2w, intrinsics


def adopt_store(store: str | Path, path: str | Path) -> None:
    """Make a store of one folder, as runs of earlier versions have, the only part of a split with the manifest `path`.

    Raises:
        ValueError: the store is unfinished, damaged or of another schema.
    """
    manifest = PartReader(Path(store), OpenShards()).manifest
    folder = parts_folder(path)
    folder.mkdir(parents=True, exist_ok=True)
    Path(store).rename(folder / f"{manifest.digest}.zarr")
    manifest.save(path)
