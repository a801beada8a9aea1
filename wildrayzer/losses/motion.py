"""Cross-entropy of the motion head, with views chosen by rendering quality (docs/method.md#distillation)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


class MotionLoss(NamedTuple):
    """A cross-entropy and the number of views it saw."""

    value: Float[Tensor, ""]
    """Mean over samples of the weighted mean over their views; a sample without weight contributes exactly 0."""
    views: Int[Tensor, ""]
    """Views with a weight above 0."""


def motion_bce(
    logits: Float[Tensor, "b v 1 h w"],
    target: Float[Tensor, "b v 1 h w"],
    weight: Float[Tensor, "b v"] | None = None,
) -> MotionLoss:
    """Binary cross-entropy with logits, per view the mean over pixels, then weighted over the views of a sample.

    Samples are averaged whether or not they have a chosen view, so that micro-batches and processes add up. Arithmetic
    is float32. If nothing is chosen, the value is 0 with zero gradient.

    Args:
        logits: motion logits.
        target: 1 = transient, in [0, 1]; a view of weight 0 may hold anything (255 = not computed included).
        weight: weight of each view, ≥ 0, e.g. `psnr_filter`; None weighs all views 1.
    """
    if weight is None:
        weight = logits.new_ones(logits.shape[:2], dtype=torch.float32)
    weight = weight.float()
    chosen = weight > 0
    safe = torch.where(chosen[:, :, None, None, None], target.float(), 0.0)
    per_view = functional.binary_cross_entropy_with_logits(logits.float(), safe, reduction="none").mean((2, 3, 4))
    total = weight.sum(1)
    per_sample = torch.where(chosen, per_view * weight, 0.0).sum(1) / total.masked_fill(total == 0, 1.0)
    return MotionLoss(per_sample.mean(), chosen.sum())


def psnr_filter(psnr: Float[Tensor, "*shape"], threshold: float) -> Bool[Tensor, "*shape"]:
    """Views whose rendering PSNR (dB) exceeds `threshold`; NaN (not computed) is left out."""
    return psnr > threshold
