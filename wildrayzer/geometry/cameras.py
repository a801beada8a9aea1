"""Pinhole cameras of a batch of view sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Cameras:
    """Cameras of `v` views: camera-to-world, OpenCV axes (x right, y down, z forward), intrinsics normalised.

    `intrinsics` holds fx, fy, cx, cy; fx and cx are divided by the image width, fy and cy by its height, so that a
    camera does not depend on the resolution.
    """

    c2w: Float[Tensor, "b v 4 4"]
    intrinsics: Float[Tensor, "b v 4"]

    def select(self, index: slice | Sequence[int]) -> "Cameras":
        """The cameras of some views, by slice or list of view numbers."""
        views = index if isinstance(index, slice) else list(index)
        return Cameras(c2w=self.c2w[:, views], intrinsics=self.intrinsics[:, views])

    def field_of_view(self) -> Float[Tensor, "b v"]:
        """Horizontal field of view in radians, in (0, 2π); from π on the focal length is negative."""
        return 2 * torch.atan2(torch.full_like(self.intrinsics[..., 0], 0.5), self.intrinsics[..., 0])

    def to(self, device: torch.device | str) -> "Cameras":
        """The cameras on a device."""
        return Cameras(c2w=self.c2w.to(device), intrinsics=self.intrinsics.to(device))

    def detach(self) -> "Cameras":
        """The same cameras outside the autograd graph."""
        return Cameras(c2w=self.c2w.detach(), intrinsics=self.intrinsics.detach())


def rigid(rotation: Float[Tensor, "*b 3 3"], translation: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 4 4"]:
    """Homogeneous matrix of a rotation and a translation."""
    top = torch.cat((rotation, translation[..., None]), dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3].fill_(1.0)
    return torch.cat((top, bottom), dim=-2)


def invert_rigid(matrix: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Inverse of a rigid motion, exact up to rounding (no linear solve)."""
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation * matrix[..., None, :3, 3]).sum(-1))


def relative_to(c2w: Float[Tensor, "*b v 4 4"], reference: int) -> Float[Tensor, "*b v 4 4"]:
    """Camera-to-world matrices in the frame of the view number `reference`, whose own becomes the identity."""
    return invert_rigid(c2w[..., reference : reference + 1, :, :]) @ c2w


LVSM_SCALE = 1.35
"""Camera centres of a sample are divided by this times their largest coordinate."""


def normalise_poses(c2w: Float[Tensor, "*b v 4 4"], scale: float = LVSM_SCALE) -> Float[Tensor, "*b v 4 4"]:
    """Camera-to-world matrices of each sample in a frame that depends on all its views (LVSM).

    The origin is the mean camera centre, z the mean viewing direction, and y as near as possible to the mean down
    direction. Centres are then divided by `scale` × their largest absolute coordinate; where all coincide they stay
    0. A rigid motion or a scaling of the given poses changes nothing.

    Written as sums of products: a matrix product would run in reduced precision under autocast or TF32.
    """
    down = c2w[..., :3, 1].mean(-2)
    forward = functional.normalize(c2w[..., :3, 2].mean(-2), dim=-1)
    right = functional.normalize(torch.linalg.cross(down, forward), dim=-1)
    down = functional.normalize(torch.linalg.cross(forward, right), dim=-1)
    axes = torch.stack((right, down, forward), dim=-1)[..., None, :, :]
    centres = c2w[..., :3, 3] - c2w[..., :3, 3].mean(-2, keepdim=True)
    centres = (axes * centres[..., None]).sum(-2)
    rotation = (axes[..., None] * c2w[..., :3, None, :3]).sum(-3)
    largest = centres.abs().amax((-2, -1), keepdim=True)
    return rigid(rotation, centres / (scale * largest.clamp(min=torch.finfo(c2w.dtype).tiny)))
