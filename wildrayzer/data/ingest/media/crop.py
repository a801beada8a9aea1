"""The square window of a recording that is taken."""

import re

import numpy as np
from jaxtyping import UInt8

CENTRE = "centre"
_PLACES = {CENTRE: (0.5, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0), "left": (0.0, 0.5), "right": (1.0, 0.5)}
_NUMBERS = re.compile(r"(\d*\.?\d+),(\d*\.?\d+)")


def place_of(crop: str) -> tuple[float, float]:
    """Where a window lies, from 0 (left, top) to 1 (right, bottom).

    Args:
        crop: `centre`, `top`, `bottom`, `left`, `right`, or both numbers, `x,y`.

    Raises:
        ValueError: it is none of these.
    """
    if crop in _PLACES:
        return _PLACES[crop]
    found = _NUMBERS.fullmatch(crop)
    x, y = (float(found[1]), float(found[2])) if found else (-1.0, -1.0)
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(
            f"--crop {crop}: give {', '.join(_PLACES)}, or x,y from 0,0 (left, top) to 1,1 (right, bottom)"
        )
    return x, y


def window(width: int, height: int, crop: str) -> tuple[slice, slice]:
    """Rows and columns of the largest square window of a frame, see `place_of`."""
    side = min(width, height)
    x, y = place_of(crop)
    left, top = round(x * (width - side)), round(y * (height - side))
    return slice(top, top + side), slice(left, left + side)


def outlined(image: UInt8[np.ndarray, "h w 3"], crop: str) -> UInt8[np.ndarray, "h w 3"]:
    """A frame with everything dark that is outside the window."""
    part = window(image.shape[1], image.shape[0], crop)
    dark = image // 4
    dark[part] = image[part]
    return dark
