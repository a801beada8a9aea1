"""Pseudo-masks: caches as xarray data sets, and the masks of a video."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from wildrayzer.api.model import Model, load
from wildrayzer.pseudo_masks.cache.arrays import arrays_of
from wildrayzer.pseudo_masks.cache.cache import CacheGroup, PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.location import CacheLocation
from wildrayzer.pseudo_masks.cache.manifest import is_begun
from wildrayzer.tools.caches_below import caches_below
from wildrayzer.tools.video_masks.video_masks import video_masks
from wildrayzer.tools.video_masks.workspace import SPLIT, Workspace

_MASKS: tuple[tuple[type[CacheGroup], str, str], ...] = (
    (PatchMasks, "patch_masks", "residuals"),
    (PixelMasks, "pixel_masks", "patch_masks"),
)
"""Groups of masks, and the group that each is made from."""


class _Frames(BackendArray):
    """An array of a cache, flat over frames, read when it is indexed; every read checks the files."""

    def __init__(self, group: CacheGroup, name: str) -> None:
        spec = arrays_of(group.kind)[name]
        self.group, self.name, self.dtype = group, name, np.dtype(spec.dtype)
        self.shape = (group.num_frames, *(group.sizes[dimension] for dimension in spec.dimensions))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Frames by slice, number or vector of numbers, then the other axes."""
        frames, *rest = key
        if isinstance(frames, slice) and frames.step in (None, 1):
            start, stop, _ = frames.indices(self.shape[0])
            found = self.group.span(self.name, start, stop)
        else:
            found = self.group.take(self.name, np.atleast_1d(np.arange(self.shape[0])[frames]))
        if np.ndim(frames) or isinstance(frames, slice):
            return found[(slice(None), *rest)]
        return found[0][tuple(rest)]


def open_masks(
    path: str | os.PathLike[str], split: str | None = None, *, round: int | None = None, predictor: str = "renderer"
) -> xarray.Dataset:
    """A pseudo-mask cache as an xarray data set. Arrays are read, and their files checked, when they are used.

    Variables (dimension `frame`, then `patch_row`, `patch_column` or `row`, `column`):

    - `d_dino`, `d_ssim`: float16 residual maps, dissimilarity of features in [0, 2] and 1 − SSIM in [0, 2];
    - `clusters`: uint8 cluster numbers; `psnr`: float32, dB; `window`: int32 number of the window that has the frame as
      a target; `disagreement`: float32, 1 − correlation of the two maps;
    - `patch_mask`, `pixel_mask`: uint8, 1 = transient, 0 = static, 255 = not computed; `patch_mask_coverage`,
      `pixel_mask_coverage`: float32 share of the frame that is marked; `pixel_mask_disagreement`: float32, 1 − IoU of
      both masks.

    Values that are not computed are NaN, cluster 255, window −1. Masks that are not made yet are absent. Coordinates:
    `scene`, the name of each frame's clip, and `frame_of_scene`, its number there from 0. Attributes: `path`,
    `residuals` (digest).

    Args:
        path: a cache, `results/NAME/roundN/masks/SPLIT/PREDICTOR`, or a folder of a run or of a call of `pseudo_masks`.
        split: name of the split, where a run has caches of several.
        round: number of the round; None takes the last one.
        predictor: what predicted the frames: `renderer`, or a control (`nearest`, `blurred`).

    Raises:
        ValueError: no cache, none or several of that name, or one that is unfinished or damaged.
    """
    place = CacheLocation.of(_cache(Path(path), split, round, predictor))
    maps = ResidualMaps(place.group("residuals"))
    arrays = _variables(maps, "")
    groups: dict[str, CacheGroup] = {"residuals": maps}
    for kind, name, parent in _MASKS:
        if parent in groups and is_begun(place.group(name)):
            groups[name] = kind(place.group(name), expect={parent: groups[parent].digest})
            arrays |= _variables(groups[name], f"{name.removesuffix('s')}_")
    lengths = np.diff(maps.offsets)
    coordinates = {
        "scene": ("frame", np.repeat(maps.scenes, lengths)),
        "frame_of_scene": ("frame", np.concatenate([np.arange(length) for length in lengths])),
    }
    return xarray.Dataset(arrays, coordinates, {"path": str(place.path), "residuals": maps.digest})


