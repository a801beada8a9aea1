"""From image tokens of all views to the features that the camera head reads (docs/network.md#camera-encoder)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.rotary import rotary_positions
from wildrayzer.models.tokens import sinusoid, two_layers
from wildrayzer.models.transformer import build_stack


def canonical_index(config: ModelConfig, views: int) -> int:
    """Number of the view whose camera is the origin."""
    return views // 2 if config.canonical_view == "middle" else 0


def sees_all_views(config: ModelConfig, depth: int) -> bool:
    """Whether the block number `depth` attends over all views; with `alternating` the even ones do, from 0."""
    return config.camera_attention == "joint" or (config.camera_attention == "alternating" and depth % 2 == 0)


def camera_tokens(config: ModelConfig) -> int:
    """Tokens of a view in the joint camera encoder: its patches, and a camera token for the `relative` head."""
    return config.grid**2 + (config.camera_head == "relative")


class ViewNumber(nn.Module):
    """What the camera encoder knows of a view beside its image: its number, through a learned map."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width = config.width
        self.map = two_layers(config.width, config.width, config.width, std=config.init_std)

    def forward(self, views: int, canonical: int) -> tuple[Float[Tensor, "v d"], None]:
        """Embedding of the camera tokens; image tokens carry the number already."""
        number = torch.arange(views, device=next(self.parameters()).device)
        return self.map(sinusoid(number, self.width)), None


class ViewType(nn.Module):
    """Only whether a view is the canonical one. Differs from the paper."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(2, config.width) * config.init_std)

    def forward(self, views: int, canonical: int) -> tuple[Float[Tensor, "v d"], Float[Tensor, "v 1 d"]]:
        """Embedding of the camera tokens and of the image tokens."""
        number = torch.arange(views, device=self.embedding.device)
        kind = self.embedding[(number != canonical).long()]
        return kind, kind[:, None]


def _view_embedding(config: ModelConfig) -> ViewNumber | ViewType | None:
    if config.view_embedding == "type":
        return ViewType(config)
    # image tokens carry the number already
    return ViewNumber(config) if config.view_embedding == "number" and config.camera_head == "relative" else None


class JointCameraEncoder(nn.Module):
    """The image tokens of all views, inputs and targets, and a camera token of each view for the `relative` head.

    `camera_attention` says which blocks see all views. Every view may see every other one, except with `per_view`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        camera_tokens = config.camera_head == "relative"
        self.code = nn.Parameter(torch.randn(1, config.width) * config.init_std) if camera_tokens else None
        self.view = _view_embedding(config)
        self.norm = nn.LayerNorm(config.width, bias=False) if config.encoder_norm else nn.Identity()
        self.rotary = rotary_positions(config)
        self.blocks = build_stack(config.camera_blocks, config)

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        tokens: Float[Tensor, "b v n d"],
        role: Float[Tensor, "v d"] | None,
    ) -> tuple[Float[Tensor, "b v d"], Float[Tensor, "b v d"]] | tuple[Float[Tensor, "b v n d"]]:
        """What the camera head takes: features of the canonical view (repeated for every view) and of each view.

        The `pi3` head takes the image tokens of each view.

        Args:
            images: unused here; the pairwise encoder has tokens of its own.
            tokens: image tokens (docs/network.md#image-tokens).
            role: embedding of input or target view, or None.
        """
        batch, views = tokens.shape[:2]
        canonical = canonical_index(self.config, views)
        camera, image = (None, None) if self.view is None else self.view(views, canonical)
        if image is not None:
            tokens = tokens + image
        if role is not None:
            tokens = tokens + role[:, None]
        if self.code is None:
            return (self._in_turn(tokens, 0),)
        kind = self.code.expand(views, -1) if camera is None else self.code + camera
        if role is not None:
            kind = kind + role
        if self.config.camera_attention == "joint":
            x = self.norm(torch.cat((kind.expand(batch, -1, -1), tokens.flatten(1, 2)), dim=1))
            x = self.blocks(x, views, None if self.rotary is None else self.rotary(views, views))
        else:
            x = self._in_turn(torch.cat((kind[:, None].expand(batch, -1, -1, -1), tokens), dim=2), 1)[:, :, 0]
        return x[:, canonical : canonical + 1].expand_as(x), x

    def _in_turn(self, x: Float[Tensor, "b v m d"], plain: int) -> Float[Tensor, "b v m d"]:
        """Run the blocks, each over all views or over one view at a time. `plain` tokens of a view are no patches."""
        batch, views = x.shape[:2]
        own = None if self.rotary is None else self.rotary(plain, 1)
        x = self.norm(x)
        for depth in range(len(self.blocks)):
            if sees_all_views(self.config, depth):
                angles = None if own is None else own.repeat(views, 1, 1)
                x = self.blocks.run(depth, x.flatten(1, 2), None, angles).unflatten(1, (views, -1))
            else:
                x = self.blocks.run(depth, x.flatten(0, 1), None, own).unflatten(0, (batch, views))
        return x
