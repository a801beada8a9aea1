"""What rays have met so far, and textures as packed colours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8, UInt32

FACE_SHADE = np.array([0.82, 0.82, 0.7, 1.0, 0.92, 1.0], np.float32)
"""Brightness of the faces −x, +x, −y, +y, −z, +z."""
NEAR = 0.05
"""Nothing nearer than this is seen, in metres."""


@dataclass
class Canvas:
    """Depth and packed colour of every sample; windows of it are drawn on."""

    grid: Float32[np.ndarray, " m"]
    depth: Float32[np.ndarray, "t m m"]
    colour: UInt32[np.ndarray, "t m m"]


def pack(colours: UInt8[np.ndarray, "*n 3"]) -> UInt32[np.ndarray, "*n"]:
    """Four bytes a colour: one gather instead of three."""
    padded = np.zeros((*colours.shape[:-1], 4), np.uint8)
    padded[..., :3] = colours
    return padded.view(np.uint32)[..., 0]


def shaded_faces(textures: UInt8[np.ndarray, "6 side side 3"]) -> UInt32[np.ndarray, " texels"]:
    """Six textures, shaded as faces and flattened, for `texel` to index."""
    shaded = (textures * FACE_SHADE[:, None, None, None]).astype(np.uint8)
    return pack(shaded).reshape(-1)


def texel(face: np.ndarray, u: np.ndarray, v: np.ndarray, side: int) -> np.ndarray:
    """Index into the flattened faces; u and v in [-1, 1]."""
    half, last = side / 2, side - 1
    column = np.minimum(((u + 1) * half).astype(np.int32), last)
    row = np.minimum(((v + 1) * half).astype(np.int32), last)
    np.maximum(column, 0, out=column)
    np.maximum(row, 0, out=row)
    return (face * side + row) * side + column
