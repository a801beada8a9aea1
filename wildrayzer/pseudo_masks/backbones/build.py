"""The backbone that a configuration names."""

import torch

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor
from wildrayzer.pseudo_masks.backbones.dinov3 import DINOv3
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone


def build_backbone(config: FeaturesConfig, *, patch_size: int, device: str | torch.device) -> FeatureBackbone:
    """The backbone that `features.backbone` names, on `device`.

    Args:
        config: the `features` section.
        patch_size: patch of the renderer in pixels; features are on that grid, whatever the backbone's own patch.
        device: device of the images.

    Raises:
        ValueError: `features.weights` is neither a folder with a DINOv3 ViT nor a hub id that can be downloaded.
    """
    if config.backbone == "descriptor":
        return Descriptor(patch_size=patch_size)
    return DINOv3(config, patch_size=patch_size, device=device)
