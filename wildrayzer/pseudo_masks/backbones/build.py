"""The backbone that a configuration names."""

import torch

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor
from wildrayzer.pseudo_masks.backbones.dinov3 import DINOv3
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.backbones.timm_vit import TimmViT


def build_backbone(config: FeaturesConfig, *, patch_size: int, device: str | torch.device) -> FeatureBackbone:
    """The backbone that `features.backbone` names, on `device`.

    Args:
        config: the `features` section.
        patch_size: patch of the renderer in pixels; features are on that grid, whatever the backbone's own patch.
        device: device of the images.

    Raises:
        ValueError: `features.weights` is no ViT that the backbone can run, or cannot be downloaded.
    """
    if config.backbone == "descriptor":
        return Descriptor(patch_size=patch_size)
    if config.backbone == "timm":
        return TimmViT(config, patch_size=patch_size, device=device)
    return DINOv3(config, patch_size=patch_size, device=device)
