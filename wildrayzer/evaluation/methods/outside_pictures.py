"""One mask or rendering of another tool, read from its file (layouts: docs/benchmarks.md). Needs no torch."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

BROKEN_ARRAY = (OSError, ValueError, EOFError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for a damaged NPY or NPZ file; RuntimeError for one that is encrypted or packed in another way."""
_BROKEN_PICTURE = (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError)
_TOLERANCE = 1e-6
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


def read_mask_file(path: Path, size: int) -> UInt8[np.ndarray, "h w"]:
    """A mask from NPY (integers or bool) or a picture (grey of any depth, palette numbers, or opaque colours).

    In the file 0 (black) is static and anything else transient; returned is 1 = transient.

    Raises:
        ValueError: the file is unreadable, of another size or type, or has negative values.
    """
    array = _checked(_array(path) if path.suffix.lower() == ".npy" else _numbers(path), path, (size, size), "the mask")
    if array.dtype.kind not in "biu":
        raise ValueError(f"{path}: {array.dtype}; store integers or bool, 0 = static (threshold probabilities first)")
    if array.min() < 0:
        raise ValueError(f"{path}: holds {array.min()}, which may mean anything; store 0 = static, 1 = transient")
    return (array != 0).astype(np.uint8)


def read_rendering_file(path: Path, size: int) -> Float[np.ndarray, "h w 3"]:
    """A rendering in [0, 1] from an opaque picture of 8 bits, or from NPY in floating point.

    Raises:
        ValueError: the file is unreadable, of another size, depth or type, transparent, holds NaN, or leaves [0, 1].
    """
    shape = (size, size, 3)
    if path.suffix.lower() != ".npy":
        return _checked(_colours(path), path, shape, "the rendering").astype(np.float32) / 255
    array = _checked(_array(path), path, shape, "the rendering")
    if array.dtype.kind != "f":
        raise ValueError(f"{path}: {array.dtype}; store floating point values in [0, 1] (divide by 255)")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {int((~np.isfinite(array)).sum())} values are NaN or infinite; write finite values")
    if array.min() < -_TOLERANCE or array.max() > 1 + _TOLERANCE:
        raise ValueError(f"{path}: spans [{array.min():g}, {array.max():g}]; scale to [0, 1]")
    return array.astype(np.float32)


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except BROKEN_ARRAY as error:
        raise _unreadable(path, error) from None


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except _BROKEN_PICTURE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: cannot be read: {error}; write it again")


def _numbers(path: Path) -> np.ndarray:
    """Pixels as the file numbers them: a palette's colours say nothing. Of a colour picture the largest channel."""
    image = _picture(path)
    return np.asarray(image) if image.mode in _NUMBERS else _opaque(image, path).max(axis=-1)


def _colours(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    return _opaque(_picture(path), path)


def _opaque(image: Image.Image, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB; what it cannot hold is refused, since converting would clip 16 bits and drop transparency."""
    if image.mode not in _EIGHT_BITS:
        raise ValueError(
            f"{path}: a picture of mode {image.mode}, which is more than 8 bits; store 8-bit RGB, or NPY in floating "
            "point"
        )
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] < 255).any():
        raise ValueError(f"{path}: has transparent pixels; store RGB without an alpha channel")
    return pixels[..., :3]


def _checked(array: np.ndarray, path: Path, shape: tuple[int, ...], what: str) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(
            f"{path}: {what} has shape {array.shape}, the stored frames need {shape}; crop to the centre square and "
            "resize as the frames are (docs/benchmarks.md)"
        )
    return array
