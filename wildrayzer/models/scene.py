"""Scene encoder and decoder: input views to scene tokens to renderings (docs/network.md#scene-encoder)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.camera_head import HEAD_STD
from wildrayzer.models.tokens import unpatchify
from wildrayzer.models.transformer import CrossBlock, Stack, initialise, run_block


class SceneEncoder(nn.Module):
    """Fuses image and ray tokens of the input views, gates moving patches, and encodes all into scene tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, std = config.width, config.init_std
        self.keep = config.scene_tokens if config.decoder_context == "scene" else None
        self.code = nn.Parameter(torch.randn(config.scene_tokens, width) * std)
        self.fuse = _mlp_fusion(width, std) if config.token_fusion == "mlp" else _linear_fusion(width)
        gated = config.motion_head is not None
        self.noise_token = nn.Parameter(torch.randn(1, 1, width) * std) if gated else None
        self.blocks = Stack(
            config.scene_blocks,
            width,
            config.head_width,
            kernel=config.attention,
            std=std,
            checkpoint_every=config.checkpoint_every,
        )

    def forward(
        self,
        tokens: Float[Tensor, "b k n d"],
        ray_tokens: Float[Tensor, "b k n d"],
        token_mask: Bool[Tensor, "b k n"] | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Context for the decoder: the scene tokens, followed by the input tokens with `scene_and_inputs`.

        Args:
            tokens: image tokens of the input views, from before the camera encoder.
            ray_tokens: their ray tokens.
            token_mask: 1 = transient: the fused token is replaced by the learned noise token.

        Raises:
            ValueError: a mask given to a model without motion head.
        """
        fused = self.fuse(torch.cat((tokens, ray_tokens), dim=-1)).flatten(1, 2)
        if token_mask is not None:
            if self.noise_token is None:
                raise ValueError("token_mask given, but model.motion_head is null: the model has no noise token")
            fused = torch.where(token_mask.flatten(1)[..., None], self.noise_token.to(fused.dtype), fused)
        return self.blocks(torch.cat((self.code.expand(len(fused), -1, -1), fused), dim=1), self.keep)


def _mlp_fusion(width: int, std: float) -> nn.Sequential:
    layers = nn.Sequential(
        nn.LayerNorm(2 * width, bias=False), nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)
    )
    initialise(layers, std)
    return layers


def _linear_fusion(width: int) -> nn.Sequential:
    """Differs from the paper (`token_fusion: linear`)."""
    layers = nn.Sequential(nn.Linear(2 * width, width, bias=False), nn.LayerNorm(width, bias=False))
    initialise(layers, 1 / math.sqrt(2 * width))
    return layers


class _ToPixels(nn.Sequential):
    """LayerNorm, bias-free linear map to patches, sigmoid."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(
            nn.LayerNorm(config.width, bias=False), nn.Linear(config.width, 3 * config.patch_size**2, bias=False)
        )
        self.patch = config.patch_size
        initialise(self, HEAD_STD)

    def forward(self, tokens: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t 3 h w"]:
        return unpatchify(super().forward(tokens).float().sigmoid(), self.patch)


class Decoder(nn.Module):
    """Per target view: its ray tokens and the context through full blocks, then to pixels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.blocks = Stack(
            config.decoder_blocks,
            config.width,
            config.head_width,
            kernel=config.attention,
            std=config.init_std,
            checkpoint_every=config.checkpoint_every,
        )
        self.to_pixels = _ToPixels(config)

    def forward(
        self, context: Float[Tensor, "b m d"], ray_tokens: Float[Tensor, "b t n d"]
    ) -> Float[Tensor, "b t 3 h w"]:
        """Renderings in [0, 1]; a view's rendering does not depend on the other target views."""
        batch, views, patches = ray_tokens.shape[:3]
        shared = context[:, None].expand(-1, views, -1, -1)
        x = self.norm(torch.cat((ray_tokens, shared), dim=2).flatten(0, 1))
        return self.to_pixels(self.blocks(x, patches).unflatten(0, (batch, views)))


class CrossDecoder(nn.Module):
    """As `Decoder`, with a context that is read in every block and never updated. Differs from the paper."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.checkpoint_every = config.checkpoint_every
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.context_norm = nn.LayerNorm(config.width, bias=False)
        self.blocks = nn.ModuleList(
            CrossBlock(config.width, config.head_width, kernel=config.attention, std=config.init_std)
            for _ in range(config.decoder_blocks)
        )
        self.to_pixels = _ToPixels(config)

    def forward(
        self, context: Float[Tensor, "b m d"], ray_tokens: Float[Tensor, "b t n d"]
    ) -> Float[Tensor, "b t 3 h w"]:
        """Renderings in [0, 1]; a view's rendering does not depend on the other target views."""
        context, x = self.context_norm(context), self.norm(ray_tokens)
        for depth, block in enumerate(self.blocks):
            x = run_block(block, x, context, depth=depth, checkpoint_every=self.checkpoint_every)
        return self.to_pixels(x)
