"""Which arrays each kind of cache group has, and how they are divided into chunks and shards."""

from dataclasses import dataclass

from wildrayzer.images import UNKNOWN

SCHEMA = 1
"""Version of the cache's format."""


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


_PATCHES = ("patch_row", "patch_column")

_RESIDUALS = (
    ArraySpec("d_dino", "float16", float("nan"), _PATCHES, 64, 4096),
    ArraySpec("d_ssim", "float16", float("nan"), _PATCHES, 64, 4096),
    ArraySpec("clusters", "uint8", UNKNOWN, _PATCHES, 64, 4096),
    ArraySpec("psnr", "float32", float("nan"), (), 4096, 65536),
    ArraySpec("window", "int32", -1, (), 4096, 65536),
)

_FRAME_NUMBER = ArraySpec("frame_number", "int64", -1, (), 4096, 65536)
_PIXEL_MASKS = (ArraySpec("mask", "uint8", UNKNOWN, ("row", "column"), 1, 512),)

ARRAYS: dict[str, tuple[ArraySpec, ...]] = {
    "residuals": _RESIDUALS,
    # A part has only its own frames, and `frame_number` says which.
    "residuals_part": (*_RESIDUALS, _FRAME_NUMBER),
    "patch_masks": (ArraySpec("mask", "uint8", UNKNOWN, _PATCHES, 64, 4096),),
    "pixel_masks": _PIXEL_MASKS,
    "pixel_masks_part": (*_PIXEL_MASKS, _FRAME_NUMBER),
}
"""Arrays by kind of group; the kind is the attribute `layout` on disk."""
