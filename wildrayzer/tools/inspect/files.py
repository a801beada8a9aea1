"""Everything of a pseudo-mask cache that a gallery shows: its groups, and their frames and windows in the run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.data.frame_store.manifest import find_store
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.data.sampling.windows import Window, WindowList
from wildrayzer.io.files import read_json
from wildrayzer.pseudo_masks.cache.cache import CacheGroup, PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.location import CacheLocation
from wildrayzer.pseudo_masks.cache.manifest import is_begun

PAPER_FILTER = 17.0
"""Threshold in dB of the paper's PSNR filter; used if no summary beside the cache records one."""

_PRELOAD = PRELOAD_MB * 2**20

_Group = TypeVar("_Group", bound=CacheGroup)
_Content = TypeVar("_Content", FrameStore, WindowList)


@dataclass(frozen=True)
class CacheFiles:
    """An open cache, with the frames and windows that it was made from if they are available."""

    place: CacheLocation
    maps: ResidualMaps
    patches: PatchMasks | None
    pixels: PixelMasks | None
    store: FrameStore | None
    windows: WindowList | None
    psnr_filter: float
    """Frames with this PSNR (dB) or less do not train the motion head."""
    voting: PseudoMasksConfig
    """Options of the fusion, from the patch masks."""
    notes: tuple[str, ...] = field(default=())
    """What is missing, and why."""

    def preload(self) -> None:
        """Read what is not too large into memory: a gallery reads nearly all of it, and single reads are slow."""
        arrays = [(self.maps, name) for name in ("d_dino", "d_ssim", "clusters")]
        for group, name in [*arrays, (self.patches, "mask"), (self.pixels, "mask")]:
            if group is not None and group.num_frames * math.prod(group.sizes.values()) <= _PRELOAD:
                group.preload([name])
        if self.store and self.store.num_frames * math.prod(self.store.frame_shape) <= _PRELOAD:
            self.store.preload()

    def window(self, number: int) -> Window | None:
        """Inputs and targets of a window; None without a window list."""
        return self.windows.windows[number] if self.windows else None


def open_cache(
    cache: str | Path,
    *,
    frames: str | Path | None = None,
    windows: str | Path | None = None,
    psnr_filter: float | None = None,
) -> CacheFiles:
    """Open a cache, with its frames and windows.

    Frames and windows are looked for in the run's folder. If they are damaged there or have another digest, they are
    not used, and `notes` says so. What is named explicitly must fit.

    Args:
        cache: folder of residuals.json, patch_masks.json and pixel_masks.json; the masks may be missing.
        frames: frame store of the split.
        windows: window list of the split.
        psnr_filter: in dB; None takes the one recorded beside the residuals, or else the paper's.

    Raises:
        ValueError: a group is unfinished, damaged or made from another one, or `frames` or `windows` do not fit.
    """
    place = CacheLocation.of(cache)
    notes: list[str] = []
    maps = ResidualMaps(place.group("residuals"))
    patches = _masks(PatchMasks, place, "patch_masks", {"residuals": maps.digest}, notes)
    pixels = _masks(PixelMasks, place, "pixel_masks", {"patch_masks": patches.digest}, notes) if patches else None
    usual_store = place.layout.store(place.split) if place.layout else None
    usual_list = place.layout.windows(place.split) if place.layout else None
    lost = "inputs, targets, renderings and truth"
    store = _beside("store", frames, usual_store, FrameStore, place, maps, notes, lost)
    lost = "inputs and renderings"
    listed = _beside("windows", windows, usual_list, WindowList.load, place, maps, notes, lost)
    voting = patches.about.get("pseudo_masks") if patches else None
    if voting is None:
        notes.append("The cache does not record the options of the fusion; the fused map takes the defaults.")
    limit = psnr_filter if psnr_filter is not None else _recorded_filter(maps, notes)
    options = PseudoMasksConfig.model_validate(voting or {})
    return CacheFiles(place, maps, patches, pixels, store, listed, limit, options, tuple(notes))


def _masks(
    kind: type[_Group], place: CacheLocation, name: str, expect: dict[str, str], notes: list[str]
) -> _Group | None:
    path = place.group(name)
    if not is_begun(path):
        notes.append(f"{name} are not made yet: run the stage {kind.stage}.")
        return None
    return kind(path, expect=expect)


def _beside(
    digest_name: str,
    named: str | Path | None,
    usual: str | None,
    read: Callable[[str | Path], _Content],
    place: CacheLocation,
    maps: ResidualMaps,
    notes: list[str],
    without: str,
) -> _Content | None:
    """The frame store or window list that the cache was made from, by its digest."""
    option, name = ("--frames", "frame store") if digest_name == "store" else ("--windows", "window list")
    path = Path(named or usual or "")
    path = find_store(path) or path if digest_name == "store" else path
    expected = maps.digests.get(digest_name)
    if named is None and (usual is None or not path.exists()):
        where = f"is not at {place.show(path)}" if usual else "is unknown, since the cache is in no run's folder"
        notes.append(f"The {name} {where}: {without} are left out. Name it with {option}.")
        return None
    try:
        content = read(path)
    except (ValueError, OSError) as error:
        if named is not None:
            raise
        notes.append(f"The {name} of the run cannot be read ({error}): {without} are left out. Name it with {option}.")
        return None
    if content.digest == expected:
        return content
    difference = f"{place.show(path)} is {content.digest}, the cache was made from {expected or 'one not recorded'}"
    if named is not None:
        raise ValueError(f"{option} {difference}; name the one that made the cache")
    notes.append(f"{difference}: {without} are left out. Make the cache again, or name its {name} with {option}.")
    return None


def _recorded_filter(maps: ResidualMaps, notes: list[str]) -> float:
    try:
        # Groups of earlier versions have their summary in a file beside them.
        return float((maps.summary or read_json(maps.path.with_suffix(".json")))["psnr_filter"])
    except (OSError, ValueError, KeyError, TypeError):  # missing, no JSON, or without a number of this name
        notes.append(f"No PSNR filter is recorded beside the cache; the paper's {PAPER_FILTER:g} dB are used.")
        return PAPER_FILTER
