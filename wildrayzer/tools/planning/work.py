"""Operations of the networks besides the model: the perceptual loss and the feature backbone."""

import json
from dataclasses import dataclass
from pathlib import Path

from wildrayzer.config import FeaturesConfig
from wildrayzer.models.cost.flops import Cost, convolution

VGG_WIDTHS = (64, 64, 128, 128, *[256] * 4, *[512] * 6)
"""Channels of VGG-19's convolutions up to conv5_2; the side halves before the third, fifth, ninth and thirteenth."""
_VGG_POOLED = (2, 4, 8, 12)


def vgg19_cost(images: int, side: int) -> Cost:
    """The perceptual loss of renderings: features of target and rendering, gradients only to the rendering."""
    forward, inside = 0.0, 3
    for number, outside in enumerate(VGG_WIDTHS):
        if number in _VGG_POOLED:
            side //= 2
        forward += convolution(images, side, inside, outside, 3).forward
        inside = outside
    return Cost(forward=2.0 * forward, backward=forward)


@dataclass(frozen=True)
class BackboneSizes:
    """Sizes of a DINOv3 ViT."""

    width: int
    blocks: int
    hidden: int
    """Inner width of the feed-forward layers."""
    gated: bool
    """Whether these have a third matrix, for gating (SwiGLU)."""
    patch: int = 16
    extra_tokens: int = 5
    """Class and register tokens."""


DINOV3 = {
    "vits16": BackboneSizes(384, 12, 1536, False),
    "vits16plus": BackboneSizes(384, 12, 1536, True),
    "vitb16": BackboneSizes(768, 12, 3072, False),
    "vitl16": BackboneSizes(1024, 24, 4096, False),
    "vith16plus": BackboneSizes(1280, 32, 5120, True),
    "vit7b16": BackboneSizes(4096, 40, 8192, True),
}
"""Sizes by the word after `dinov3-` in a hub id."""


def backbone_sizes(config: FeaturesConfig) -> BackboneSizes | None:
    """Sizes of the backbone: from the config.json of a local folder, else by hub id; None for the descriptor.

    Raises:
        ValueError: `features.weights` is neither a folder nor a known hub id.
    """
    if config.backbone != "dinov3":
        return None
    path = Path(config.weights) / "config.json"
    if path.is_file():
        model = json.loads(path.read_text(encoding="utf-8"))
        return BackboneSizes(
            width=model["hidden_size"],
            blocks=model["num_hidden_layers"],
            hidden=model["intermediate_size"],
            gated=model.get("use_gated_mlp", False),
            patch=model["patch_size"],
            extra_tokens=1 + model.get("num_register_tokens", 0),
        )
    words = Path(config.weights).name.split("-")
    known = next((DINOV3[word] for word in words if word in DINOV3), None)
    if known is None:
        raise ValueError(
            f"features.weights = {config.weights!r}: no folder with config.json, and no size in its name that is "
            f"known ({', '.join(DINOV3)}); name the folder of the weights"
        )
    return known


def backbone_cost(sizes: BackboneSizes, images: int, patches: int) -> Cost:
    """A forward pass over images of `patches` patches each."""
    tokens = patches + sizes.extra_tokens
    matrices = 4 * sizes.width**2 + (3 if sizes.gated else 2) * sizes.width * sizes.hidden
    block = 2.0 * tokens * matrices + 4.0 * tokens**2 * sizes.width
    embedding = 2.0 * patches * 3 * sizes.patch**2 * sizes.width
    return Cost(images * (sizes.blocks * block + embedding))
