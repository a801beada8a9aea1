"""Smooth camera paths through given cameras, for video."""

import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.geometry.cameras import Cameras, rigid


def interpolate_cameras(cameras: Cameras, frames: int) -> Cameras:
    """A path of `frames` cameras through the given ones in their order, equally spaced between neighbours.

    Positions and intrinsics follow a Catmull-Rom spline, rotations the shortest great arcs with eased speed, so that
    the path starts and ends at rest and has no corner in position. The first and last frames are the end cameras.

    Raises:
        ValueError: fewer than two cameras or fewer than two frames.
    """
    import roma  # here, since it loads torch's compiler, which takes a second

    views = cameras.c2w.shape[1]
    if views < 2 or frames < 2:
        raise ValueError(
            f"a camera path needs at least 2 cameras and 2 frames, got {views} cameras and frames = {frames}"
        )
    place = torch.linspace(0, views - 1, frames, device=cameras.c2w.device, dtype=cameras.c2w.dtype)
    start = place.floor().clamp(max=views - 2)
    share = place - start
    left = start.long()

    eased = share * share * (3 - 2 * share)
    rotation = cameras.c2w[:, :, :3, :3]
    turn = roma.rotmat_to_rotvec(rotation[:, left].transpose(-1, -2) @ rotation[:, left + 1])
    rotations = rotation[:, left] @ roma.rotvec_to_rotmat(turn * eased[:, None])
    positions = _catmull_rom(cameras.c2w[:, :, :3, 3], left, share)
    return Cameras(c2w=rigid(rotations, positions), intrinsics=_catmull_rom(cameras.intrinsics, left, share))


def _catmull_rom(
    values: Float[Tensor, "b v c"], left: torch.Tensor, share: Float[Tensor, " f"]
) -> Float[Tensor, "b f c"]:
    """Cubic Hermite spline whose tangents are half the difference of a point's neighbours, one-sided at the ends."""
    last = values.shape[1] - 1
    slope = (values[:, [*range(1, last + 1), last]] - values[:, [0, *range(last)]]) / 2
    t = share[:, None]
    position = (2 * t**3 - 3 * t**2 + 1) * values[:, left] + (3 * t**2 - 2 * t**3) * values[:, left + 1]
    return position + (t**3 - 2 * t**2 + t) * slope[:, left] + (t**3 - t**2) * slope[:, left + 1]
