"""Scene encoder and decoder: input views to scene tokens to renderings (docs/network.md#scene-encoder)."""

import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.camera_head import HEAD_STD
from wildrayzer.models.rotary import RotaryPositions, rotary_positions
from wildrayzer.models.tokens import pixel_patches, unpatchify
from wildrayzer.models.transformer import CrossBlock, build_stack, initialise, run_block


class TokenFusion(nn.Sequential):
    """The image and the ray token of a patch, side by side, through a sequence of layers."""

    def forward(  # type: ignore[override]
        self, images: Float[Tensor, "b k 3 h w"], tokens: Float[Tensor, "b k n d"], ray_tokens: Float[Tensor, "b k n d"]
    ) -> Float[Tensor, "b k n d"]:
        """Fused tokens; the images themselves are not used."""
        return cast(Tensor, super().forward(torch.cat((tokens, ray_tokens), dim=-1)))


def _mlp_fusion(config: ModelConfig) -> TokenFusion:
    width = config.width
    layers = TokenFusion(
        nn.LayerNorm(2 * width, bias=False), nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)
    )
    initialise(layers, config.init_std)
    return layers


def _linear_fusion(config: ModelConfig) -> TokenFusion:
    """Differs from the paper (`token_fusion: linear`)."""
    width = config.width
    layers = TokenFusion(nn.Linear(2 * width, width, bias=False), nn.LayerNorm(width, bias=False))
    initialise(layers, 1 / math.sqrt(2 * width))
    return layers


class PixelFusion(nn.Module):
    """The ray token plus a bias-free linear map of the colours of the patch. Differs from the paper.

    Both maps are linear, so that this equals one bias-free map of the colours and rays of all pixels.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.projection = nn.Linear(3 * config.patch_size**2, config.width, bias=False)
        initialise(self, config.init_std)

    def forward(
        self,
        images: Float[Tensor, "b k 3 h w"],
        tokens: Float[Tensor, "b k n e"],
        ray_tokens: Float[Tensor, "b k n d"],
    ) -> Float[Tensor, "b k n d"]:
        """Fused tokens of images in [0, 1]; their image tokens are not used and may have no channels."""
        return self.projection(pixel_patches(images, self.config)) + ray_tokens


class ResidualFusion(nn.Module):
    """The mean of image and ray token plus three layers of both, normalised. Differs from the paper.

    Layers keep torch's initial weights.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.image_norm, self.ray_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )

    def forward(
        self, images: Float[Tensor, "b k 3 h w"], tokens: Float[Tensor, "b k n d"], ray_tokens: Float[Tensor, "b k n d"]
    ) -> Float[Tensor, "b k n d"]:
        """Fused tokens; the images themselves are not used."""
        both = torch.cat((self.image_norm(tokens), self.ray_norm(ray_tokens)), dim=-1)
        return self.layers(both) + 0.5 * (tokens + ray_tokens)


_FUSIONS: Mapping[str, Callable[[ModelConfig], nn.Module]] = {
    "mlp": _mlp_fusion,
    "linear": _linear_fusion,
    "pixel": PixelFusion,
    "residual": ResidualFusion,
}


class SceneEncoder(nn.Module):
    """Fuses image and ray tokens of the input views, gates moving patches, and encodes all into scene tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, std = config.width, config.init_std
        self.keep = config.scene_tokens if config.decoder_context == "scene" else None
        self.code = nn.Parameter(torch.randn(config.scene_tokens, width) * std) if config.scene_tokens else None
        self.fuse = _FUSIONS[config.token_fusion](config)
        gated = config.motion_head is not None
        self.noise_token = nn.Parameter(torch.randn(1, 1, width) * std) if gated else None
        self.norm = nn.LayerNorm(width, bias=False) if config.encoder_norm else nn.Identity()
        self.rotary = rotary_positions(config)
        self.blocks = build_stack(config.scene_blocks, config)

    def forward(
        self,
        images: Float[Tensor, "b k 3 h w"],
        tokens: Float[Tensor, "b k n e"],
        ray_tokens: Float[Tensor, "b k n d"],
        token_mask: Bool[Tensor, "b k n"] | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Context for the decoder: the scene tokens, followed by the input tokens with `scene_and_inputs`.

        Args:
            images: input views in [0, 1]; only pixel fusion reads them.
            tokens: their image tokens, from before the camera encoder; pixel fusion does not read them.
            ray_tokens: their ray tokens.
            token_mask: 1 = transient: the fused token is replaced by the learned noise token.

        Raises:
            ValueError: a mask given to a model without motion head.
        """
        views = ray_tokens.shape[1]
        fused = self.fuse(images, tokens, ray_tokens).flatten(1, 2)
        if token_mask is not None:
            if self.noise_token is None:
                raise ValueError("token_mask given, but model.motion_head is null: the model has no noise token")
            fused = torch.where(token_mask.flatten(1)[..., None], self.noise_token.to(fused.dtype), fused)
        scene = 0 if self.code is None else len(self.code)
        x = fused if self.code is None else torch.cat((self.code.expand(len(fused), -1, -1), fused), dim=1)
        return self.blocks(self.norm(x), self.keep, None if self.rotary is None else self.rotary(scene, views))


