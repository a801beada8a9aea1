"""Pose accuracy against true cameras, and the alignment of two sets of cameras by a similarity.

R² (`cameras`) forgives a gauge that is warped; these measures do not. Source: docs/benchmarks.md#pose-accuracy.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float

RPA_DEGREES = (5, 15, 30)
"""Thresholds of the relative pose accuracy (E-RayZer)."""
AUC_DEGREES = (5, 10, 20)
"""Thresholds of the area under the accuracy curve."""
_NO_BASELINE = 1e-6
"""Views whose true centres are closer, in scene units, have no direction between them."""


def _angle(cosine: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def pair_errors(
    predicted: Float[np.ndarray, "s v 4 4"], true: Float[np.ndarray, "s v 4 4"]
) -> tuple[Float[np.ndarray, "s p"], Float[np.ndarray, "s p"]]:
    """Errors of the relative pose of every pair of views, in degrees, p = v (v − 1) / 2.

    Args:
        predicted: camera-to-world, in any frame and scale.
        true: camera-to-world of the same views.

    Returns:
        Angle between the relative rotations, and angle between the directions of translation, both in [0, 180]. The
        latter is 0 where the true centres coincide, and 180 where only the predicted ones do.

    Raises:
        ValueError: fewer than two views.
    """
    if true.shape[1] < 2:
        raise ValueError(f"relative poses need at least 2 views, got {true.shape[1]}")
    first, second = (list(side) for side in zip(*combinations(range(true.shape[1]), 2), strict=True))

    def relative(c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rotation, centre = c2w[..., :3, :3].astype(np.float64), c2w[..., :3, 3].astype(np.float64)
        to_first = rotation[:, first].swapaxes(-1, -2)
        offset = (to_first @ (centre[:, second] - centre[:, first])[..., None])[..., 0]
        return to_first @ rotation[:, second], offset

    (turn, offset), (true_turn, true_offset) = relative(predicted), relative(true)
    # The trace of R̂ᵀR is 1 + 2 cos of the angle between both rotations.
    rotation_error = _angle((np.einsum("spij,spij->sp", turn, true_turn) - 1) / 2)
    length, true_length = np.linalg.norm(offset, axis=-1), np.linalg.norm(true_offset, axis=-1)
    cosine = (offset * true_offset).sum(-1) / np.maximum(length * true_length, 1e-300)
    translation_error = np.where(length > 0, _angle(cosine), 180.0)
    return rotation_error, np.where(true_length < _NO_BASELINE, 0.0, translation_error)


def pose_accuracy(predicted: Float[np.ndarray, "s v 4 4"], true: Float[np.ndarray, "s v 4 4"]) -> dict[str, float]:
    """`rpa_5`, `rpa_15`, `rpa_30` and `auc_5`, `auc_10`, `auc_20` over all pairs of views of all scenes, in [0, 1].

    RPA@τ is the share of pairs whose rotation and translation errors are both below τ degrees. AUC@τ is the area under
    the share of pairs whose larger error is below t, over t from 0 to τ, divided by τ; it is integrated exactly.

    Raises:
        ValueError: fewer than two views.
    """
    worst = np.maximum(*pair_errors(predicted, true))
    rpa = {f"rpa_{limit}": float((worst < limit).mean()) for limit in RPA_DEGREES}
    auc = {f"auc_{limit}": float(np.maximum(0.0, 1 - worst / limit).mean()) for limit in AUC_DEGREES}
    return rpa | auc


def umeyama(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> tuple[float, Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Scale s, rotation R and translation t with least squared distance of s R x + t to the target points.

    Source: S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991.

    Raises:
        ValueError: the points lie on a line or in one place, so that the rotation is not determined.
    """
    centre, target_centre = source.mean(0), target.mean(0)
    a, b = source - centre, target - target_centre
    for points in (a, b):
        spread = np.linalg.svd(points, compute_uv=False)
        if len(spread) < 2 or spread[1] <= 1e-9 * max(spread[0], 1e-300):
            raise ValueError(
                "the points lie on a line or coincide, so that no rotation between both sets can be found; use cameras "
                "at different places"
            )
    left, singular, right = np.linalg.svd(b.T @ a / len(a))
    # A reflection would fit as well or better where the sign is negative: turn the weakest direction back.
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * sign) @ right
    scale = float((singular * sign).sum() / np.square(a).sum(1).mean())
    return scale, rotation, target_centre - scale * rotation @ centre


def align_cameras(
    source: Float[np.ndarray, "v 4 4"], target: Float[np.ndarray, "v 4 4"]
) -> tuple[float, Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """The similarity that carries cameras into the frame of the same cameras in another frame.

    `umeyama` on the centres and on a point along each axis of every camera, as far from it as the centres are spread:
    two cameras are then enough.

    Raises:
        ValueError: fewer than two cameras, or centres that coincide, which leave the scale open.
    """
    points = []
    for cameras in (source, target):
        centres = cameras[:, :3, 3].astype(np.float64)
        spread = np.sqrt(np.square(centres - centres.mean(0)).sum(1).mean())
        if len(centres) < 2 or spread < 1e-9:
            raise ValueError(
                f"{len(centres)} cameras whose centres are within {spread:.1e} of each other determine no scale; use "
                "at least 2 cameras at different places"
            )
        axes = cameras[:, :3, :3].astype(np.float64).swapaxes(-1, -2)
        points.append(np.concatenate([centres, *(centres + spread * axes[:, axis] for axis in range(3))]))
    return umeyama(*points)


def transform_cameras(
    c2w: Float[np.ndarray, "*v 4 4"], similarity: tuple[float, Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]
) -> Float[np.ndarray, "*v 4 4"]:
    """Camera-to-world in the frame into which a similarity leads."""
    scale, rotation, translation = similarity
    moved = c2w.astype(np.float64).copy()
    moved[..., :3, :3] = rotation @ moved[..., :3, :3]
    moved[..., :3, 3] = scale * (c2w[..., :3, 3] @ rotation.T) + translation
    return moved
