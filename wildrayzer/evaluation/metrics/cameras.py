"""Do predicted cameras follow the true ones? A regression over scenes, blind to the gauge."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

DEGREES = ("tx", "ty", "tz", "rx", "ry", "rz", "shift")
SHIFT_DEPTH = 3.0
RIDGE = 1e-5


def relative_motion(c2w: Float[np.ndarray, "s v 4 4"]) -> Float[np.ndarray, "s v_1 6"]:
    """Translation and rotation vector (radians) of every other view in the frame of the first (OpenCV axes)."""
    rotation, centre = c2w[..., :3, :3].astype(np.float64), c2w[..., :3, 3].astype(np.float64)
    to_first = rotation[:, :1].swapaxes(-1, -2)
    translation = (to_first @ (centre[:, 1:] - centre[:, :1])[..., None])[..., 0]
    turn = Rotation.from_matrix((to_first @ rotation[:, 1:]).reshape(-1, 3, 3)).as_rotvec()
    return np.concatenate([translation, turn.reshape(translation.shape)], axis=-1)


def camera_r2(
    predicted: Float[np.ndarray, "s v 4 4"],
    true: Float[np.ndarray, "s v 4 4"],
    *,
    least_deviation: float = 1e-3,
) -> dict[str, float]:
    """R² of a linear regression of true relative cameras on predicted ones, per degree of freedom.

    Views are taken relative to the first; the regression (standardised, with a ridge of 1e-5 of the number of rows) is
    fitted on the first half of the scenes and evaluated on the second. A linear map absorbs the gauge, which
    self-supervised cameras are free to choose; cameras that say nothing about the scene score 0 or less, whatever
    swapping poses does to the rendering.

    Degrees of freedom: translation `tx ty tz` in scene units, rotation vector `rx ry rz` in radians, and
    `shift` = tx / 3 + ry, the sideways move of content at depth 3, since a slide and a pan look alike. Those that vary
    by less than `least_deviation` (standard deviation over the evaluated scenes) are left out.

    Args:
        predicted: camera-to-world of `s` scenes; view 0 is the reference.
        true: the same views' true camera-to-world.

    Raises:
        ValueError: fewer than two scenes or two views.
    """
    if len(true) < 2 or true.shape[1] < 2:
        raise ValueError(f"camera R² needs at least 2 scenes of 2 views, got {true.shape[0]} of {true.shape[1]}")
    # Motion relative to the first view; a slide and a pan look alike, so their sum at a fixed depth is a degree too.
    half = len(true) // 2
    inputs, outputs = relative_motion(predicted), relative_motion(true)
    outputs = np.concatenate([outputs, outputs[..., :1] / SHIFT_DEPTH + outputs[..., 4:5]], axis=-1)

    def rows(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, values.shape[-1])

    # Inputs are standardised by the half that is fitted, with a column of ones for the constant term.
    centre, scale = rows(inputs[:half]).mean(0), rows(inputs[:half]).std(0) + 1e-6

    def design(values: np.ndarray) -> np.ndarray:
        standard = (rows(values) - centre) / scale
        return np.concatenate([standard, np.ones((len(standard), 1))], axis=1)

    # Ridge regression on the first half, R² on the second.
    fitted, held_out = design(inputs[:half]), design(inputs[half:])
    ridge = RIDGE * len(fitted) * np.eye(fitted.shape[1])
    weights = np.linalg.solve(fitted.T @ fitted + ridge, fitted.T @ rows(outputs[:half]))
    truth = rows(outputs[half:])
    error = np.square(held_out @ weights - truth).sum(0)
    variation = np.square(truth - rows(outputs[:half]).mean(0)).sum(0)
    varies = truth.std(0) > least_deviation
    return {name: float(1 - error[i] / variation[i]) for i, name in enumerate(DEGREES) if varies[i]}


def camera_spread(c2w: Float[np.ndarray, "s v 4 4"]) -> float:
    """Largest standard deviation over scenes and views of a relative camera's six numbers.

    Near 0 the cameras are the same for every scene: the renderer reads a view's place off something else.
    """
    motion = relative_motion(c2w)
    return float(motion.reshape(-1, 6).std(0).max())
