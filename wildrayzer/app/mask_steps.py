"""What the pseudo-mask of a picture is made from, and the pictures that show it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, UInt8

from wildrayzer.app.drawing import enlarged, heat_map, overlay

_BRIGHT = 0.99
"""Residuals from this quantile of all views on have the brightest colour."""
_FUSED = (-1.5, 3.0)
"""Colour scale of the fused residuals, standard deviations."""
Shown = list[tuple[UInt8[np.ndarray, "_ _ 3"], str]]
"""Pictures with captions."""


@dataclass(frozen=True)
class MaskSteps:
    """From the prediction of a picture to its pixel mask. Polarity: 1 (true) = transient."""

    predicted: Float32[np.ndarray, "h w 3"]
    """The picture as the renderer predicts it from two others, RGB in [0, 1]."""
    psnr: float
    """Of the prediction, dB."""
    d_dino: Float16[np.ndarray, "g g"]
    """Feature dissimilarity in [0, 2]."""
    d_ssim: Float16[np.ndarray, "g g"]
    """1 − SSIM in [0, 2]."""
    saliency: Float64[np.ndarray, "g g"]
    """Both, standardised within the picture and fused."""
    voted: Bool[np.ndarray, "g g"]
    """Patches of the clusters that voting chooses."""
    patches: Bool[np.ndarray, "g g"]
    """Those of them that pass the calibrated threshold; all of them without calibration."""
    pixels: Bool[np.ndarray, "h w"]
    """The refined mask."""


def step_pictures(steps: Sequence[MaskSteps], images: UInt8[np.ndarray, "v h w 3"]) -> tuple[Shown, ...]:
    """One row of pictures per step, all in the order of the views.

    Predictions, feature residuals, SSIM residuals, fused residuals with the voted patches framed, and the pictures with
    the patch mask framed and the pixel mask in red.
    """
    names = [f"{number + 1}" for number in range(len(steps))]
    residuals = [
        [heat_map(getattr(one, name), 0.0, _bright(steps, name)) for one in steps] for name in ("d_dino", "d_ssim")
    ]
    pictures = (
        [enlarged((np.clip(one.predicted, 0, 1) * 255).round().astype(np.uint8)) for one in steps],
        *residuals,
        [heat_map(one.saliency, *_FUSED, framed=one.voted) for one in steps],
        [overlay(image, one.pixels, one.patches) for image, one in zip(images, steps, strict=True)],
    )
    rows = [list(zip(row, names, strict=True)) for row in pictures]
    rows[0] = [(picture, f"{name} · {one.psnr:.1f} dB") for (picture, name), one in zip(rows[0], steps, strict=True)]
    return tuple(rows)


def _bright(steps: Sequence[MaskSteps], name: str) -> float:
    """Upper end of the colour scale of a residual, the same for all views."""
    return float(np.quantile(np.stack([getattr(one, name) for one in steps]).astype(np.float64), _BRIGHT))
