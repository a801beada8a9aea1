"""Fusion of cached residual maps into saliency (docs/method.md#fusion); NumPy only, no torch."""

import numpy as np
from jaxtyping import Float

from wildrayzer.config.sections.masks import PseudoMasksConfig

# Rounding gives equal images residuals of up to 1e-5; the flattest real map varies a hundred times as much.
_LEAST_STD = 1e-4


def zscore(maps: Float[np.ndarray, "*f g g2"]) -> Float[np.ndarray, "*f g g2"]:
    """Each frame's map minus its mean, divided by its population standard deviation.

    A constant map (standard deviation up to 1e-4) becomes zeros; a map that is not finite becomes NaN.
    """
    values = maps.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity
        # Statistics of each frame over its patches, kept as [f, 1, 1] so that they broadcast over the grid.
        mean = values.mean(axis=(-2, -1), keepdims=True)
        std = values.std(axis=(-2, -1), keepdims=True)
        return np.where(std <= _LEAST_STD, 0.0, (values - mean) / np.maximum(std, _LEAST_STD))


def dino_weight(psnr: Float[np.ndarray, "*f"], config: PseudoMasksConfig) -> Float[np.ndarray, "*f"]:
    """Weight of the feature residual for frames rendered at `psnr` dB; the SSIM residual gets the rest.

    `fixed` (release): `dino_weight`. `adaptive` (paper: features while the renderer is poor, SSIM as it improves; the
    paper gives no formula): `dino_weight_low` up to `psnr_low`, `dino_weight_high` from `psnr_high`, linear between.
    """
    if config.weighting == "fixed":
        return np.full(psnr.shape, config.dino_weight)
    progress = np.clip((psnr.astype(np.float64) - config.psnr_low) / (config.psnr_high - config.psnr_low), 0, 1)
    return config.dino_weight_low + (config.dino_weight_high - config.dino_weight_low) * progress


def fuse(
    d_dino: Float[np.ndarray, "*f g g2"],
    d_ssim: Float[np.ndarray, "*f g g2"],
    psnr: Float[np.ndarray, "*f"],
    config: PseudoMasksConfig,
) -> Float[np.ndarray, "*f g g2"]:
    """Saliency w · Z(D_dino) + (1 − w) · Z(D_ssim), with w from the frame's own PSNR; float64, mean 0 in each frame."""
    weight = dino_weight(psnr, config)[..., None, None]
    return weight * zscore(d_dino) + (1 - weight) * zscore(d_ssim)
