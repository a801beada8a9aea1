"""Numbers of parameters of a network."""

import torch

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.wildrayzer import WildRayZer


def parameter_counts(config: ModelConfig) -> dict[str, int]:
    """Numbers of parameters by part of the network, in the order of the data; no weights are allocated."""
    with torch.device("meta"):
        model = WildRayZer(config)
    counts: dict[str, int] = {}
    for name, value in model.named_parameters():
        part = name.split(".")[0].replace("_", " ")
        counts[part] = counts.get(part, 0) + value.numel()
    return counts
