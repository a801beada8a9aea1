"""Patches, position codes, and the tokenizers of images and rays.

Sources: docs/network.md#image-tokens, docs/network.md#rays.
"""

import math
from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.geometry.rays import fourier_code, patch_ordered_centres, plucker_at
from wildrayzer.models.dino_tokenizer import DinoTokenizer
from wildrayzer.models.transformer import initialise


def patchify(images: Float[Tensor, "b v c h w"], patch: int) -> Float[Tensor, "b v n e"]:
    """Patches row by row, each flattened as (row in patch, column in patch, channel)."""
    return rearrange(images, "b v c (gh ph) (gw pw) -> b v (gh gw) (ph pw c)", ph=patch, pw=patch)


def unpatchify(patches: Float[Tensor, "b v n e"], patch: int) -> Float[Tensor, "b v c h w"]:
    """Square images from their patches, the inverse of `patchify`."""
    grid = math.isqrt(patches.shape[2])
    return rearrange(patches, "b v (gh gw) (ph pw c) -> b v c (gh ph) (gw pw)", gh=grid, ph=patch, pw=patch)


def sinusoid(
    positions: Float[Tensor, "*n"] | Int[Tensor, "*n"], width: int, *, base: float = 10000.0
) -> Float[Tensor, "*n w"]:
    """All sines, then all cosines, of the positions at frequencies base^(−j / (width / 2))."""
    half = width // 2
    exponents = torch.arange(half, device=positions.device, dtype=torch.float32) / half
    angles = positions.float()[..., None] * base**-exponents
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def grid_sinusoid(grid: int, width: int) -> Float[Tensor, "n w"]:
    """Position code of a patch grid, on the CPU: sinusoid of the column, then of the row, each half as wide."""
    place = torch.arange(grid, device="cpu")
    columns, rows = place.repeat(grid), place.repeat_interleave(grid)
    return torch.cat((sinusoid(columns, width // 2), sinusoid(rows, width // 2)), dim=-1)


def two_layers(inside: int, width: int, outside: int, *, std: float, last_std: float | None = None) -> nn.Sequential:
    """Linear, SiLU, Linear; initial weights of deviation `std`, and `last_std` in the last layer where it differs."""
    last = nn.Linear(width, outside)
    layers = nn.Sequential(nn.Linear(inside, width), nn.SiLU(), last)
    initialise(layers, std)
    if last_std is not None:
        initialise(last, last_std)
    return layers


def pixel_patches(images: Float[Tensor, "b v 3 h w"], config: ModelConfig) -> Float[Tensor, "b v n e"]:
    """Patches of images in [0, 1], scaled to `image_range`."""
    return patchify(2 * images - 1 if config.image_range == "signed" else images, config.patch_size)


def _projection(config: ModelConfig) -> nn.Module:
    if config.image_tokenizer == "dinov3":
        return DinoTokenizer(config)
    return nn.Linear(3 * config.patch_size**2, config.width, bias=False)


class ImageTokenizer(nn.Module):
    """Image patches to tokens: a bias-free linear map or a ViT.

    A learned map of place and view number is added where one of them is on.
    """

    spatial: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.numbered, placed = config.view_embedding == "number", config.patch_positions == "sincos"
        self.projection: nn.Module = _projection(config)
        coded = placed or self.numbered
        self.position = two_layers(config.width, config.width, config.width, std=config.init_std) if coded else None
        spatial = grid_sinusoid(config.grid, config.width // 2)
        self.register_buffer("spatial", spatial if placed else torch.zeros_like(spatial), persistent=False)
        if isinstance(self.projection, nn.Linear):
            initialise(self.projection, config.init_std)

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that no stage trains."""
        if isinstance(self.projection, DinoTokenizer):
            yield from self.projection.frozen_parameters()

    def forward(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v n d"]:
        """Tokens of images in [0, 1]. The half of the code that the options leave out, place or number, is zero."""
        linear = self.config.image_tokenizer == "linear"
        tokens = self.projection(pixel_patches(images, self.config) if linear else images)
        return tokens if self.position is None else tokens + self.position(self._code(images.shape[1], images.device))

    def _code(self, views: int, device: torch.device) -> Float[Tensor, "v n d"]:
        views = views if self.numbered else 1
        n, half = self.spatial.shape
        number = torch.arange(views, device=device)
        index = sinusoid(number, half) if self.numbered else self.spatial.new_zeros(1, half)
        return torch.cat((self.spatial.expand(views, n, half), index[:, None].expand(views, n, half)), dim=-1)


class RayTokenizer(nn.Module):
    """The Plücker rays of each patch through one bias-free linear map."""

    points: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        fourier = config.ray_encoding == "fourier"
        self.octaves = config.ray_octaves if fourier else 0
        self.samples = config.ray_samples if fourier else config.patch_size
        self.projection = nn.Linear(6 * (1 + 2 * self.octaves) * self.samples**2, config.width, bias=False)
        points = patch_ordered_centres(config.grid, self.samples)
        self.register_buffer("points", points.flatten(0, 1), persistent=False)
        initialise(self, config.init_std)

    def forward(self, cameras: Cameras) -> Float[Tensor, "b v n d"]:
        """Ray tokens of every view."""
        rays = plucker_at(cameras, self.points)
        if self.octaves:
            rays = fourier_code(rays, self.octaves)
        return self.projection(rays.unflatten(2, (-1, self.samples**2)).flatten(3))
