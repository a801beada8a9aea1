"""Plücker rays: the code through which the network sees cameras (docs/network.md#rays)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.geometry.cameras import Cameras


def pixel_centres(height: int, width: int) -> Float[Tensor, "h w 2"]:
    """Normalised image coordinates (x, y) in (0, 1) of the pixel centres, on the CPU."""
    y = (torch.arange(height, device="cpu") + 0.5) / height
    x = (torch.arange(width, device="cpu") + 0.5) / width
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1)


def patch_ordered_centres(grid: int, samples: int) -> Float[Tensor, "n s 2"]:
    """Ray positions of a `grid` × `grid` patch image with `samples`² rays a patch, in the order of the patch tokens.

    `n` = grid² patches row by row, `s` = samples² positions within a patch row by row.
    """
    points = pixel_centres(grid * samples, grid * samples).view(grid, samples, grid, samples, 2)
    return points.transpose(1, 2).reshape(grid * grid, samples * samples, 2)


def plucker_at(cameras: Cameras, points: Float[Tensor, "p 2"]) -> Float[Tensor, "b v p 6"]:
    """Plücker coordinates (moment o × dir, then unit direction dir) of the rays through image points.

    Args:
        cameras: c2w, OpenCV axes; `o` is the camera centre.
        points: normalised image coordinates (x, y).

    Written as sums of products: a matrix product would run in reduced precision under autocast or TF32.
    """
    focal, centre = cameras.intrinsics[:, :, None, :2], cameras.intrinsics[:, :, None, 2:]
    local = (points - centre) / focal
    rotation = cameras.c2w[:, :, None, :3, :3]
    direction = local[..., :1] * rotation[..., 0] + local[..., 1:] * rotation[..., 1] + rotation[..., 2]
    # the rotation keeps lengths, so the local ray gives the norm
    direction = direction * torch.rsqrt(local.square().sum(-1, keepdim=True) + 1)
    origin = cameras.c2w[:, :, None, :3, 3].expand_as(direction)
    return torch.cat((torch.linalg.cross(origin, direction, dim=-1), direction), dim=-1)


def plucker_rays(cameras: Cameras, height: int, width: int) -> Float[Tensor, "b v 6 h w"]:
    """Plücker rays through all pixel centres, moment first; directions have unit length."""
    points = pixel_centres(height, width).to(cameras.c2w)
    rays = plucker_at(cameras, points.view(-1, 2))
    return rays.transpose(-1, -2).unflatten(-1, (height, width))


def fourier_code(rays: Float[Tensor, "*b 6"], octaves: int) -> Float[Tensor, "*b c"]:
    """The 6 ray coordinates, then sines and cosines of each at frequencies π/2 · 2^k, k = 0 .. octaves − 1.

    Differs from the paper, which uses the coordinates alone.
    """
    frequencies = 0.5 * math.pi * 2.0 ** torch.arange(octaves, device=rays.device, dtype=rays.dtype)
    angles = (rays[..., None] * frequencies).flatten(-2)
    return torch.cat((rays, angles.sin(), angles.cos()), dim=-1)
