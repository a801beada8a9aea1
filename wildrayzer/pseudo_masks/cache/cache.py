"""The pseudo-mask cache: Zarr v3 groups, flat over the frames of a split, with digests of what they were made from.

A cache is a folder with three manifests, each written by one stage of the workflow. A manifest lists parts: groups of a
bounded set of whole clips, which lie in the folder beside it and never change (see `manifest`). The arrays of a part:

- `residuals.json`: `d_dino`, `d_ssim` float16 [F g g], `clusters` uint8 [F g g], `psnr` float32 [F] (dB), `window`
  int32 [F] (number of the window that has the frame as a target, counted from the part's first window), `disagreement`
  float32 [F] (1 − correlation of the two maps);
- `patch_masks.json`: `mask` uint8 [F g g], `coverage` float32 [F] (share that is marked);
- `pixel_masks.json`: `mask` uint8 [F h w], `coverage` float32 [F], `disagreement` float32 [F] (1 − IoU with the patch
  mask).

Masks: 1 = transient, 255 = not computed. Not computed elsewhere: NaN, cluster 255, window −1. Every group also has
`offsets` int64 [S+1], the bounds of its scenes, and the names of the scenes in its attributes. All arrays name their
dimensions, so `xarray.open_zarr(PATH, consolidated=False)` reads a part. Runs of earlier versions have one group
instead of a manifest, such as `residuals.zarr`, without `disagreement` and `coverage`; it is read as the only part.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt8

from wildrayzer.io.digests import check_digests
from wildrayzer.io.part_lists import part_path
from wildrayzer.pseudo_masks.cache.arrays import arrays_of
from wildrayzer.pseudo_masks.cache.manifest import Manifest, PartEntry, again, find_group, is_begun
from wildrayzer.pseudo_masks.cache.part import CachePart


@dataclass(frozen=True)
class GroupPart:
    """A part of an open cache, and where it lies in the concatenation."""

    path: Path
    """Folder of the part."""
    entry: PartEntry
    first_scene: int
    first_frame: int
    num_frames: int
    first_window: int
    """Number of the part's first window in the list of the split; 0 in groups without windows."""


