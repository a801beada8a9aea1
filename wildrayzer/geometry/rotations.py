"""Rotation matrices from the representations of the pose heads."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def rotation_from_6d(values: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 3 3"]:
    """Gram-Schmidt of two 3-vectors (a1, a2) and their cross product, stacked as columns.

    `(1, 0, 0, 0, 1, 0)` gives the identity. See docs/network.md#rotations.
    """
    first = functional.normalize(values[..., :3], dim=-1)
    second = values[..., 3:]
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    third = torch.linalg.cross(first, second, dim=-1)
    return torch.stack((first, second, third), dim=-1)


def rotation_from_quaternion(values: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation of the quaternion (w, x, y, z), which is normalised first; `(1, 0, 0, 0)` gives the identity."""
    w, x, y, z = functional.normalize(values, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def nearest_rotation(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation nearest in the Frobenius norm to a matrix whose rows are scaled to unit length first (Pi3).

    A rotation comes back as it is. Gradients are damped where the nearest rotation is not unique.
    """
    import roma  # here, since it loads torch's compiler, which takes a second of every job

    return roma.special_procrustes(functional.normalize(matrix, dim=-1))
