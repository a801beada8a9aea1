"""Peak signal-to-noise ratio of images in [0, 1].

Two equal images have an infinite PSNR. Tables leave it out of means and count it (`metrics.bootstrap.enters_mean`). The
training log and the pseudo-mask cache need finite numbers: they cap it at `CAP`.
"""

from jaxtyping import Float
from torch import Tensor

CAP = 100.0
"""Largest PSNR, in dB, of the training log and the pseudo-mask cache."""


def decibels(error: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """PSNR in dB of mean squared errors; infinite for 0, NaN for NaN."""
    return -10 * error.log10()


def psnr(a: Float[Tensor, "*b 3 h w"], b: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b"]:
    """PSNR in dB of each image, over all pixels and channels; infinite for equal images.

    The order matters for the last bit only: the memory layout of the first decides the order of the sum.
    """
    return decibels((a - b).square().mean(dim=(-3, -2, -1)))
