"""Image files as 8-bit RGB: the one way in for readers and for own pictures."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from wildrayzer.data.readers.base import BadSceneError

TRANSPARENT = "have transparent pixels, which are shown on white"
BROKEN_EXIF = "have EXIF data that cannot be read; they are taken as they lie in the file, not turned"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of an EXIF orientation upright."""


def decode(payload: bytes, *, where: str, upright: bool = False, odd: Counter[str] | None = None) -> Image.Image:
    """An RGB image, 8 bits a channel, from the bytes of an image file.

    Grey of 16 bits is scaled to 8, and what is transparent is shown on white.

    Args:
        payload: content of the file.
        where: the file's name, for errors.
        upright: turn it as its EXIF orientation says. The cameras of a data set belong to the pixels as they lie.
        odd: counts what this did to images (`TRANSPARENT`, `BROKEN_EXIF`).

    Raises:
        BadSceneError: the bytes are no image, or end early, or hold values whose range is not known.
    """
    odd = Counter() if odd is None else odd
    try:
        with Image.open(io.BytesIO(payload)) as image:
            image.load()
            turn = _TURNS.get(_orientation(image, odd)) if upright else None
            pixels = _eight_bits(image, where=where, odd=odd)
            return pixels if turn is None else pixels.transpose(turn)
    except UnidentifiedImageError:  # its own text names an address in memory
        raise BadSceneError("image cannot be decoded", f"{where}: not an image file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadSceneError("image cannot be decoded", f"{where}: {error}") from None


def decode_file(path: Path, *, upright: bool = False, odd: Counter[str] | None = None) -> Image.Image:
    """`decode` of a file.

    Raises:
        BadSceneError: the file cannot be read, and as `decode`.
    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise BadSceneError("image cannot be read", f"{path}: {error.strerror}") from None
    return decode(payload, where=str(path), upright=upright, odd=odd)


def _orientation(image: Image.Image, odd: Counter[str]) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, TypeError, ValueError):  # Pillow's, for a header that is none of TIFF
        odd[BROKEN_EXIF] += 1
        return 1


def _eight_bits(image: Image.Image, *, where: str, odd: Counter[str]) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow's own conversion cuts all above 255 off
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadSceneError(
            "image has no known range",
            f"{where}: it holds 32-bit values, and nothing says which is white; convert it to 8 or 16 bits a channel",
        )
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        if np.asarray(layers.getchannel("A")).min() < 255:
            odd[TRANSPARENT] += 1
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("RGB")
    return image.convert("RGB")
