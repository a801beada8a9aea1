"""The pairwise camera encoder and its start as a content matcher (`camera_encoder: pairwise`, `matching_init`).

Differs from the paper: the canonical view is compared with one other view at a time, on tokens of its own that are
normalised for brightness and contrast. A sample too small to discover correspondence learns cameras this way.
"""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.tokens import patchify, sinusoid
from wildrayzer.models.transformer import Block, build_stack

POSITION_SPAN = 1.7
"""Plain coordinates run from −span to +span, so that a uniform position has about unit variance."""
MATCHING_GAIN = 2.0
"""Initial gain of normalised queries and keys in the matching block: a sharp softmax."""


def matching_position_code(grid: int, width: int) -> Float[Tensor, "n w"]:
    """Position code of a patch grid, on the CPU: plain (x, y) in the first two channels, then sinusoids.

    Coordinates are scaled to eight units a side whatever the grid, with frequencies from 1 down to 1/100.
    """
    place = torch.arange(grid, device="cpu")
    scaled = place * (8 / grid)
    rows = sinusoid(scaled.repeat_interleave(grid), width // 2, base=100.0)
    columns = sinusoid(scaled.repeat(grid), width // 2, base=100.0)
    centres = ((place + 0.5) / grid * 2 - 1) * POSITION_SPAN
    plain = torch.stack((centres.repeat(grid), centres.repeat_interleave(grid)), dim=-1)
    return torch.cat((plain, torch.cat((rows, columns), dim=-1)[:, 2:]), dim=-1)


class PairwiseCameraEncoder(nn.Module):
    """Canonical view (the first) with one other view at a time; two camera tokens a pair are kept."""

    spatial: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.patch = config.patch_size
        self.projection = nn.Linear(3 * config.patch_size**2, width, bias=False)
        self.position = nn.Linear(width, width, bias=False)
        self.register_buffer("spatial", matching_position_code(config.grid, width), persistent=False)
        self.code = nn.Parameter(torch.randn(1, width) * 0.1)
        self.view_type = nn.Parameter(torch.randn(2, width) * 0.1)
        self.norm_in = nn.LayerNorm(width, bias=False)
        self.blocks = build_stack(config.camera_blocks, config)
        self.norm_out = nn.LayerNorm(width, bias=False)
        nn.init.normal_(self.projection.weight, std=1 / math.sqrt(self.projection.in_features))
        nn.init.normal_(self.position.weight, std=0.3 / math.sqrt(width))
        if config.matching_init:
            start_as_matcher(self)

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        tokens: Float[Tensor, "b v n d"],
        role: Float[Tensor, "v d"] | None,
    ) -> tuple[Float[Tensor, "b v d"], Float[Tensor, "b v d"]]:
        """Features of the canonical view, as each view's pair sees it, and of each view.

        The canonical view has no pair; it is given the mean of its features over the pairs.

        Args:
            images: in [0, 1].
            tokens: unused here; matching has tokens of its own.
            role: embedding of input or target view, or None.
        """
        batch, views = images.shape[:2]
        tokens = self.projection(patchify(_normalised(images), self.patch)) + self.position(self.spatial)
        canonical_type, other_type = self.view_type
        camera = torch.stack((self.code[0] + canonical_type, self.code[0])).expand(batch, views - 1, 2, -1)
        first = (tokens[:, :1] + canonical_type).expand(-1, views - 1, -1, -1)
        other = tokens[:, 1:] + other_type
        if role is not None:
            first, other = first + role[0], other + role[1:, None]
        pairs = torch.cat((camera, first, other), dim=2).flatten(0, 1)
        x = self.norm_out(self.blocks(self.norm_in(pairs), 2)).unflatten(0, (batch, views - 1))
        canonical = torch.cat((x[:, :, 0].mean(1, keepdim=True), x[:, :, 0]), dim=1)
        return canonical, torch.cat((canonical[:, :1], x[:, :, 1]), dim=1)


def _normalised(images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v 3 h w"]:
    """Zero mean a channel and unit deviation over all views of a sample, so that patches compare by content."""
    images = 2 * images - 1
    images = images - images.mean((1, 3, 4), keepdim=True)
    return images / (images.std((1, 2, 3, 4), keepdim=True) + 0.05)


@torch.no_grad()
def start_as_matcher(encoder: PairwiseCameraEncoder) -> None:
    """Let queries and keys of the first block compare patch content across the two views, and values read position.

    Token channels are shared out: content first, then (x, y), a random code of position, and last the view type as
    ±1. In every head all but one channel of queries and keys are the same random projection of content; the last
    favours tokens of the other view. Initial values only: everything is trained afterwards.
    """
    width = encoder.view_type.shape[1]
    content = width - min(32, width // 3)
    encoder.projection.weight[content:] = 0

    position = encoder.position.weight
    nn.init.zeros_(position)
    position[content, 0] = position[content + 1, 1] = 1
    nn.init.normal_(position[content + 2 : width - 1, 2:], std=0.1)
    nn.init.zeros_(encoder.view_type)
    encoder.view_type[:, -1] = torch.tensor((1.0, -1.0))

    attention = cast(Block, encoder.blocks[0]).attention
    queries, keys, values = attention.to_qkv.weight.split(width)
    nn.init.zeros_(queries)
    nn.init.zeros_(keys)
    compare = attention.head_width - 1
    for head in range(width // attention.head_width):
        rows = slice(head * attention.head_width, head * attention.head_width + compare)
        queries[rows, :content] = keys[rows, :content] = torch.randn(compare, content) / math.sqrt(content)
        queries[rows.stop, -1], keys[rows.stop, -1] = math.sqrt(compare), -math.sqrt(compare)
    nn.init.normal_(values[:, :content], std=0.03)
    nn.init.normal_(values[:, content:], std=0.25)
    nn.init.normal_(attention.out.weight, std=1 / math.sqrt(width))
    nn.init.constant_(attention.q_norm.weight, MATCHING_GAIN)
    nn.init.constant_(attention.k_norm.weight, MATCHING_GAIN)
