"""Statistics of single frames, which every group stores beside its arrays so that a summary need not read them."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from wildrayzer.images import UNKNOWN
from wildrayzer.pseudo_masks.fusion import zscore


def map_disagreement(
    d_dino: Float[np.ndarray, "f g g2"], d_ssim: Float[np.ndarray, "f g g2"]
) -> Float[np.ndarray, " f"]:
    """1 − correlation of the two maps over the patches: 0 = equal, 1 = unrelated, 2 = opposite.

    NaN where a map is not finite.
    """
    return 1 - (zscore(d_dino) * zscore(d_ssim)).mean((1, 2))


def mask_disagreement(a: UInt8[np.ndarray, "f h w"], b: UInt8[np.ndarray, "f h w"]) -> Float[np.ndarray, " f"]:
    """1 − IoU of two masks in [0, 1]; 0 where both are empty, NaN where one is not computed."""
    both, either = ((a == 1) & (b == 1)).sum((1, 2)), ((a == 1) | (b == 1)).sum((1, 2))
    apart = 1 - np.where(either > 0, both / np.maximum(either, 1), 1.0)
    return np.where(_computed(a) & _computed(b), apart, np.nan)


def refinement_disagreement(
    patches: UInt8[np.ndarray, "f g g2"], pixels: UInt8[np.ndarray, "f h w"]
) -> Float[np.ndarray, " f"]:
    """`mask_disagreement` of patch masks, enlarged to pixels, and refined masks."""
    return mask_disagreement(enlarge(patches, pixels.shape[-1]), pixels)


def enlarge(coarse: UInt8[np.ndarray, "n g g2"], size: int) -> UInt8[np.ndarray, "n h w"]:
    """Masks on a grid that divides `size`, enlarged to `size` × `size` pixels by nearest neighbour."""
    factor = size // coarse.shape[-1]
    return coarse.repeat(factor, axis=1).repeat(factor, axis=2)


def coverage(masks: UInt8[np.ndarray, "f h w"]) -> Float32[np.ndarray, " f"]:
    """Share of each frame that its mask marks; NaN where it is not computed."""
    return np.where(_computed(masks), (masks == 1).mean((1, 2)), np.nan).astype(np.float32)


def mask_summary(masks: UInt8[np.ndarray, "f h w"]) -> dict[str, Any]:
    """Counts of the computed masks of a part; the counts of several parts add up."""
    known = masks[_computed(masks)]
    empty = int((~(known == 1).any((1, 2))).sum())
    return {"frames_computed": len(known), "marked": int((known == 1).sum()), "values": known.size, "empty": empty}


def _computed(masks: UInt8[np.ndarray, "f h w"]) -> np.ndarray:
    return masks[:, 0, 0] != UNKNOWN
