"""One mask or rendering of another tool, read from its file (layouts: docs/benchmarks.md). Needs no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.pixels import opaque, read_numbers, read_picture
from wildrayzer.images import UNKNOWN
from wildrayzer.io.arrays import read_npy

_TOLERANCE = 1e-6


def read_mask_file(path: Path, size: int) -> UInt8[np.ndarray, "h w"]:
    """A mask from NPY (integers or bool) or a picture (grey of any depth, palette numbers, or opaque colours).

    In the file 0 (black) is static and anything else transient; returned is 1 = transient.

    Raises:
        ValueError: the file is unreadable, of another size or type, has negative values, or pixels marked as unknown.
    """
    pixels = read_npy(path) if path.suffix.lower() == ".npy" else _picture(path, read_numbers)
    array = _checked(pixels, path, (size, size), "the mask")
    if array.dtype.kind not in "biu":
        raise ValueError(f"{path}: {array.dtype}; store integers or bool, 0 = static (threshold probabilities first)")
    if array.min() < 0:
        raise ValueError(f"{path}: holds {array.min()}, which may mean anything; store 0 = static, 1 = transient")
    if {1, UNKNOWN} <= set(np.unique(array).tolist()) <= {0, 1, UNKNOWN}:
        raise ValueError(
            f"{path}: holds 1 and 255, where 255 seems to stand for unknown; store 0 = static, 1 = transient for every "
            "pixel"
        )
    return (array != 0).astype(np.uint8)


def read_rendering_file(path: Path, size: int) -> Float[np.ndarray, "h w 3"]:
    """A rendering in [0, 1] from an opaque picture of 8 bits, or from NPY in floating point.

    Raises:
        ValueError: the file is unreadable, of another size, depth or type, transparent, holds NaN, or leaves [0, 1].
    """
    shape = (size, size, 3)
    if path.suffix.lower() != ".npy":
        return _checked(_picture(path, _colours), path, shape, "the rendering").astype(np.float32) / 255
    array = _checked(read_npy(path), path, shape, "the rendering")
    if array.dtype.kind != "f":
        raise ValueError(f"{path}: {array.dtype}; store floating point values in [0, 1] (divide by 255)")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {int((~np.isfinite(array)).sum())} values are NaN or infinite; write finite values")
    if array.min() < -_TOLERANCE or array.max() > 1 + _TOLERANCE:
        raise ValueError(f"{path}: spans [{array.min():g}, {array.max():g}]; scale to [0, 1]")
    return array.astype(np.float32)


def _picture(path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    try:
        return read(path)
    except BadSceneError as error:
        raise ValueError(f"{error.detail}; write it again") from None


def _colours(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    return opaque(read_picture(path), path)


def _checked(array: np.ndarray, path: Path, shape: tuple[int, ...], what: str) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(
            f"{path}: {what} has shape {array.shape}, the stored frames need {shape}; crop to the centre square and "
            "resize as the frames are (docs/benchmarks.md)"
        )
    return array
