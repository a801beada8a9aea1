"""One mask or rendering of another tool, read from its file (layouts: docs/benchmarks.md). Needs no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.data.readers.base import BadSceneError, Fit
from wildrayzer.data.readers.davis import read_annotation
from wildrayzer.data.readers.pixels import opaque, read_numbers, read_picture
from wildrayzer.images import UNKNOWN
from wildrayzer.io.arrays import read_npy

_TOLERANCE = 1e-6


def read_mask_file(
    path: Path, size: int, *, recorded: tuple[int, int] | None = None, void: bool = False
) -> UInt8[np.ndarray, "h w"]:
    """A mask from NPY (integers or bool) or a picture (grey of any depth, palette numbers, or opaque colours).

    Args:
        path: in the file 0 (black) is static and anything else transient.
        size: side of the stored frames.
        recorded: width and height of the frames before they were fitted; a mask of this size is fitted as they were.
        void: the file is an annotation of DAVIS, in which 255 may stand for unknown (`read_annotation`).

    Returns:
        1 = transient, 0 = static, with `void` 255 = unknown.

    Raises:
        ValueError: the file is unreadable, of another size or type, has negative values, or pixels marked as unknown.
    """
    if void and path.suffix.lower() != ".npy":
        return _fitted(_picture(path, lambda file: read_annotation(file)[0]), path, size, recorded)
    array = read_npy(path) if path.suffix.lower() == ".npy" else _picture(path, read_numbers)
    if array.dtype.kind not in "biu":
        raise ValueError(f"{path}: {array.dtype}; store integers or bool, 0 = static (threshold probabilities first)")
    if array.size and array.min() < 0:
        raise ValueError(f"{path}: holds {array.min()}, which may mean anything; store 0 = static, 1 = transient")
    if {1, UNKNOWN} <= set(np.unique(array).tolist()) <= {0, 1, UNKNOWN}:
        raise ValueError(
            f"{path}: holds 1 and 255, where 255 seems to stand for unknown; store 0 = static, 1 = transient for every "
            "pixel"
        )
    return _fitted((array != 0).astype(np.uint8), path, size, recorded)


def _fitted(
    mask: UInt8[np.ndarray, "..."], path: Path, size: int, recorded: tuple[int, int] | None
) -> UInt8[np.ndarray, "h w"]:
    """A mask of a stored frame as it is, and one of a recorded frame cropped and resized like the frame."""
    if recorded is not None and mask.shape == recorded[::-1]:
        return Fit.of(*recorded, size).mask(mask)
    return _checked(mask, path, (size, size), "the mask", recorded)


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


def _checked(
    array: np.ndarray, path: Path, shape: tuple[int, ...], what: str, recorded: tuple[int, int] | None = None
) -> np.ndarray:
    if array.shape != shape:
        whole = f" (or {recorded[::-1]} for the whole recorded frame)" if recorded else ""
        raise ValueError(
            f"{path}: {what} has shape {array.shape}, the stored frames need {shape}{whole}; crop to the centre square "
            "and resize as the frames are (docs/benchmarks.md)"
        )
    return array
