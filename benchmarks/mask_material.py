"""Material of the mask benchmarks: procedural clips with movers, stand-ins for renderings, and a random backbone."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.data.embedded.splits import make_clip
from wildrayzer.images.blur import gaussian_blur
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.pseudo_masks.backbones.dinov3 import DINOv3

VIT_SIZES = {
    "tiny": (64, 2, 2),  # for trying the benchmark out
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
"""Width, blocks and heads of the published DINOv3 ViT-S/16, ViT-B/16 and ViT-L/16."""


def windows(count: int, *, targets: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Target frames of `count` windows, and what stands for their renderings: the clean twins, slightly blurred.

    Returns:
        Two tensors [count, targets, 3, size, size] in [0, 1], the first one of whole 255ths.
    """
    config = EmbeddedConfig(seed=seed, frames=max(4, targets), supersampling=1)
    rules = EmbeddedSplit(scenes=count, movers="actors", truth="masks_and_clean")
    frames, clean = [], []
    for number in range(count):
        made = make_clip(number, config=config, split=rules, key="benchmark", image_size=size).rendering
        frames.append(made.frames[:targets])
        clean.append(made.clean[:targets])
    truth, rendered = (torch.from_numpy(np.stack(v)).permute(0, 1, 4, 2, 3).float() / 255 for v in (frames, clean))
    blurred = gaussian_blur(rendered.flatten(0, 1), sigma=size / 128).view_as(rendered)
    return truth.contiguous(), blurred.clamp(0, 1)


def random_backbone(size: str, *, precision: str, device: str, batch: int, patch_size: int = 16) -> DINOv3:
    """A DINOv3 ViT of one of `VIT_SIZES` with random weights, read from a folder as real weights would be."""
    with tempfile.TemporaryDirectory() as folder:
        save_random_backbone(size, folder, patch_size=patch_size)
        features = FeaturesConfig(weights=folder, precision=precision, batch=batch)
        return DINOv3(features, patch_size=patch_size, device=device)


def save_random_backbone(size: str, folder: str | Path, *, patch_size: int = 16) -> None:
    """Write a DINOv3 ViT of one of `VIT_SIZES` with random weights, always the same, as its files would be."""
    ensure_torchvision()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    width, blocks, heads = VIT_SIZES[size]
    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        num_register_tokens=4,
        patch_size=patch_size,
        image_size=256,
    )
    DINOv3ViTModel(config).save_pretrained(folder)
