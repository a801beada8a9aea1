"""Image files of an export."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

JPEG_QUALITY = 95


def encoded(image: UInt8[np.ndarray, "h w *c"], suffix: str) -> bytes:
    """Grey or RGB values as an image file: `.png`, or `.jpg` with `JPEG_QUALITY`."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def write_image(path: Path, image: UInt8[np.ndarray, "h w *c"]) -> None:
    """Write grey or RGB values as PNG or JPEG, by the ending of the name; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, path.suffix))


def keep_mask(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A mask (1 = transient) in the polarity of nerfstudio and COLMAP: 255 (white) = keep, 0 = leave out.

    Unknown pixels are left out: nothing says that they stand still.
    """
    return np.where(mask == 0, 255, 0).astype(np.uint8)


def davis_palette() -> list[int]:
    """The colours of DAVIS and PASCAL VOC for 256 numbers, as Pillow takes them: 768 values.

    Bit k of a number's red, green and blue groups becomes bit 7 − k of the colour: 1 is (128, 0, 0), 255 is
    (224, 224, 192).
    """
    colours = []
    for number in range(256):
        for channel in range(3):
            bits = (number >> 3 * place + channel & 1 for place in range(3))
            colours.append(sum(bit << 7 - place for place, bit in enumerate(bits)))
    return colours


def write_palette(path: Path, mask: UInt8[np.ndarray, "h w"]) -> None:
    """Write a mask as palette PNG: numbers as they are (0 = background, 1 = transient, 255 = unknown)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    image.putpalette(davis_palette())
    image.save(path)
