"""Everything about a pseudo-mask cache that can be looked at: its groups, and what lies beside them in the run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wildrayzer.config.masks import PseudoMasksConfig
from wildrayzer.data.store import PRELOAD_MB, FrameStore
from wildrayzer.data.windows import Window, WindowList
from wildrayzer.layout import RunLayout
from wildrayzer.motion.cache import CacheGroup, PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.motion.cache_writer import unfinished
from wildrayzer.provenance import read_json

GROUPS = ("residuals", "patch_masks", "pixel_masks")
PAPER_FILTER = 17.0
"""PSNR in dB that the paper's filter asks for; taken where the cache has no summary beside it."""

UNREADABLE = (ValueError, OSError, LookupError, TypeError, AttributeError)
"""What readers raise where a file beside the cache is damaged, half written or of another form."""

_PRELOAD = PRELOAD_MB * 2**20

_Group = TypeVar("_Group", bound=CacheGroup)
_Found = TypeVar("_Found", FrameStore, WindowList)


@dataclass(frozen=True)
class Place:
    """Where a cache lies: its folder and, where that is within a run's folder, the run and the split."""

    path: Path
    """Folder of the groups."""
    layout: RunLayout | None
    split: str
    source: str
    """What stands for the rendering, after the folder."""
    number: str = ""
    """Of the round."""
    ablation: str = ""
    """Ablation that the folder belongs to; it shares with the run what it does not make itself."""

    @classmethod
    def of(cls, cache: str | Path) -> "Place":
        """The place of a cache, given its folder or one of the groups in it."""
        path = Path(cache)
        # The names as given where there is no `..`: a link may lead to another run.
        path = path.resolve() if ".." in path.parts else path.absolute()
        if path.suffix == ".zarr" and path.stem in GROUPS:
            path = path.parent
        split, masks, round_, run = path.parents[:4] if len(path.parents) > 4 else [path] * 4
        if masks.name != "masks" or not round_.name.startswith("round"):
            return cls(path, None, path.name, "")
        ablation = run.name if run.parent.name == "ablations" else ""
        run = run.parents[1] if ablation else run
        number = round_.name.removeprefix("round")
        return cls(path, RunLayout(run.name, str(run.parent)), split.name, path.name, number, ablation)

    def group(self, name: str) -> Path:
        """Where a group lies: in the folder, or in the run's where an ablation shares it."""
        own = self.path / f"{name}.zarr"
        if self.ablation and self.layout and not own.exists() and not unfinished(own).exists():
            return Path(self.layout.masks(self.number, self.split, self.source)) / own.name
        return own

    @property
    def run(self) -> Path | None:
        """Folder of the run."""
        return Path(self.layout.base) if self.layout else None

    @property
    def title(self) -> str:
        """Name for headings."""
        if self.layout is None:
            return self.path.name
        return ", ".join(part for part in (self.ablation, self.split, f"round {self.number}", self.source) if part)

    def show(self, path: str | Path) -> str:
        """A path as people read it: from the run's folder on."""
        path = Path(path)
        return str(path.relative_to(self.run)) if self.run and path.is_relative_to(self.run) else str(path)


@dataclass(frozen=True)
class CacheFiles:
    """A cache, opened, and the frames and windows it was made from, where they are within reach."""

    place: Place
    maps: ResidualMaps
    patches: PatchMasks | None
    pixels: PixelMasks | None
    store: FrameStore | None
    windows: WindowList | None
    psnr_filter: float
    """Frames rendered at this PSNR (dB) or less do not teach the motion head."""
    voting: PseudoMasksConfig
    """Options of the fusion."""
    notes: tuple[str, ...] = field(default=())
    """What is not there, and why."""

    def preload(self) -> None:
        """Hold what is not too large in memory: a gallery reads nearly all of it, and single reads take a while."""
        arrays = [(self.maps, name) for name in ("d_dino", "d_ssim", "clusters")]
        for group, name in [*arrays, (self.patches, "mask"), (self.pixels, "mask")]:
            if group is not None and group.num_frames * math.prod(group.sizes.values()) <= _PRELOAD:
                group.preload([name])
        if self.store and self.store.num_frames * math.prod(self.store.frame_shape) <= _PRELOAD:
            self.store.preload()

    def window(self, number: int) -> Window | None:
        """Inputs and targets of a window, where the list is within reach."""
        return self.windows.windows[number] if self.windows else None


def open_cache(
    cache: str | Path,
    *,
    frames: str | Path | None = None,
    windows: str | Path | None = None,
    psnr_filter: float | None = None,
) -> CacheFiles:
    """Open a cache with what made it.

    Frames and windows are looked for where the run keeps them. What lies there but is damaged or has another digest is
    not used, and `notes` says so; what is named here must fit.

    Args:
        cache: folder of residuals.zarr, patch_masks.zarr and pixel_masks.zarr; masks that are not made yet may lack.
        frames: frame store of the split.
        windows: window list of the split.
        psnr_filter: in dB; None takes what the join of the residuals wrote, else the paper's.

    Raises:
        ValueError: a group is unfinished, damaged or made from another one, or `frames` or `windows` do not fit.
    """
    place = Place.of(cache)
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
    limit = psnr_filter if psnr_filter is not None else _recorded_filter(place, notes)
    options = PseudoMasksConfig.model_validate(voting or {})
    return CacheFiles(place, maps, patches, pixels, store, listed, limit, options, tuple(notes))


def _masks(kind: type[_Group], place: Place, name: str, expect: dict[str, str], notes: list[str]) -> _Group | None:
    path = place.group(name)
    if not path.exists() and not unfinished(path).exists():
        notes.append(f"{path.name} is not made yet: run the stage {kind.stage}.")
        return None
    return kind(path, expect=expect)


def _beside(
    digest_name: str,
    named: str | Path | None,
    usual: str | None,
    read: Callable[[str | Path], _Found],
    place: Place,
    maps: ResidualMaps,
    notes: list[str],
    without: str,
) -> _Found | None:
    """A frame store or window list with the digest that the cache was made from."""
    option, name = ("--frames", "frame store") if digest_name == "store" else ("--windows", "window list")
    path = Path(named or usual or "")
    expected = maps.digests.get(digest_name)
    if named is None and (usual is None or not path.exists()):
        where = f"is not at {place.show(path)}" if usual else "is not known, the cache lies in no run's folder"
        notes.append(f"The {name} {where}: {without} are left out. Name it with {option}.")
        return None
    try:
        found = read(path)
    except UNREADABLE as error:
        if named is not None:
            raise
        notes.append(f"The {name} of the run cannot be read ({error}): {without} are left out. Name it with {option}.")
        return None
    if found.digest == expected:
        return found
    difference = f"{place.show(path)} is {found.digest}, the cache was made from {expected or 'one not recorded'}"
    if named is not None:
        raise ValueError(f"{option} {difference}; name the one that made the cache")
    notes.append(f"{difference}: {without} are left out. Make the cache again, or name its {name}: {option}.")
    return None


def _recorded_filter(place: Place, notes: list[str]) -> float:
    summary = place.group("residuals").with_suffix(".json")
    try:
        return float(read_json(summary)["psnr_filter"])
    except UNREADABLE:
        notes.append(f"No PSNR filter is recorded beside the cache; the paper's {PAPER_FILTER:g} dB are taken.")
        return PAPER_FILTER