class CacheGroup:
    """A complete cache of one kind, opened for reading: the concatenation of its parts.

    Parts are opened when they are first read.

    Args:
        path: the manifest; or the group of an earlier version or a single part, which is read as the only part.
        expect: digests, by name, that the cache must have.

    Raises:
        ValueError: the cache is missing, unfinished, damaged, of another kind or version, or has another digest.
    """

    kind: ClassVar[str]
    """Kind of group that the class reads, a key of `ARRAYS`."""
    stage: ClassVar[str]
    """Stage that makes the group, for messages."""

    def __init__(self, path: str | Path, *, expect: Mapping[str, str] | None = None) -> None:
        self.path = find_group(path)
        self._opened: dict[int, CachePart] = {}
        manifest = self._single() if self.path.suffix == ".zarr" else self._listed()
        self.digests, self.digest = manifest.digests, manifest.digest
        self.sizes, self.about, self.versions = manifest.sizes, manifest.about, manifest.versions
        self.summary: dict[str, Any] = manifest.summary
        """Means over the split; empty for a group without a manifest."""
        check_digests(self.path, self.digests, expect or {}, self.stage)
        self.parts = tuple(self._placed(manifest.parts))
        self.scenes: list[str] = [scene for part in manifest.parts for scene in part.scenes]
        lengths = [length for part in manifest.parts for length in part.lengths]
        self.offsets: np.ndarray = np.cumsum([0, *lengths])
        self.num_frames = int(self.offsets[-1])
        self._first_frames = np.array([part.first_frame for part in self.parts])

    def _single(self) -> Manifest:
        """A group that is the only part."""
        self._opened[0] = part = CachePart(self.path, self.kind, fix=again(self.stage, self.path))
        entry = PartEntry(part.key, part.digests, part.scenes, part.lengths, part.summary)
        return Manifest(self.kind, part.digests, part.sizes, part.about, part.versions, (entry,))

    def _listed(self) -> Manifest:
        fix = f"run the stage {self.stage} again"
        if not self.path.is_file():
            state = "is unfinished" if is_begun(self.path) else "does not exist"
            raise ValueError(f"cache {self.path} {state}; {fix}")
        return Manifest.load(self.path, self.kind, fix=f"delete the manifest and {fix}; complete parts are found again")

    def _placed(self, entries: Iterable[PartEntry]) -> Iterator[GroupPart]:
        scene = frame = window = 0
        for entry in entries:
            path = self.path if self.path.suffix == ".zarr" else part_path(self.path, entry.key)
            count = sum(entry.lengths)
            yield GroupPart(path, entry, scene, frame, count, window)
            scene, frame = scene + len(entry.scenes), frame + count
            window += entry.summary.get("windows", 0)

    def part(self, number: int) -> CachePart:
        """A part, opened.

        Raises:
            ValueError: it is unfinished or damaged, or is not what the manifest lists.
        """
        if number not in self._opened:
            listed = self.parts[number]
            fix = again(self.stage, listed.path)
            part = CachePart(listed.path, self.kind, fix=fix)
            if (part.key, part.scenes, part.lengths) != (listed.entry.key, listed.entry.scenes, listed.entry.lengths):
                raise ValueError(
                    f"cache {listed.path} is another part than {self.path} lists: its digest is {part.key}; {fix}"
                )
            self._opened[number] = part
        return self._opened[number]

    @property
    def has_statistics(self) -> bool:
        """Whether the parts store statistics of their frames; groups of earlier versions do not."""
        return self.path.suffix == ".json" or len(self.part(0).arrays) == len(arrays_of(self.kind))

    def all(self, name: str) -> np.ndarray:
        """A whole array, in memory."""
        return self.span(name, 0, self.num_frames)

    def span(self, name: str, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` (exclusive) of an array; ends beyond the last frame are cut."""
        start, stop = min(start, self.num_frames), min(stop, self.num_frames)
        found = self._empty(name, max(0, stop - start))
        first, after = np.searchsorted(self._first_frames, [start, stop], side="right").tolist()
        for number in range(max(0, first - 1), after):
            part = self.parts[number]
            low, high = max(start, part.first_frame), min(stop, part.first_frame + part.num_frames)
            if low < high:
                rows = self.part(number).rows(name, low - part.first_frame, high - part.first_frame)
                found[low - start : high - start] = self._in_split(name, part, rows)
        return found

    def take(self, name: str, frames: Int[np.ndarray, " n"]) -> np.ndarray:
        """Frames of an array by global index, in the order of the indices.

        Raises:
            IndexError: there is no such frame.
        """
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < self.num_frames:
            raise IndexError(f"{self.path} has {self.num_frames} frames; asked for {frames.tolist()}")
        found = self._empty(name, len(frames))
        owner = np.searchsorted(self._first_frames, frames, side="right") - 1
        for number in np.unique(owner).tolist():
            part, rows = self.parts[number], owner == number
            found[rows] = self._in_split(name, part, self.part(number).take(name, frames[rows] - part.first_frame))
        return found

    def preload(self, names: Iterable[str] | None = None) -> None:
        """Read arrays into memory; reading is then plain indexing."""
        wanted = list(names or arrays_of(self.kind, 1))
        for number in range(len(self.parts)):
            self.part(number).preload(wanted)

    def _empty(self, name: str, count: int) -> np.ndarray:
        spec = arrays_of(self.kind)[name]
        return np.empty((count, *(self.sizes[dimension] for dimension in spec.dimensions)), spec.dtype)

    def _in_split(self, name: str, part: GroupPart, values: np.ndarray) -> np.ndarray:
        """Values of a part as they are in the concatenation."""
        return values


class ResidualMaps(CacheGroup):
    """`residuals.json`: the residual maps, clusters, PSNR and window of every frame."""

    kind = "residuals"
    stage = "residuals"

    @functools.cached_property
    def psnr(self) -> Float[np.ndarray, " f"]:
        """PSNR of every frame's prediction in dB; NaN where not computed."""
        return self.all("psnr")

    @functools.cached_property
    def window(self) -> Int[np.ndarray, " f"]:
        """Number of the window in the split's list that has the frame as a target; −1 where there is none."""
        return self.all("window")

    def _in_split(self, name: str, part: GroupPart, values: np.ndarray) -> np.ndarray:
        return np.where(values < 0, -1, values + part.first_window) if name == "window" else values


class PatchMasks(CacheGroup):
    """`patch_masks.json`: masks on the patch grid."""

    kind = "patch_masks"
    stage = "pseudo_masks"

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n g g2"]:
        """Patch masks by global frame index: 1 = transient, 255 = not computed."""
        return self.take("mask", frames)


class PixelMasks(CacheGroup):
    """`pixel_masks.json`: refined masks, one frame per chunk.

    With `preload_mb`, masks of up to so many MiB are read into memory at once.
    """

    kind = "pixel_masks"
    stage = "refine"

    def __init__(self, path: str | Path, *, expect: Mapping[str, str] | None = None, preload_mb: int = 0) -> None:
        super().__init__(path, expect=expect)
        if self.num_frames * math.prod(self.sizes.values()) <= preload_mb * 2**20:
            self.preload(["mask"])

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w"]:
        """Pixel masks by global frame index: 1 = transient, 255 = not computed."""
        return self.take("mask", frames)
