"""Origins of every group of a cache, by digest, and whether they are still available."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wildrayzer.data.frame_store.manifest import find_store
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.pseudo_masks.cache.cache import CacheGroup, PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.location import CacheLocation
from wildrayzer.pseudo_masks.cache.manifest import is_begun
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds

State = Literal["fits", "differs", "not available", "damaged", "recorded"]
KINDS: tuple[type[CacheGroup], ...] = (ResidualMaps, PatchMasks, PixelMasks)
_PARENTS = ("residuals", "patch_masks")
_VERSIONS = {"code": "residuals", "voting": "pseudo_masks", "refine": "refine"}
_OPTIONS = {("residuals", "config"): "residuals", ("patch_masks", "options"): "pseudo_masks"}
_OPTIONS[("pixel_masks", "options")] = "refine"

_CHECKPOINTS = [f"{folders}/checkpoint/manifest.json" for folders in ("*", "round*/*", "ablations/*/round*/*")]


@dataclass(frozen=True)
class Origin:
    """One digest that a group records."""

    group: str
    name: str
    digest: str
    what: str
    """What has this digest, as far as it is known."""
    state: State
    """`fits`: the file in the run's folder has this digest. `differs`: it has another one. `not available`: there is no
    such file. `damaged`: it cannot be read. `recorded`: there is nothing to compare with."""


def origins(cache: str | Path) -> list[Origin]:
    """Every digest of every group of a cache.

    Raises:
        ValueError: a group is unfinished or damaged, or there are no residuals.
    """
    place = CacheLocation.of(cache)
    groups: dict[str, CacheGroup] = {}
    recorded = []
    for kind in KINDS:
        path = place.group(kind.kind)
        if kind is not ResidualMaps and not is_begun(path):
            continue
        group = groups[kind.kind] = kind(path)
        made_by = ", ".join(f"{name} {version}" for name, version in group.versions.items())
        parts = f"; {len(group.parts)} parts" if len(group.parts) > 1 else ""
        recorded.append(
            Origin(kind.kind, "itself", group.digest, (made_by or "versions not recorded") + parts, "recorded")
        )
        recorded += [_origin(place, group, groups, name, digest) for name, digest in group.digests.items()]
    return recorded


def mixed(recorded: list[Origin]) -> list[Origin]:
    """Digests that another group of the same cache contradicts: the groups do not belong together."""
    return [origin for origin in recorded if origin.name in _PARENTS and origin.state == "differs"]


def renderer_folder(place: CacheLocation, digest: str) -> Path | None:
    """The checkpoint of the run whose weights have this digest; damaged ones are skipped."""
    return _search(place, digest)[0]


def _search(place: CacheLocation, digest: str) -> tuple[Path | None, list[str]]:
    """The checkpoint of the run whose weights have this digest, and a message for each that cannot be read."""
    from wildrayzer.checkpoint import read_manifest

    damaged: list[str] = []
    for pattern in _CHECKPOINTS:
        for manifest in sorted(place.run.glob(pattern)) if place.run else ():
            try:
                if read_manifest(manifest.parent).weights_digest == digest:
                    return manifest.parent, damaged
            except (ValueError, OSError):
                damaged.append(f"{place.show(manifest)} is damaged")
    return None, damaged


def _origin(
    place: CacheLocation, group: CacheGroup, groups: Mapping[str, CacheGroup], name: str, digest: str
) -> Origin:
    what, state = _explain(place, group, groups, name, digest)
    return Origin(group.kind, name, digest, what, state)


def _explain(
    place: CacheLocation, group: CacheGroup, groups: Mapping[str, CacheGroup], name: str, digest: str
) -> tuple[str, State]:
    if name in _PARENTS:
        parent = groups.get(name)
        if parent is None:
            return name, "not available"
        return parent.path.name, _compare(parent.digest, digest)
    if name == "renderer":
        return _renderer(place, digest)
    if name == "backbone":
        return str(group.about.get("backbone", "name not recorded")), "recorded"
    if (group.kind, name) in _OPTIONS:
        section = _OPTIONS[group.kind, name]
        return _options(section, group.about.get(section)), "recorded"
    if name in _VERSIONS:
        return f"version of the stage {_VERSIONS[name]}", "recorded"
    return _of_run(place, name, digest)


def _renderer(place: CacheLocation, digest: str) -> tuple[str, State]:
    from wildrayzer.checkpoint import read_manifest

    if digest in ("nearest", "blurred"):
        return "a control instead of a renderer", "recorded"
    folder, damaged = _search(place, digest)
    if folder is None:
        return "; ".join(["no checkpoint of the run has these weights", *damaged]), "not available"
    manifest = read_manifest(folder)
    return f"{place.show(folder)}: {manifest.stage}, step {manifest.step}", "fits"


def _of_run(place: CacheLocation, name: str, digest: str) -> tuple[str, State]:
    """A frame store, a window list or thresholds of the run."""
    if place.layout is None or name not in ("store", "windows", "thresholds"):
        return "", "recorded"
    if name == "thresholds" and digest == "none":
        return "no absolute test", "recorded"
    path = Path({
        "store": place.layout.store(place.split),
        "windows": place.layout.windows(place.split),
        "thresholds": place.layout.thresholds(place.number, place.predictor),
    }[name])  # fmt: skip
    own = place.path.parents[1] / path.name
    path = own if name == "thresholds" and own.exists() else path
    path = find_store(path) or path if name == "store" else path
    if not path.exists():
        return f"{place.show(path)} does not exist", "not available"
    readers: dict[str, Callable[[Path], Any]] = {
        "store": FrameStore, "windows": WindowList.load, "thresholds": AbsoluteThresholds.load
    }  # fmt: skip
    try:
        content = readers[name](path)
        seen = f", calibrated on the parts {', '.join(content.parts)}" if name == "thresholds" and content.parts else ""
        return place.show(path) + seen, _compare(content.digest, digest)
    except (ValueError, OSError) as error:
        return f"damaged: {error}", "damaged"


def _compare(digest: str, recorded: str) -> State:
    return "fits" if digest == recorded else "differs"


def _options(section: str, values: Mapping[str, Any] | None) -> str:
    if not values:
        return f"{section}: values not recorded"
    return f"{section}: " + ", ".join(f"{name} {value}" for name, value in values.items())
