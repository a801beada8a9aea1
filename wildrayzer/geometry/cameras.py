"""Pinhole cameras of a batch of view sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


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
