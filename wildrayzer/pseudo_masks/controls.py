"""What stands for the rendering of a residual window: the frozen renderer, or a control without one."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.data.sampling.windows import Window
from wildrayzer.images.blur import gaussian_blur
from wildrayzer.models import WildRayZer

Source = Literal["renderer", "nearest", "blurred"]
"""What stands for the rendering: the frozen renderer, or a control without one: `nearest` copies the input nearest in
frame number (the earlier of two), `blurred` blurs the target itself (σ a third of the patch)."""


def stand_in(
    source: Source,
    model: WildRayZer,
    inputs: Float[Tensor, "w k 3 h w2"],
    targets: Float[Tensor, "w t 3 h w2"],
    windows: Sequence[Window],
) -> Float[Tensor, "w t 3 h w2"]:
    """The "rendering" of the targets, see `Source`."""
    if source == "renderer":
        return model(torch.cat([inputs, targets], dim=1), inputs.shape[1]).render.float()
    return control(source, inputs, targets, windows, patch_size=model.config.patch_size)


def control(
    source: Literal["nearest", "blurred"],
    inputs: Float[Tensor, "w k 3 h w2"],
    targets: Float[Tensor, "w t 3 h w2"],
    windows: Sequence[Window],
    *,
    patch_size: int,
) -> Float[Tensor, "w t 3 h w2"]:
    """What a control puts in place of the rendering, see `Source`; needs no renderer."""
    if source == "nearest":
        nearest = [
            [int(np.abs(np.asarray(window.inputs) - frame).argmin()) for frame in window.targets] for window in windows
        ]
        rows = torch.arange(len(windows), device=inputs.device)[:, None]
        return inputs[rows, torch.tensor(nearest, device=inputs.device)]
    return gaussian_blur(targets.flatten(0, 1), sigma=patch_size / 3).view_as(targets)
