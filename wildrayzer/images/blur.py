"""Gaussian blur."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def gaussian_blur(images: Float[Tensor, "n 3 h w"], *, sigma: float) -> Float[Tensor, "n 3 h w"]:
    """Gaussian blur cut off at 3 σ, edge pixels repeated."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, -1)
    padded = functional.pad(images, (radius,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, taps[..., None], groups=3), taps[:, :, None], groups=3)
