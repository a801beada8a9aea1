"""Pictures as the API takes them, fitted as data preparation and `wildrayzer render` fit them."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wildrayzer.data.ingest.views import View, fitted, read_views
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.pixels import as_rgb

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray
"""A picture: path of an image file, PIL image, or array [h w 3] or [h w], uint8 or floating point in [0, 1]."""
Pictures: TypeAlias = Picture | Sequence[Picture]
"""Pictures: several of these; or one array [v h w 3]; or the path of a folder of images or of a video."""


def read_pictures(images: Pictures, *, image_size: int, frames: int = 10) -> list[View]:
    """Views from pictures, in their order: paths, or PIL images and arrays.

    The shorter side is resized to `image_size` (Lanczos) and the centre square is kept. Image files and PIL images are
    turned upright (EXIF) and converted to sRGB; what is transparent is shown on white.

    Args:
        images: pictures.
        image_size: side of the views, pixels.
        frames: number of frames to take from a video, evenly spread.

    Raises:
        ValueError: no pictures, an unreadable file, an array of another shape, type or range.
    """
    if isinstance(images, (str, os.PathLike)):
        return read_views([Path(images)], image_size=image_size, frames=frames)
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim != 4):
        images = [images]
    pictures = list(images)
    if not pictures:
        raise ValueError("images: there are none; give two pictures or more")
    paths = [Path(one) for one in pictures if isinstance(one, (str, os.PathLike))]
    if len(paths) == len(pictures):
        return read_views(paths, image_size=image_size, frames=frames)
    return [_view(one, f"images[{number}]", image_size) for number, one in enumerate(pictures)]


def _view(picture: Picture, where: str, image_size: int) -> View:
    if isinstance(picture, (str, os.PathLike)):
        raise ValueError(f"{where}: a path among arrays; give either paths, or PIL images and arrays")
    if isinstance(picture, np.ndarray):
        return fitted(where, _eight_bits(picture, where), image_size)
    if not isinstance(picture, Image.Image):
        raise ValueError(
            f"{where}: a {type(picture).__name__}; give a path, a PIL image, or a NumPy array [h w 3] of uint8 or of "
            "floats in [0, 1]"
        )
    try:
        pixels = as_rgb(picture, where=where, upright=True, odd=Counter())
    except BadSceneError as error:
        raise ValueError(str(error)) from None
    return fitted(where, np.asarray(pixels), image_size)


def _eight_bits(array: np.ndarray, where: str) -> UInt8[np.ndarray, "h w 3"]:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or 0 in array.shape:
        raise ValueError(f"{where}: an array of shape {list(array.shape)}; give [h w 3], RGB, or [h w], grey")
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f"{where}: floats from {array.min():g} to {array.max():g}; floats are in [0, 1]: divide values up to "
                "255 by 255, or give uint8"
            )
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"{where}: an array of {array.dtype}; give uint8, or floats in [0, 1]")
    return np.repeat(array[..., None], 3, axis=-1) if array.ndim == 2 else array
