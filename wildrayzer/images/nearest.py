"""The input view that was recorded nearest in time to a target view."""

import numpy as np
from jaxtyping import Int


def nearest_view(inputs: Int[np.ndarray, "*b k"], targets: Int[np.ndarray, "*b t"]) -> Int[np.ndarray, "*b t"]:
    """Index, among the inputs, of the one nearest in frame number to each target; the earlier one of two.

    Args:
        inputs: frame numbers of the input views, in any order.
        targets: frame numbers of the target views.
    """
    distance = np.abs(targets[..., :, None] - inputs[..., None, :])
    # Frame numbers are whole, so half a frame decides ties and nothing else.
    later = inputs[..., None, :] > targets[..., :, None]
    return (distance + 0.5 * later).argmin(-1)
