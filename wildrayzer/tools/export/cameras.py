"""Cameras in pixels, checked before another tool reads them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from wildrayzer.tools.export.source import Camera, ExportFrame, ExportSource

_TOLERANCE = 1e-3
"""Largest entry of RᵀR − 1 of a rotation; predicted ones are rotations to float32."""


def with_cameras(source: ExportSource) -> str:
    """What the cameras of a source are.

    Raises:
        ValueError: it has none.
    """
    if source.cameras is None:
        raise ValueError(
            f"{source.path} has no cameras; predict them with `wildrayzer render CHECKPOINT IMAGES --out VIEWS`, then "
            "export the folder VIEWS"
        )
    return source.cameras


def in_pixels(camera: Camera, frame: ExportFrame) -> Float[np.ndarray, "4"]:
    """fx fy cx cy in pixels; the centre of the upper left pixel is at (0.5, 0.5), as in COLMAP and nerfstudio."""
    height, width = frame.image.shape[:2]
    return camera.intrinsics * np.array([width, height, width, height])


def checked(frame: ExportFrame, *, where: str) -> Camera:
    """The camera of a frame.

    Args:
        frame: of a source with cameras.
        where: scene, for the message.

    Raises:
        ValueError: the camera is not finite, has no focal length, or its axes are no rotation.
    """
    camera = frame.camera
    assert camera is not None, "the source has cameras"
    rotation = camera.c2w[:3, :3]
    if not (np.isfinite(camera.c2w).all() and np.isfinite(camera.intrinsics).all()):
        wrong = "is not finite"
    elif (camera.intrinsics[:2] <= 0).any():
        wrong = f"has the focal lengths {camera.intrinsics[:2].tolist()}, not above 0"
    elif np.abs(rotation.T @ rotation - np.eye(3)).max() > _TOLERANCE or np.linalg.det(rotation) < 0:
        wrong = "is no rigid motion"
    else:
        return camera
    raise ValueError(f"{where}, frame {frame.number}: the camera {wrong}; leave the scene out with --scene")


def all_equal(intrinsics: Sequence[Float[np.ndarray, "4"]]) -> bool:
    """Whether all images of a scene share one camera model."""
    return all(np.array_equal(row, intrinsics[0]) for row in intrinsics)