def _variables(group: CacheGroup, prefix: str) -> dict[str, xarray.Variable]:
    """The arrays of a group; `mask` is named after the group."""
    return {
        (prefix + name).replace("mask_mask", "mask"): xarray.Variable(
            ("frame", *spec.dimensions), indexing.LazilyIndexedArray(_Frames(group, name))
        )
        for name, spec in arrays_of(group.kind, 2 if group.has_statistics else 1).items()
    }


def _cache(path: Path, split: str | None, number: int | None, predictor: str) -> Path:
    """The cache that is meant: the path itself, or the only one below it that fits."""
    found = [CacheLocation.of(cache) for cache in caches_below(path)] if path.suffix not in (".json", ".zarr") else []
    if not found or [one.path for one in found] == [path.absolute()]:
        return path
    fits = [one for one in found if split in (None, one.split) and one.predictor == predictor and not one.ablation]
    last = max((int(one.number) for one in fits), default=0) if number is None else number
    fits = [one for one in fits if int(one.number) == last]
    if len(fits) != 1:
        lines = "".join(f"\n  {one.path}" for one in sorted(fits or found, key=lambda one: one.path))
        wanted = (
            f"predictor {predictor}" + (f", split {split}" if split else "") + (f", round {number}" if number else "")
        )
        raise ValueError(f"{path} has {len(fits) or 'no'} caches of {wanted}; name a split or one of these:{lines}")
    return fits[0].path


@dataclass(frozen=True)
class VideoPseudoMasks:
    """Pseudo-masks of videos, and where they are."""

    folder: Path
    """Folder with masks/CLIP/FRAME.png (255 moves, 0 does not, 128 not known), overlays/VIDEO.mp4 and index.html."""
    coverage: float
    """Mean share of the square that is marked."""
    refused: dict[str, str]
    """Videos that were not taken, with the reasons."""

    def open(self) -> xarray.Dataset:
        """Maps and masks of all frames; see `open_masks`."""
        return open_masks(self.folder, SPLIT)


def pseudo_masks(
    videos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: Model | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    config: str | os.PathLike[str] | None = None,
    fps: float | None = None,
    clip_length: int | None = None,
    cores: int | None = None,
) -> VideoPseudoMasks:
    """Pseudo-masks of videos by the stages of the workflow, as `wildrayzer masks run` makes them.

    An interrupted call resumes; a call with more videos adds them. What is None stays as in an earlier call with this
    folder.

    Args:
        videos: videos, folders of videos or folders of images.
        model: the renderer; by default the bundled static one. A motion head is not used.
        out: folder to write.
        config: configuration of all other options; by default `config/showcase.yaml`.
        fps: frames per second to take from a video; 0 takes all; by default 5.
        clip_length: frames per clip; longer videos are cut; by default 10.
        cores: CPU cores for the workflow; by default all.

    Raises:
        ValueError: `out` is not such a folder or is in use, no video can be used, or a stage failed.
    """
    named = [videos] if isinstance(videos, (str, os.PathLike)) else list(videos)
    checkpoint = (
        model.folder if isinstance(model, Model) else None if model is None else load(model, device="cpu").folder
    )
    made = video_masks(
        [Path(video) for video in named], Workspace(Path(out)), base=None if config is None else Path(config),
        checkpoint=checkpoint, options={"fps": fps, "clip_length": clip_length}, cores=cores or os.cpu_count() or 1,
    )  # fmt: skip
    return VideoPseudoMasks(Path(out), made.coverage, made.refused)
