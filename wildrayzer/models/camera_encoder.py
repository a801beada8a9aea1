"""From image tokens of all views to one pose feature per view (docs/network.md#camera-encoder)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.tokens import sinusoid, two_layers
from wildrayzer.models.transformer import Stack


def canonical_index(config: ModelConfig, views: int) -> int:
    """Number of the view whose camera is the origin."""
    return views // 2 if config.canonical_view == "middle" else 0


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


class JointCameraEncoder(nn.Module):
    """One pass over the camera and image tokens of all views, inputs and targets; the camera tokens are kept."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.code = nn.Parameter(torch.randn(1, config.width) * config.init_std)
        self.view = ViewNumber(config) if config.view_embedding == "number" else ViewType(config)
        self.blocks = Stack(
            config.camera_blocks,
            config.width,
            config.head_width,
            kernel=config.attention,
            std=config.init_std,
            checkpoint_every=config.checkpoint_every,
        )

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        tokens: Float[Tensor, "b v n d"],
        role: Float[Tensor, "v d"] | None,
    ) -> tuple[Float[Tensor, "b v d"], Float[Tensor, "b v d"]]:
        """Features of the canonical view (repeated for every view) and of each view.

        Args:
            images: unused here; the pairwise encoder has tokens of its own.
            tokens: image tokens (docs/network.md#image-tokens).
            role: embedding of input or target view, or None.
        """
        batch, views = tokens.shape[:2]
        canonical = canonical_index(self.config, views)
        camera, image = self.view(views, canonical)
        camera = self.code + camera
        if image is not None:
            tokens = tokens + image
        if role is not None:
            camera, tokens = camera + role, tokens + role[:, None]
        x = torch.cat((camera.expand(batch, -1, -1), tokens.flatten(1, 2)), dim=1)
        x = self.blocks(x, views)
        return x[:, canonical : canonical + 1].expand_as(x), x
