"""Region similarity J and boundary accuracy F of masks, as DAVIS defines them.

Source: F. Perazzi et al., A benchmark dataset and evaluation methodology for video object segmentation, 2016,
sections 5.1 and 5.2.
"""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from wildrayzer.images import UNKNOWN

DAVIS_DEFINITIONS = {
    "davis_jf": "J&F, the mean of J and F of each frame",
    "davis_j": "region similarity J: IoU of each frame; 1 where neither mask marks anything, 0 where only one does",
    "davis_f": (
        "boundary accuracy F: harmonic mean of precision and recall of the boundary pixels, which match within 0.8% of "
        "the frame's diagonal, rounded up; 1 where neither mask has a boundary, 0 where only one has"
    ),
}
"""What the metrics mean."""
TOLERANCE = 0.008
"""Distance at which boundaries match, as a share of the diagonal of the frame."""


def davis_scores(
    masks: UInt8[np.ndarray, "n h w"], truth: UInt8[np.ndarray, "n h w"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """J, F and J&F of each frame: 1 = transient.

    Pixels of unknown truth (255) count as static in both masks, as DAVIS treats void. Frames that are not computed
    everywhere (255 in `masks`) or have no known pixel are NaN. A frame without true foreground counts, unlike in
    `mask_scores`.
    """
    known = truth != UNKNOWN
    predicted, true = (masks == 1) & known, truth == 1
    usable: Bool[np.ndarray, " n"] = ~(masks == UNKNOWN).any((1, 2)) & known.any((1, 2))
    both, either = ((one.sum((1, 2))) for one in (predicted & true, predicted | true))
    j = np.where(either > 0, both / np.maximum(either, 1), 1.0)
    f = np.array([boundary_accuracy(*pair) for pair in zip(predicted, true, strict=True)])
    scores = {"davis_jf": (j + f) / 2, "davis_j": j, "davis_f": f}
    return {name: np.where(usable, values, np.nan) for name, values in scores.items()}


def boundary(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that differ from their right, lower or lower right neighbour; the edge of the frame is no boundary."""
    framed = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    inner = framed[:-1, :-1]
    return (inner != framed[:-1, 1:]) | (inner != framed[1:, :-1]) | (inner != framed[1:, 1:])


def boundary_accuracy(predicted: Bool[np.ndarray, "h w"], true: Bool[np.ndarray, "h w"]) -> float:
    """F of two masks: boundary pixels match those within `TOLERANCE` of the diagonal, in whole pixels rounded up.

    DAVIS approximates the bipartite matching of boundary pixels by dilation with a disk.
    """
    found, wanted = boundary(predicted), boundary(true)
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    disk = _disk(math.ceil(TOLERANCE * math.hypot(*true.shape)))
    near_wanted, near_found = (cv2.dilate(one.astype(np.uint8), disk) > 0 for one in (wanted, found))
    precision, recall = (found & near_wanted).sum() / found.sum(), (wanted & near_found).sum() / wanted.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _disk(radius: int) -> UInt8[np.ndarray, "s s"]:
    """Pixels within `radius` of the centre."""
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
