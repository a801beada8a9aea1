"""Operations besides the model: the perceptual loss, the feature backbone, clustering and image measures."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from wildrayzer.config import FeaturesConfig, ResidualsConfig
from wildrayzer.io.validated import read_validated
from wildrayzer.models.cost.flops import Cost, convolution
from wildrayzer.tools.planning.stage import LOADED

DESCRIPTOR_WIDTH = 15
"""Channels of the descriptor's features."""

VGG_WIDTHS = (64, 64, 128, 128, *[256] * 4, *[512] * 6)
"""Channels of VGG-19's convolutions up to conv5_2; the side halves before the third, fifth, ninth and thirteenth."""
_VGG_POOLED = (2, 4, 8, 12)
VGG16_WIDTHS = (64, 64, 128, 128, *[256] * 3, *[512] * 6)
"""Channels of VGG-16's convolutions, all of which LPIPS takes; the side halves before four of them."""
_VGG16_POOLED = (2, 4, 7, 10)


def vgg19_cost(images: int, side: int) -> Cost:
    """The perceptual loss of renderings: features of target and rendering, gradients only to the rendering."""
    forward = _convolutions(images, side, VGG_WIDTHS, _VGG_POOLED)
    return Cost(forward=2.0 * forward, backward=forward)


def lpips_cost(images: int, side: int) -> Cost:
    """LPIPS of renderings: features of target and rendering."""
    return Cost(2.0 * _convolutions(images, side, VGG16_WIDTHS, _VGG16_POOLED))


def _convolutions(images: int, side: int, widths: tuple[int, ...], pooled: tuple[int, ...]) -> float:
    forward, inside = 0.0, 3
    for number, outside in enumerate(widths):
        if number in pooled:
            side //= 2
        forward += convolution(images, side, inside, outside, 3).forward
        inside = outside
    return forward


def ssim_cost(images: int, side: int) -> Cost:
    """SSIM of images as a GPU computes it: five maps of three channels, each filtered by two banded matrices."""
    return Cost(images * 5 * 3 * 2 * 2.0 * side**3)


def clustering_cost(options: ResidualsConfig, patches: int, width: int) -> Cost:
    """K-means of one window of `patches` patches a frame and features of `width` channels, if it never converges."""
    points = options.targets * patches * width
    drawn = 2 + int(math.log(options.clusters))
    start = 2.0 * points * drawn * (options.clusters - 1)
    # An iteration assigns all points and averages all clusters; one more assigns before the first.
    lloyd = 2.0 * points * options.clusters * (2 * options.kmeans_iterations + 1)
    return Cost(options.kmeans_restarts * (start + lloyd))


@dataclass(frozen=True)
class BackboneSizes:
    """Sizes of a DINOv3 or DINOv2 ViT."""

    width: int
    blocks: int
    hidden: int
    """Inner width of the feed-forward layers."""
    gated: bool
    """Whether these have a third matrix, for gating (SwiGLU)."""
    patch: int = 16
    extra_tokens: int = 5
    """Class and register tokens."""

    @property
    def matrices(self) -> int:
        """Parameters of a block's matrices."""
        return 4 * self.width**2 + (3 if self.gated else 2) * self.width * self.hidden

    @property
    def parameters(self) -> int:
        """About how many parameters it has: those of the blocks' matrices and of the patch embedding."""
        return self.blocks * self.matrices + 3 * self.patch**2 * self.width

    @property
    def stored(self) -> float:
        """Bytes of the weights on disk, in float32."""
        return 4.0 * self.blocks * self.matrices


DINOV3 = {
    "vits16": BackboneSizes(384, 12, 1536, False),
    "vits16plus": BackboneSizes(384, 12, 1536, True),
    "vitb16": BackboneSizes(768, 12, 3072, False),
    "vitl16": BackboneSizes(1024, 24, 4096, False),
    "vith16plus": BackboneSizes(1280, 32, 5120, True),
    "vit7b16": BackboneSizes(4096, 40, 8192, True),
}
"""Sizes by the word after `dinov3-` in a hub id."""
_DINOV2 = {
    "small": BackboneSizes(384, 12, 1536, False, 14, 1),
    "base": BackboneSizes(768, 12, 3072, False, 14, 1),
    "large": BackboneSizes(1024, 24, 4096, False, 14, 1),
    "giant": BackboneSizes(1536, 40, 4096, True, 14, 1),
}
TIMM = {
    "vit_small_patch16_dinov3": DINOV3["vits16"],
    "vit_small_plus_patch16_dinov3": DINOV3["vits16plus"],
    "vit_base_patch16_dinov3": DINOV3["vitb16"],
    "vit_large_patch16_dinov3": DINOV3["vitl16"],
    "vit_huge_plus_patch16_dinov3": DINOV3["vith16plus"],
    "vit_7b_patch16_dinov3": DINOV3["vit7b16"],
    **{f"vit_{size}_patch14_dinov2": sizes for size, sizes in _DINOV2.items()},
    **{f"vit_{size}_patch14_reg4_dinov2": replace(sizes, extra_tokens=5) for size, sizes in _DINOV2.items()},
}
"""Sizes by timm's name, without what the weights were trained on."""


_FIX = "download the weights again"


class _Dinov3Config(BaseModel):
    """What of a DINOv3 config.json decides the cost of a forward pass."""

    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    use_gated_mlp: bool = False
    patch_size: int
    num_register_tokens: int = 0


def backbone_sizes(config: FeaturesConfig) -> BackboneSizes | None:
    """Sizes of the backbone: from the config.json of a local folder, else by name; None for the descriptor.

    Raises:
        ValueError: `features.weights` is neither a folder nor a known hub id or name of timm.
    """
    if not config.has_weights:
        return None
    path = Path(config.weights) / "config.json"
    if config.backbone == "timm":
        return _of_timm(config.weights, path)
    if path.is_file():
        model = read_validated(path, _Dinov3Config, fix=_FIX)
        return BackboneSizes(
            width=model.hidden_size,
            blocks=model.num_hidden_layers,
            hidden=model.intermediate_size,
            gated=model.use_gated_mlp,
            patch=model.patch_size,
            extra_tokens=1 + model.num_register_tokens,
        )
    words = Path(config.weights).name.split("-")
    known = next((DINOV3[word] for word in words if word in DINOV3), None)
    if known is None:
        raise ValueError(
            f"features.weights = {config.weights!r}: no folder with config.json, and no size in its name that is "
            f"known ({', '.join(DINOV3)}); name the folder of the weights"
        )
    return known


def _of_timm(weights: str, config: Path) -> BackboneSizes:
    name = Path(weights).name
    if config.is_file():
        name = str(read_validated(config, dict, fix=_FIX).get("architecture"))
    known = TIMM.get(name.split(".")[0].removesuffix("_qkvb"))
    if known is None:
        raise ValueError(f"features.weights = {weights!r}: no size is known of {name}; known are {', '.join(TIMM)}")
    return known


def backbone_cost(sizes: BackboneSizes, images: int, patches: int) -> Cost:
    """A forward pass over images of `patches` patches each."""
    tokens = patches + sizes.extra_tokens
    block = 2.0 * tokens * sizes.matrices + 4.0 * tokens**2 * sizes.width
    embedding = 2.0 * patches * 3 * sizes.patch**2 * sizes.width
    return Cost(images * (sizes.blocks * block + embedding))


def load_seconds(sizes: BackboneSizes | None, gpus: int) -> float:
    """Seconds that each GPU of a job waits for the backbone's weights; on a CPU they count as part of the start."""
    return 0.0 if sizes is None or not gpus else 2.0 * sizes.stored / LOADED
