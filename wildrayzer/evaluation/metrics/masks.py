"""Score cached or predicted masks against a split's true masks."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.metrics.davis import DAVIS_DEFINITIONS, davis_scores
from wildrayzer.images import UNKNOWN
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.statistics import enlarge
from wildrayzer.pseudo_masks.fusion import fuse

BATCH = 256
THRESHOLDS = tuple(round(0.25 * step, 2) for step in range(-2, 13))
FALLBACK_THRESHOLD = 1.0
MASK_DEFINITIONS = {
    "iou": "per frame, at pixels, over frames with true foreground",
    "recall": "as iou",
    "precision": "over frames with predicted foreground",
    "coverage": "share of the frame that is marked",
    **DAVIS_DEFINITIONS,
}
"""What the metrics of the mask tables mean."""


MaskSlice = Callable[[slice], UInt8[np.ndarray, "n h w"]]
"""Masks of a range of global frames: 1 = transient, 255 = not computed."""
MaskScores = Callable[[UInt8[np.ndarray, "n h w"], UInt8[np.ndarray, "n h w"]], dict[str, Float[np.ndarray, " n"]]]
"""Metrics of each frame, of masks against true masks."""


def pixel_masks(cache: PixelMasks) -> MaskSlice:
    """Refined masks."""
    return lambda part: cache.span("mask", part.start, part.stop)


def patch_masks(cache: PatchMasks, image_size: int) -> MaskSlice:
    """Masks on the patch grid, enlarged to pixels by nearest neighbour."""
    return lambda part: enlarge(cache.span("mask", part.start, part.stop), image_size)


def thresholded_residual(
    cache: ResidualMaps, config: PseudoMasksConfig, image_size: int, threshold: float
) -> MaskSlice:
    """The plain baseline: fused saliency over `threshold` (in standard deviations of the frame), no clusters."""

    def read(part: slice) -> np.ndarray:
        d_dino, d_ssim, psnr = (
            cache.span(name, part.start, part.stop).astype(np.float64) for name in ("d_dino", "d_ssim", "psnr")
        )
        computed = np.isfinite(psnr)
        saliency = fuse(np.nan_to_num(d_dino), np.nan_to_num(d_ssim), np.where(computed, psnr, 0.0), config)
        coarse = np.where(computed[:, None, None], saliency > threshold, UNKNOWN).astype(np.uint8)
        return enlarge(coarse, image_size)

    return read


def mask_scores(
    prediction: Bool[np.ndarray, "n h w"], truth: Bool[np.ndarray, "n h w"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Per-frame scores of binary masks, True = transient.

    Returns:
        `iou`, `recall`: NaN where the truth has no foreground (such frames are left out of means and counted);
        `precision`: NaN where the prediction has none; `coverage`: share of the frame that is predicted, never NaN.
    """
    both, either, predicted, true = (
        marked.sum((1, 2)).astype(np.float64) for marked in (prediction & truth, prediction | truth, prediction, truth)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "iou": np.where(true > 0, both / either, np.nan),
            "recall": both / true,
            "precision": both / predicted,
            "coverage": prediction.mean((1, 2)),
        }


def score_frames(
    masks: UInt8[np.ndarray, "n h w"], truth: UInt8[np.ndarray, "n h w"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """IoU, recall, precision and coverage of each frame (see `mask_scores`).

    Pixels of unknown truth (255) are left out, of the coverage too; frames that are not computed anywhere or have no
    known pixel are NaN throughout.
    """
    known = truth != UNKNOWN
    scores = mask_scores((masks == 1) & known, truth == 1)
    share = known.mean((1, 2))
    usable: Bool[np.ndarray, " n"] = ~(masks == UNKNOWN).any((1, 2)) & (share > 0)
    scores["coverage"] = scores["coverage"] / np.where(share > 0, share, 1.0)
    return {name: np.where(usable, value, np.nan) for name, value in scores.items()}


def table_scores(
    masks: UInt8[np.ndarray, "n h w"], truth: UInt8[np.ndarray, "n h w"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """All metrics of the mask tables: those of `score_frames` and of `davis_scores`."""
    return score_frames(masks, truth) | davis_scores(masks, truth)


def true_masks(store: FrameStore, frames: np.ndarray) -> UInt8[np.ndarray, "n h w"]:
    """True masks of frames; a split whose role is static has none on file, and nothing in it moves.

    Raises:
        ValueError: a split that is not static and has no true masks.
    """
    if not store.has_masks and store.attributes.get("role") == "static":
        return np.zeros((len(frames), *store.frame_shape[:2]), np.uint8)
    return store.read_masks(frames)


def score_split(
    masks: MaskSlice, store: FrameStore, score: MaskScores = score_frames
) -> dict[str, Float[np.ndarray, " f"]]:
    """`score_frames`, or other scores of masks against the truth, over all frames of a split.

    Raises:
        ValueError: masks of another size or number than the split's frames, or a split without true masks.
    """
    parts = []
    for start in range(0, store.num_frames, BATCH):
        part = slice(start, min(start + BATCH, store.num_frames))
        truth, predicted = true_masks(store, np.arange(part.start, part.stop)), masks(part)
        if predicted.shape != truth.shape:
            raise ValueError(
                f"masks of frames {part.start} to {part.stop - 1} have shape {predicted.shape}, the split "
                f"{store.path} has {truth.shape}; score the masks that were made from this split"
            )
        parts.append(score(predicted, truth))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def best_threshold(make: Callable[[float], MaskSlice], store: FrameStore) -> tuple[float, str]:
    """The threshold of `THRESHOLDS` with the highest mean IoU on the split itself, and how it was chosen.

    Chosen on the frames it is scored on, it flatters the baseline: an upper bound. Where the truth has no foreground
    there is no IoU, and one standard deviation is taken.
    """
    means = [_mean(score_split(make(threshold), store)["iou"]) for threshold in THRESHOLDS]
    if np.isnan(means).all():
        return FALLBACK_THRESHOLD, "one standard deviation: the split has no true foreground to choose by"
    return THRESHOLDS[int(np.nanargmax(means))], "best mean IoU on the split itself: an upper bound"


def _mean(values: Float[np.ndarray, " f"]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
