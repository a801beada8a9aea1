"""Which arrays the groups of the pseudo-mask cache hold, and how they are cut into chunks and shards."""

from dataclasses import dataclass

SCHEMA = 1
"""Version of the cache's layout."""
NOT_COMPUTED = 255
"""Mask and cluster value of frames that no window had as a target."""


@dataclass(frozen=True)
class Layout:
    """One array, its first dimension `frame`."""

    name: str
    dtype: str
    fill: float | int
    dimensions: tuple[str, ...]
    """Dimensions after `frame`."""
    chunk: int
    """Frames that are decoded together: voting reads long spans, training single pixel masks."""
    shard: int
    """Frames in one file."""


_PATCHES = ("patch_row", "patch_column")

_RESIDUALS = (
    Layout("d_dino", "float16", float("nan"), _PATCHES, 64, 4096),
    Layout("d_ssim", "float16", float("nan"), _PATCHES, 64, 4096),
    Layout("clusters", "uint8", NOT_COMPUTED, _PATCHES, 64, 4096),
    Layout("psnr", "float32", float("nan"), (), 4096, 65536),
    Layout("window", "int32", -1, (), 4096, 65536),
)

_FRAME_NUMBER = Layout("frame_number", "int64", -1, (), 4096, 65536)
_PIXEL_MASKS = (Layout("mask", "uint8", NOT_COMPUTED, ("row", "column"), 1, 512),)

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "residuals": _RESIDUALS,
    # A part holds its own frames alone, and which they are.
    "residuals_part": (*_RESIDUALS, _FRAME_NUMBER),
    "patch_masks": (Layout("mask", "uint8", NOT_COMPUTED, _PATCHES, 64, 4096),),
    "pixel_masks": _PIXEL_MASKS,
    "pixel_masks_part": (*_PIXEL_MASKS, _FRAME_NUMBER),
}
"""Layouts by the name in a group's attributes."""
