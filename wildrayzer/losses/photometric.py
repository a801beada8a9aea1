"""Photometric loss that leaves transient pixels out (docs/method.md#gates)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class PhotometricLoss(NamedTuple):
    """A gated photometric loss and what it left out."""

    value: Float[Tensor, ""]
    """Mean over samples; a sample without kept pixels contributes exactly 0."""
    empty: Int[Tensor, ""]
    """Samples without a kept pixel."""


def gated_mse(
    prediction: Float[Tensor, "b t 3 h w"],
    truth: Float[Tensor, "b t 3 h w"],
    gate: Float[Tensor, "b t 1 h w"] | None = None,
) -> PhotometricLoss:
    """Mean squared error over the pixels that are kept.

    Every sample is normalised by its own kept pixels (over all its targets) and samples are averaged, so the loss of a
    batch is the mean of the losses of its parts: micro-batches and processes add up. Arithmetic is float32.

    Args:
        prediction: renderings in [0, 1].
        truth: frames in [0, 1].
        gate: 1 = transient, excluded; values in between weigh a pixel by 1 − gate; None keeps everything.
            No gradient reaches a pixel with gate 1, and a sample that is all transient gives 0 with zero gradient.
    """
    difference = prediction.float() - truth.float()
    if gate is None:
        value = difference.square().mean(2, keepdim=True).mean()
        return PhotometricLoss(value, torch.zeros((), dtype=torch.int64, device=value.device))
    keep = 1.0 - gate.float()
    kept = keep.sum((1, 2, 3, 4))
    # where() before anything else: an excluded pixel must stay out, of the gradient too, even if it is not finite
    error = torch.where(keep > 0, difference, 0.0).square().mean(2, keepdim=True)
    total = (error * keep).sum((1, 2, 3, 4))
    empty = kept == 0
    return PhotometricLoss((total / kept.masked_fill(empty, 1.0)).mean(), empty.sum())
