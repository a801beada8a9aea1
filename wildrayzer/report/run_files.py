"""What the report looks for in a run's folder: complete stores, a split of each kind, pseudo-mask caches."""

from dataclasses import dataclass
from pathlib import Path

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.manifest import find_store
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.evaluation.tables.tables import split_kind
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.manifest import find_group, is_manifest
from wildrayzer.run.layout import RunLayout

NO_WINDOWS = "no clip is long enough for a residual window"
"""Why the masks of a split have nothing to show."""


def is_store(path: str | Path) -> bool:
    """Whether a frame store lies there."""
    return find_store(path) is not None


def is_cache(path: str | Path) -> bool:
    """Whether a manifest of pseudo-masks, or a complete group of an earlier version, lies there."""
    found = find_group(path)
    return is_manifest(found) or (found / "zarr.json").is_file()


def splits_by_kind(config: RunConfig, *, masks: bool = False) -> dict[str, str]:
    """The first test or control split of each kind: static, moving, pairs, frozen, same_family.

    With `masks`, the first one of those in the mask tables.
    """
    splits: dict[str, str] = {}
    for name in (*config.data.of(purpose="test"), *config.data.of(purpose="control")):
        if not masks or config.benchmark.has_masks(name):
            splits.setdefault(split_kind(config, name), name)
    return splits


@dataclass(frozen=True)
class MaskFiles:
    """The opened pseudo-mask cache of one split."""

    split: str
    store: FrameStore
    windows: WindowList
    maps: ResidualMaps
    patches: PatchMasks
    pixels: PixelMasks | None
    """None for controls, which are not refined."""

    @property
    def any_computed(self) -> bool:
        """Whether a window has a frame of the split."""
        return bool((self.maps.window >= 0).any())

    @classmethod
    def open(cls, layout: RunLayout, config: RunConfig, split: str, predictor: str = "renderer") -> "MaskFiles | None":
        """The last round's cache of a split, or None where a part of it is not made yet (controls need no pixel masks).

        Raises:
            ValueError: a part is damaged, or was made from something else than the others.
        """
        where = (config.rounds, split, predictor)
        caches = (layout.residuals(*where), layout.patch_masks(*where), layout.pixel_masks(*where))
        needed = caches if predictor == "renderer" else caches[:2]
        made = is_store(layout.store(split)) and all(map(is_cache, needed))
        if not made or not Path(layout.windows(split)).is_file():
            return None
        store, windows = FrameStore(layout.store(split)), WindowList.load(layout.windows(split))
        maps = ResidualMaps(caches[0], expect={"store": store.digest, "windows": windows.digest})
        patches = PatchMasks(caches[1], expect={"residuals": maps.digest})
        pixels = None
        if predictor == "renderer":
            pixels = PixelMasks(caches[2], expect={"patch_masks": patches.digest})
        return cls(split, store, windows, maps, patches, pixels)
