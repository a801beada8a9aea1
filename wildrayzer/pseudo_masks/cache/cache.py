"""The pseudo-mask cache: Zarr v3 groups, flat over the frames of a split, with digests of what they were made from.

Three groups lie in one folder, each made by one stage of the workflow:

- `residuals.zarr`: `d_dino`, `d_ssim` float16 [F g g], `clusters` uint8 [F g g], `psnr` float32 [F] (dB), `window`
  int32 [F] (number of the window that has the frame as a target);
- `patch_masks.zarr`: `mask` uint8 [F g g];
- `pixel_masks.zarr`: `mask` uint8 [F h w].

Masks: 1 = transient, 255 = not computed. Not computed elsewhere: NaN, cluster 255, window −1. Every group also has
`offsets` int64 [S+1], the bounds of the scenes, and the names of the scenes in its attributes. All arrays name their
dimensions, so `xarray.open_zarr(PATH, consolidated=False)` reads a group.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zarr
from jaxtyping import Float, Int, UInt8

from wildrayzer.io.digests import check_digests
from wildrayzer.io.metadata_checksum import check_metadata, read_attributes
from wildrayzer.pseudo_masks.cache.arrays import ARRAYS, SCHEMA
from wildrayzer.pseudo_masks.cache.chunks import ChunkReader
from wildrayzer.pseudo_masks.cache.writer import unfinished


class CacheGroup:
    """A complete group, opened for reading.

    Args:
        path: folder of the group.
        expect: digests, by name, that the group must have.

    Raises:
        ValueError: the group is missing, unfinished, damaged, of another kind or schema, or has another digest.
    """

    kind: ClassVar[str]
    """Kind of group that the class reads, a key of `ARRAYS`."""
    stage: ClassVar[str]
    """Stage that makes the group, for messages."""

    def __init__(self, path: str | Path, *, expect: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self._group, self.attributes = _open(self.path, self.kind, self.stage)
        self.digests: dict[str, str] = self.attributes["digests"]
        self.digest: str = self.attributes["digest"]
        self.scenes: list[str] = self.attributes["scenes"]
        self.num_frames: int = self.attributes["frames"]
        self.sizes: dict[str, int] = self.attributes["sizes"]
        self.about: dict[str, Any] = self.attributes["about"]
        check_digests(self.path, self.digests, expect or {}, self.stage)
        # By name: the folder may hold other files, such as those that Snakemake leaves there.
        names = [spec.name for spec in ARRAYS[self.kind]]
        self._arrays: dict[str, Any] = {name: self._group[name] for name in (*names, "offsets")}
        self._chunks = {name: ChunkReader(self._arrays[name], self.path / name) for name in names}
        self.offsets: np.ndarray = self._read("offsets", slice(None))

    def all(self, name: str) -> np.ndarray:
        """A whole array, in memory."""
        return self._read(name, slice(None))

    def span(self, name: str, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` (exclusive) of an array."""
        return self._read(name, slice(start, stop))

    def take(self, name: str, frames: Int[np.ndarray, " n"]) -> np.ndarray:
        """Frames of an array by global index, in the order of the indices.

        Raises:
            IndexError: there is no such frame.
        """
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < self.num_frames:
            raise IndexError(f"{self.path} has {self.num_frames} frames; asked for {frames.tolist()}")
        array = self._arrays[name]
        if isinstance(array, np.ndarray):
            return array[frames]
        parts = [self._frame(name, int(frame)) for frame in frames]
        return np.stack(parts) if parts else np.empty((0, *array.shape[1:]), array.dtype)

    def preload(self, names: Iterable[str] | None = None) -> None:
        """Read arrays into memory; `take` is then plain indexing."""
        for name in names or [spec.name for spec in ARRAYS[self.kind]]:
            self._arrays[name] = self._read(name, slice(None))

    def _read(self, name: str, where: slice) -> np.ndarray:
        return self._checked(name, lambda: np.asarray(self._arrays[name][where]))

    def _frame(self, name: str, number: int) -> np.ndarray:
        return self._checked(name, lambda: self._chunks[name].frame(number))

    def _checked(self, name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return read()
        except (ValueError, RuntimeError) as error:  # a checksum's or a codec's own message does not name the file
            raise ValueError(
                f"cache {self.path}: the array {name} is damaged ({error}); delete the cache and run the stage "
                f"{self.stage} again"
            ) from None


class ResidualMaps(CacheGroup):
    """`residuals.zarr`: the residual maps, clusters, PSNR and window of every frame."""

    kind = "residuals"
    stage = "residuals"

    @functools.cached_property
    def psnr(self) -> Float[np.ndarray, " f"]:
        """PSNR of every frame's prediction in dB; NaN where not computed."""
        return self.all("psnr")

    @functools.cached_property
    def window(self) -> Int[np.ndarray, " f"]:
        """Number of the window that has the frame as a target; −1 where there is none."""
        return self.all("window")


class PatchMasks(CacheGroup):
    """`patch_masks.zarr`: masks on the patch grid."""

    kind = "patch_masks"
    stage = "pseudo_masks"

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n g g2"]:
        """Patch masks by global frame index: 1 = transient, 255 = not computed."""
        return self.take("mask", frames)


class PixelMasks(CacheGroup):
    """`pixel_masks.zarr`: refined masks, one frame per chunk.

    With `preload_mb`, masks of up to so many MiB are read into memory at once.
    """

    kind = "pixel_masks"
    stage = "refine"

    def __init__(self, path: str | Path, *, expect: Mapping[str, str] | None = None, preload_mb: int = 0) -> None:
        super().__init__(path, expect=expect)
        if int(np.prod(self._arrays["mask"].shape)) <= preload_mb * 2**20:
            self.preload()

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w"]:
        """Pixel masks by global frame index: 1 = transient, 255 = not computed."""
        return self.take("mask", frames)


def _open(path: Path, kind: str, stage: str) -> tuple[zarr.Group, dict[str, Any]]:
    """A complete group and its attributes; raises the errors of `CacheGroup`, except for digests."""
    again = f"run the stage {stage} again"
    if not (path / "zarr.json").is_file():
        state = "is unfinished" if path.exists() or unfinished(path).exists() else "does not exist"
        raise ValueError(f"cache {path} {state}; {again}")
    attributes = read_attributes(path)
    if "files" not in attributes:
        raise ValueError(f"cache {path} is unfinished; {again}")
    if attributes.get("schema") != SCHEMA:
        raise ValueError(f"cache {path} has schema {attributes.get('schema')}, this version reads {SCHEMA}; {again}")
    check_metadata(path, fix=again)
    if attributes["layout"] != kind:
        raise ValueError(f"cache {path} contains {attributes['layout']}, not {kind}; name the right group")
    for name, size in attributes["files"].items():
        file = path / name
        if not file.is_file():
            raise ValueError(f"cache {path} lacks the file {name}; {again}")
        if file.stat().st_size != size:
            raise ValueError(f"cache {path}: {name} has {file.stat().st_size} of {size} bytes; {again}")
    return zarr.open_group(path, mode="r"), attributes
