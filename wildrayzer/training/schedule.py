"""Learning rate by step, and the parameter groups of AdamW."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from wildrayzer.config import StageConfig


def learning_rate(step: int, stage: StageConfig) -> float:
    """Rate of step 0, 1, …: linear warm-up to `learning_rate`, then constant or half a cosine to a share of it."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    if stage.schedule == "constant":
        return stage.learning_rate
    progress = (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    return stage.learning_rate * (stage.final_share + (1.0 - stage.final_share) * cosine)


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Two AdamW groups: parameters with two or more axes decay, gains and biases do not."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in parameters:
        (decayed if parameter.ndim > 1 else plain).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
