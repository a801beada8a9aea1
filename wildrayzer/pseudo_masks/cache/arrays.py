"""Which arrays each kind of cache group has, and how they are divided into chunks and shards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from wildrayzer.images import UNKNOWN
from wildrayzer.pseudo_masks.cache.statistics import coverage, map_disagreement

SCHEMA = 2
"""Version of the cache's format. Groups of version 1 have no statistics; they are read as well."""

Blocks = Mapping[str, np.ndarray]
"""Arrays of some frames, by name."""


@dataclass(frozen=True)
class ArraySpec:
    """An array whose first dimension is `frame`."""

    name: str
    dtype: str
    fill: float | int
    """Value of frames that are not computed."""
    dimensions: tuple[str, ...]
    """Dimensions after `frame`."""
    chunk: int
    """Frames that are decoded together: voting reads long spans, training single pixel masks."""
    shard: int
    """Frames in one file."""
    since: int = 1
    """First schema that has the array."""
    derive: Callable[[Blocks], np.ndarray] | None = None
    """Makes the array from others where the writer is not given it; without it such frames get the fill value."""


def _statistic(name: str, derive: Callable[[Blocks], np.ndarray] | None = None) -> ArraySpec:
    return ArraySpec(name, "float32", float("nan"), (), 4096, 65536, since=2, derive=derive)


_PATCHES = ("patch_row", "patch_column")
_COVERAGE = _statistic("coverage", lambda blocks: coverage(blocks["mask"]))

ARRAYS: dict[str, tuple[ArraySpec, ...]] = {
    "residuals": (
        ArraySpec("d_dino", "float16", float("nan"), _PATCHES, 64, 4096),
        ArraySpec("d_ssim", "float16", float("nan"), _PATCHES, 64, 4096),
        ArraySpec("clusters", "uint8", UNKNOWN, _PATCHES, 64, 4096),
        ArraySpec("psnr", "float32", float("nan"), (), 4096, 65536),
        ArraySpec("window", "int32", -1, (), 4096, 65536),
        _statistic("disagreement", lambda blocks: map_disagreement(blocks["d_dino"], blocks["d_ssim"])),
    ),
    "patch_masks": (ArraySpec("mask", "uint8", UNKNOWN, _PATCHES, 64, 4096), _COVERAGE),
    "pixel_masks": (
        ArraySpec("mask", "uint8", UNKNOWN, ("row", "column"), 1, 512),
        _COVERAGE,
        _statistic("disagreement"),
    ),
}
"""Arrays by kind of group; the kind is the attribute `layout` on disk."""


def arrays_of(kind: str, schema: int = SCHEMA) -> dict[str, ArraySpec]:
    """Arrays of a kind of group in a version of the format, by name."""
    return {spec.name: spec for spec in ARRAYS[kind] if spec.since <= schema}
