"""What predicts the targets of a residual window: the frozen renderer, or a control that needs no renderer."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.data.sampling.windows import Window
from wildrayzer.images.blur import gaussian_blur
from wildrayzer.images.nearest import nearest_view
from wildrayzer.models import WildRayZer

Predictor = Literal["renderer", "nearest", "blurred"]
"""What predicts the targets: the frozen renderer or a control. The control `nearest` copies the input nearest in frame
number (the earlier of two); `blurred` blurs the target itself (σ a third of the patch)."""


def predict(
    predictor: Predictor,
    model: WildRayZer,
    inputs: Float[Tensor, "w k 3 h w2"],
    targets: Float[Tensor, "w t 3 h w2"],
    windows: Sequence[Window],
) -> Float[Tensor, "w t 3 h w2"]:
    """Predictions of the targets, in [0, 1] as the targets are.

    Args:
        predictor: see `Predictor`.
        model: the frozen renderer; of a control only its patch size matters.
        inputs: input views of each window, in [0, 1].
        targets: target frames of each window, in [0, 1].
        windows: frame numbers of inputs and targets.
    """
    if predictor == "renderer":
        return model(torch.cat([inputs, targets], dim=1), inputs.shape[1]).render.float()
    return predict_by_control(predictor, inputs, targets, windows, patch_size=model.config.patch_size)


def predict_by_control(
    control: Literal["nearest", "blurred"],
    inputs: Float[Tensor, "w k 3 h w2"],
    targets: Float[Tensor, "w t 3 h w2"],
    windows: Sequence[Window],
    *,
    patch_size: int,
) -> Float[Tensor, "w t 3 h w2"]:
    """Predictions of a control, see `Predictor`; needs no renderer."""
    if control == "nearest":
        input_frames, target_frames = (
            np.array([getattr(window, views) for window in windows]) for views in ("inputs", "targets")
        )
        nearest = torch.from_numpy(nearest_view(input_frames, target_frames)).to(inputs.device)
        return inputs[torch.arange(len(windows), device=inputs.device)[:, None], nearest]
    return gaussian_blur(targets.flatten(0, 1), sigma=patch_size / 3).view_as(targets)
