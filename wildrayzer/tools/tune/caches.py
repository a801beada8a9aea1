"""Input of `wildrayzer masks tune`: caches with their options, frame stores, calibration splits and names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wildrayzer.config import PseudoMasksConfig, RefineConfig, RunConfig
from wildrayzer.data.frame_store.manifest import find_store
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.tuning.sweep import TuningSplit
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.location import CacheLocation


@dataclass(frozen=True)
class TuningCaches:
    """Caches to sweep over; each is opened once before the sweep, so that errors are reported first.

    Args:
        places: locations of the caches.
        config: configuration of the run, if it is named.
    """

    places: tuple[CacheLocation, ...]
    config: RunConfig | None

    @classmethod
    def of(cls, caches: Sequence[Path], config: RunConfig | None) -> "TuningCaches":
        """Open caches by their folders or one of the groups in them.

        Raises:
            ValueError: a path is no cache, or a cache is damaged or given twice.
        """
        places = tuple(CacheLocation.of(cache) for cache in caches)
        for number, place in enumerate(places):
            ResidualMaps(place.group("residuals"))
            if place.path in [earlier.path for earlier in places[:number]]:
                raise ValueError(f"{place.path} is given twice; name every cache once")
        return cls(places, config)

    def options(self, *, refine: bool) -> tuple[PseudoMasksConfig, RefineConfig]:
        """Options to start from: from the configuration, or those that made the masks of the first cache.

        Raises:
            ValueError: the cache has no patch masks, or with `refine` no pixel masks.
        """
        if self.config is not None:
            return self.config.pseudo_masks, self.config.refine
        place = self.places[0]
        patches, pixels = place.group("patch_masks"), place.group("pixel_masks")
        fix = "name the run's configuration with --configfile"
        if not patches.exists():
            raise ValueError(f"{place.path} has no patch masks to take options from; {fix}")
        pseudo_masks = PseudoMasksConfig(**PatchMasks(patches).about["pseudo_masks"])
        if pixels.exists():
            return pseudo_masks, RefineConfig(**PixelMasks(pixels).about["refine"])
        if refine:
            raise ValueError(
                f"{place.path} has no pixel masks to take options of refinement from; {fix}, or leave "
                "refinement out with --no-refine"
            )
        return pseudo_masks, RefineConfig()

    def splits(self, *, calibration: Sequence[Path], store: Path | None) -> list[TuningSplit]:
        """The caches with everything that their scores need.

        Args:
            calibration: caches of static splits; by default those of the configuration.
            store: frame store of the only cache; by default the run's.

        Raises:
            ValueError: there is no frame store, or objects move in a calibration split.
        """
        if store is not None and len(self.places) > 1:
            raise ValueError("--store is for one cache; the stores of several are found in their runs")
        named = tuple(_static(path) for path in calibration)
        return [
            TuningSplit(
                name=name,
                residuals=place.group("residuals"),
                store=store or _store(place),
                calibration=named or self._calibration(place),
                thresholds=_thresholds(place),
            )
            for name, place in zip(self.names, self.places, strict=True)
        ]

    @property
    def names(self) -> list[str]:
        """Names for tables: splits; if they repeat, with ablation, round and predictor; if these repeat, paths."""
        names = [place.split for place in self.places]
        for longer in (_long_name, lambda place: str(place.path)):
            repeated = {name for name in names if names.count(name) > 1}
            names = [
                longer(place) if name in repeated else name for name, place in zip(names, self.places, strict=True)
            ]
        return names

    def _calibration(self, place: CacheLocation) -> tuple[Path, ...]:
        if self.config is None or place.layout is None:
            return ()
        masks = place.path.parents[1]
        names = self.config.data.of(purpose="calibration")
        return tuple(CacheLocation.of(masks / name / place.predictor).group("residuals") for name in names)


def _long_name(place: CacheLocation) -> str:
    round_ = f"round{place.number}" if place.number else ""
    return ", ".join(part for part in (place.ablation, place.split, round_, place.predictor) if part)


def _store(place: CacheLocation) -> Path:
    if place.layout is None:
        raise ValueError(f"{place.path} lies in no run's folder; name its frame store with --store")
    usual = place.layout.store(place.split)
    path = find_store(usual)
    if path is None:
        raise ValueError(f"the frame store of {place.path} is not at {usual}; name it with --store")
    return path


def _thresholds(place: CacheLocation) -> Path | None:
    """Thresholds file of the cache's own round, or of the run if an ablation shares it."""
    if place.layout is None:
        return None
    shared = Path(place.layout.thresholds(place.number, place.predictor))
    own = place.path.parents[1] / shared.name
    return own if own.is_file() else shared if shared.is_file() else None


def _static(cache: Path) -> Path:
    """Residuals of a calibration cache; refuses a cache whose frame store says that objects move."""
    place = CacheLocation.of(cache)
    maps = ResidualMaps(place.group("residuals"))
    try:
        store = FrameStore(place.layout.store(place.split)) if place.layout else None
    except (ValueError, OSError):
        store = None
    if store is not None and store.digest == maps.digests.get("store"):
        role = store.attributes.get("role", "static")
        if role != "static":
            raise ValueError(
                f"--calibration {cache}: {place.split} has role: {role}; name a split in which nothing moves"
            )
    return maps.path
