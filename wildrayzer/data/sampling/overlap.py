"""End frames of a sample by how much their views overlap, from true cameras (`views.curriculum.by: overlap`).

The depth of the content is not known, so that all of it is assumed to lie at `curriculum.depth`. Source: E-RayZer,
whose overlap comes from estimated geometry; this is a simpler measure of the same thing.
"""

import numpy as np
from jaxtyping import Float

from wildrayzer.config.sections.views import CurriculumConfig

_SIDE = 24
"""Points along the side of a view."""


def overlap_with_first(
    c2w: Float[np.ndarray, "n 4 4"], intrinsics: Float[np.ndarray, "n 4"], depth: float
) -> Float[np.ndarray, " n"]:
    """Share of each view that the first one sees, and of the first that it sees, as their mean; 1 for the first itself.

    Args:
        c2w: camera-to-world, OpenCV axes.
        intrinsics: fx fy cx cy, normalised by width and height.
        depth: of all content along the optical axis, in the unit of the camera centres.
    """
    x, y = np.meshgrid(*[(np.arange(_SIDE) + 0.5) / _SIDE] * 2)
    points = np.stack([x.ravel(), y.ravel()], -1)
    first, every = slice(0, 1), slice(None)
    pairs = ((first, every), (every, first))
    seen = [_share_seen(c2w[a], intrinsics[a], c2w[b], intrinsics[b], points, depth) for a, b in pairs]
    return np.mean(seen, axis=0)


def _share_seen(
    c2w: np.ndarray, intrinsics: np.ndarray, other: np.ndarray, lens: np.ndarray, points: np.ndarray, depth: float
) -> np.ndarray:
    """Share of the points of each view that the other one sees; one of the two may stand for all."""
    # The points of a view, put at the depth and taken to the world.
    local = (points - intrinsics[:, None, 2:]) / intrinsics[:, None, :2] * depth
    local = np.concatenate([local, np.full_like(local[..., :1], depth)], -1)
    world = local @ c2w[:, :3, :3].swapaxes(1, 2) + c2w[:, None, :3, 3]
    # The same points in the other camera: seen if they are before it and inside its picture.
    there = (world - other[:, None, :3, 3]) @ other[:, :3, :3]
    ahead = there[..., 2] > 0
    place = there[..., :2] / np.where(ahead, there[..., 2], 1.0)[..., None] * lens[:, None, :2] + lens[:, None, 2:]
    return (ahead & ((place >= 0) & (place <= 1)).all(-1)).mean(-1)


def ends_of_overlap(
    rng: np.random.Generator,
    cameras: tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 4"]],
    *,
    overlaps: tuple[float, float],
    distances: tuple[int, int],
    curriculum: CurriculumConfig,
) -> tuple[int, int]:
    """First end frame, at random, and a distance to the last one at which their overlap is what was drawn.

    Of the distances within `curriculum.tolerance` of it one is drawn; if there is none, the nearest is taken.

    Args:
        rng: random numbers.
        cameras: c2w and intrinsics of all frames of the clip.
        overlaps: range that the overlap is drawn from.
        distances: least and largest distance; the least fits into the clip.
        curriculum: the `views.curriculum` section.
    """
    c2w, intrinsics = cameras
    low, high = distances
    start = int(rng.integers(len(c2w) - low))
    frames = [start, *range(start + low, min(start + high, len(c2w) - 1) + 1)]
    away = np.abs(overlap_with_first(c2w[frames], intrinsics[frames], curriculum.depth)[1:] - rng.uniform(*overlaps))
    near = np.flatnonzero(away <= curriculum.tolerance)
    return start, low + int(rng.choice(near) if len(near) else away.argmin())
