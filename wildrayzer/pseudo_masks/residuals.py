"""Residual maps between target and rendering, except SSIM (docs/method.md#residual-maps)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wildrayzer.pseudo_masks.backbones.base import anchored

_LEAST_MSE = 1e-10


def psnr(target: Float[Tensor, "n 3 h w"], rendered: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio of each frame in dB, images in [0, 1]; equal images give 100."""
    mse = (target - rendered).square().mean(dim=(1, 2, 3))
    return -10 * mse.clamp(min=_LEAST_MSE).log10()


def feature_dissimilarity(
    target: Float[Tensor, "w t n c"],
    rendered: Float[Tensor, "w t n c"],
    *,
    centre: bool,
    anchor: float = 0.0,
    floor: float = 1e-5,
) -> Float[Tensor, "w t n"]:
    """1 − cosine of the patch features of target and rendering, in [0, 2].

    Args:
        target: features of each window's target frames.
        rendered: features of their renderings.
        centre: subtract from both the mean of the window's target features first (see `FeatureBackbone.centre`).
        anchor: length of the constant channel beside them (see `FeatureBackbone.anchor`).
        floor: a shorter vector has no direction: two of them give 0, one of them gives 1.
    """
    if centre:
        mean = target.mean(dim=(1, 2), keepdim=True)
        target, rendered = target - mean, rendered - mean
    target, rendered = anchored(target, anchor), anchored(rendered, anchor)
    length_a, length_b = target.norm(dim=-1), rendered.norm(dim=-1)
    products = (target * rendered).sum(dim=-1) / (length_a.clamp(min=floor) * length_b.clamp(min=floor))
    flat_a, flat_b = length_a <= floor, length_b <= floor
    cosine = torch.where(flat_a | flat_b, (flat_a & flat_b).to(products.dtype), products)
    return (1 - cosine).clamp(0, 2)


def pool_to_patches(maps: Float[Tensor, "n h w"], patch_size: int) -> Float[Tensor, "n gh gw"]:
    """Mean of a map over each patch."""
    return functional.avg_pool2d(maps[:, None], patch_size)[:, 0]
