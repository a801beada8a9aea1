"""Two-dimensional rotary position embedding of queries and keys (`patch_positions: rope2d`, Open-RayZer).

A head's channels are rotated in pairs by angles that grow with the place of the token, the first half by its row and
the second half by its column. The product of a query and a key then depends on the difference of their places only.
Differs from the paper.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildrayzer.config.sections.model import ModelConfig


def patch_angles(grid: int, head_width: int, base: float) -> Float[Tensor, "n 2 j"]:
    """Angles of the patches of a grid, on the CPU: row angles, then column angles, of j = head_width / 4 pairs.

    Rows and columns count from 1; place 0 belongs to tokens that are no patch. Pair number i of a half turns by
    base^(−i / j) for each step.
    """
    pairs = head_width // 4
    frequencies = base ** -(torch.arange(pairs, device="cpu", dtype=torch.float32) / pairs)
    place = torch.arange(1, grid + 1, device="cpu", dtype=torch.float32)
    places = torch.stack((place.repeat_interleave(grid), place.repeat(grid)), dim=-1)
    return places[..., None] * frequencies


def rotate(x: Float[Tensor, "b n h c"], angles: Float[Tensor, "n 2 j"]) -> Float[Tensor, "b n h c"]:
    """Rotate the channels of each head by the angles of its token, in float32 where the angles are.

    Within a half of the channels, channel i is paired with channel i + j.
    """
    first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    turned = torch.stack((first * cosine - second * sine, second * cosine + first * sine), dim=-2)
    return turned.flatten(-3)


class RotaryPositions(nn.Module):
    """Angles of the token sequences of a stack."""

    patches: Tensor

    def __init__(self, config: ModelConfig, head_width: int | None = None) -> None:
        super().__init__()
        angles = patch_angles(config.grid, head_width or config.head_width, config.rope_base)
        self.register_buffer("patches", angles, persistent=False)

    def forward(self, plain: int, views: int) -> Float[Tensor, "m 2 j"]:
        """Angles of `plain` tokens that are no patch, which are not rotated, and of the patches of `views` views.

        All views share the same places.
        """
        still = self.patches.new_zeros(plain, *self.patches.shape[1:])
        return torch.cat((still, self.patches.repeat(views, 1, 1)))


def rotary_positions(config: ModelConfig, head_width: int | None = None) -> RotaryPositions | None:
    """The rotary positions of a stack, or None where the configuration has other positions."""
    return RotaryPositions(config, head_width) if config.patch_positions == "rope2d" else None