class _ToPixels(nn.Sequential):
    """LayerNorm, bias-free linear map to patches, sigmoid."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(
            nn.LayerNorm(config.width, elementwise_affine=config.output_norm == "learned", bias=False),
            nn.Linear(config.width, 3 * config.patch_size**2, bias=False),
        )
        self.patch = config.patch_size
        initialise(self, HEAD_STD)

    def forward(self, tokens: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t 3 h w"]:
        return unpatchify(super().forward(tokens).float().sigmoid(), self.patch)


class Decoder(nn.Module):
    """Per target view: its ray tokens and the context through full blocks, then to pixels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.scene_tokens, self.rotary = config.scene_tokens, rotary_positions(config)
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.blocks = build_stack(config.decoder_blocks, config)
        self.to_pixels = _ToPixels(config)

    def forward(
        self, context: Float[Tensor, "b m d"], ray_tokens: Float[Tensor, "b t n d"]
    ) -> Float[Tensor, "b t 3 h w"]:
        """Renderings in [0, 1]; a view's rendering does not depend on the other target views."""
        batch, views, patches = ray_tokens.shape[:3]
        shared = context[:, None].expand(-1, views, -1, -1)
        x = self.norm(torch.cat((ray_tokens, shared), dim=2).flatten(0, 1))
        angles = None if self.rotary is None else torch.cat(_decoder_angles(self.rotary, self.scene_tokens, context))
        return self.to_pixels(self.blocks(x, patches, angles).unflatten(0, (batch, views)))


def _decoder_angles(
    rotary: RotaryPositions, scene_tokens: int, context: Float[Tensor, "b m d"]
) -> tuple[Float[Tensor, "n 2 j"], Float[Tensor, "m 2 j"]]:
    """Rotary angles of a target's patches, and of the context: scene tokens, then patches of input views, if any."""
    inputs = (context.shape[1] - scene_tokens) // len(rotary.patches)
    return rotary(0, 1), rotary(scene_tokens, inputs)


class CrossDecoder(nn.Module):
    """As `Decoder`, with a context that is read in every block and never updated. Differs from the paper."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.checkpoint_every = config.checkpoint_every
        self.scene_tokens, self.rotary = config.scene_tokens, rotary_positions(config)
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.context_norm = nn.LayerNorm(config.width, bias=False)
        self.blocks = nn.ModuleList(
            CrossBlock(
                config.width, config.head_width, kernel=config.attention, std=config.init_std, eps=config.qk_norm_eps
            )
            for _ in range(config.decoder_blocks)
        )
        self.to_pixels = _ToPixels(config)

    def forward(
        self, context: Float[Tensor, "b m d"], ray_tokens: Float[Tensor, "b t n d"]
    ) -> Float[Tensor, "b t 3 h w"]:
        """Renderings in [0, 1]; a view's rendering does not depend on the other target views."""
        angles = None if self.rotary is None else _decoder_angles(self.rotary, self.scene_tokens, context)
        context, x = self.context_norm(context), self.norm(ray_tokens)
        for depth, block in enumerate(self.blocks):
            x = run_block(block, x, context, angles, depth=depth, checkpoint_every=self.checkpoint_every)
        return self.to_pixels(x)
