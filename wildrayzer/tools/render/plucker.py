"""Plücker rays as pictures: directions, moments, and whether they are valid lines."""

import numpy as np
from jaxtyping import Float, UInt8


def direction_picture(directions: Float[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Unit directions (x right, y down, z forward, of the canonical view) as red, green and blue, −1 to 1."""
    return ((np.clip(directions.transpose(1, 2, 0), -1, 1) + 1) * 127.5).round().astype(np.uint8)


def moment_length(rays: Float[np.ndarray, "6 h w"]) -> Float[np.ndarray, "h w"]:
    """‖o × d‖ of rays (moment first, direction of unit length): the ray's distance from the origin, in scene units."""
    return np.linalg.norm(rays[:3], axis=0)


def klein_residual(rays: Float[np.ndarray, "6 h w"]) -> Float[np.ndarray, "h w"]:
    """|m · d|: 0 for the coordinates of a line (the Klein quadric), otherwise the distance from one."""
    return np.abs((rays[:3] * rays[3:]).sum(0))
