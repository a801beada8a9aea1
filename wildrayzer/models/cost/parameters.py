"""Sizes of a network without its weights."""

import torch

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.wildrayzer import WildRayZer


def parameter_counts(config: ModelConfig) -> dict[str, int]:
    """Parameters by part of the network, in the order of the data; nothing is allocated for them."""
    with torch.device("meta"):
        model = WildRayZer(config)
    counts: dict[str, int] = {}
    for name, value in model.named_parameters():
        part = name.split(".")[0].replace("_", " ")
        counts[part] = counts.get(part, 0) + value.numel()
    return counts
