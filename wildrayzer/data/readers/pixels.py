"""Image files as 8-bit RGB: the one way in for readers and for own pictures."""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pillow_heif
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.images.tone import HIGH_RANGE, to_sdr
from wildrayzer.io.damaged_files import placeholder_in

TRANSPARENT = "have transparent pixels, which are shown on white"
BROKEN_EXIF = "have EXIF data that cannot be read; they are taken as they lie in the file, not turned"
BROKEN_PROFILE = "have a colour profile that cannot be read; their colours are taken as sRGB"
BROKEN_IMAGE = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, EOFError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and its decoders raise for damaged files."""
MOST_PIXELS = 400_000_000
"""Largest picture that is decoded: phones make 200 megapixels. Beyond it a small file may fill the memory."""
_UNASKED, _MOST_PACKED = 50_000_000, 10_000
"""Pixels that any file may claim, and how many per byte of it beyond that."""
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow refuses twice as many
pillow_heif.register_heif_opener()
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

    Grey of 16 bits is scaled to 8, and what is transparent is shown on white. With `upright`, for own pictures, the
    colours of an embedded profile (Display P3 of phones) and the high dynamic range of HEIF (PQ, HLG) become sRGB. The
    pictures of a data set are compared with what others made of the same values, and keep them.

    Args:
        payload: content of the file.
        where: the file's name, for errors.
        upright: turn it as its EXIF orientation says. The cameras of a data set belong to the pixels as they lie.
        odd: counts what this did to images (`TRANSPARENT`, `BROKEN_EXIF`, `BROKEN_PROFILE`, a profile by name).

    Raises:
        BadSceneError: the bytes are no image, or end early, or hold values whose range is not known.
    """
    odd = Counter() if odd is None else odd
    with _opened(payload, where=where) as image:
        if (pixels_claimed := image.width * image.height) > max(_UNASKED, _MOST_PACKED * len(payload)):
            raise ValueError(f"{len(payload)} bytes claim {pixels_claimed} pixels")
        return as_rgb(image, where=where, upright=upright, odd=odd)


def stated_size(file: Path | bytes, *, where: str) -> tuple[int, int]:
    """Width and height from the header of an image file or of its content; no pixel is decoded.

    Raises:
        BadSceneError: it is no image; `where` names it.
    """
    with _opened(file, where=where) as image:
        return image.size


@contextmanager
def _opened(file: Path | bytes, *, where: str) -> Iterator[Image.Image]:
    """An image file or its content, opened; what is wrong with it is said with the name `where`."""
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            yield image
    except UnidentifiedImageError:  # its own text names an address in memory
        payload = file if isinstance(file, bytes) else file.read_bytes()
        raise BadSceneError("image cannot be decoded", f"{where}: {_kind_of(payload)}") from None
    except BROKEN_IMAGE as error:
        raise BadSceneError("image cannot be decoded", f"{where}: {error}") from None


def _kind_of(payload: bytes) -> str:
    """What a file is that no decoder takes."""
    if payload[4:8] == b"ftyp":  # ISO 14496-12: the first box of HEIC, HEIF and AVIF
        return "is a truncated or damaged HEIC or AVIF file, or in a coding that is not read; copy or convert it again"
    return placeholder_in(payload) or "is not an image file"


def as_rgb(image: Image.Image, *, where: str, upright: bool, odd: Counter[str]) -> Image.Image:
    """An opened image as 8-bit RGB; arguments as of `decode`.

    Raises:
        BadSceneError: it holds values whose range is not known.
    """
    image.load()
    turn = _TURNS.get(_orientation(image, odd)) if upright else None
    pixels = _eight_bits(image, where=where, odd=odd)
    transfer = (image.info.get("nclx_profile") or {}).get("transfer_characteristics")
    if upright and transfer in HIGH_RANGE:
        pixels = Image.fromarray(to_sdr(np.asarray(pixels), transfer))
        odd[f"have a high dynamic range ({HIGH_RANGE[transfer]}), which is mapped to sRGB"] += 1
    elif upright:
        pixels = _as_srgb(pixels, image.info.get("icc_profile"), odd)
    return pixels if turn is None else pixels.transpose(turn)


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


_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


def read_numbers(path: Path) -> Shaped[np.ndarray, "h w"]:
    """Pixels of a picture as the file numbers them, as for masks: grey of any depth, or the numbers of a palette.

    Of an opaque colour picture the largest channel is taken.

    Raises:
        BadSceneError: the file cannot be read, is transparent, or has colours of more than 8 bits.
    """
    return numbers_of(read_picture(path), path)


def numbers_of(image: Image.Image, path: Path) -> Shaped[np.ndarray, "h w"]:
    """`read_numbers` of a picture that is open.

    Raises:
        BadSceneError: as `read_numbers`.
    """
    return np.asarray(image) if image.mode in _NUMBERS else opaque(image, path).max(axis=-1)


def read_picture(path: Path) -> Image.Image:
    """A picture in the mode of its file.

    Raises:
        BadSceneError: the file cannot be read.
    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise BadSceneError("image cannot be read", f"{path}: {error.strerror}") from None
    try:
        with Image.open(io.BytesIO(payload)) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise BadSceneError("image cannot be decoded", f"{path}: {_kind_of(payload)}") from None
    except BROKEN_IMAGE as error:
        raise BadSceneError("image cannot be decoded", f"{path}: {error}") from None


def opaque(image: Image.Image, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB of a picture; what that cannot hold is refused: converting clips 16 bits and drops transparency.

    Raises:
        BadSceneError: more than 8 bits, or transparent pixels.
    """
    if image.mode not in _EIGHT_BITS:
        raise BadSceneError(
            "image has no known range",
            f"{path}: a picture of mode {image.mode}, which is more than 8 bits; store 8-bit RGB, or NPY in floating "
            "point",
        )
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] < 255).any():
        raise BadSceneError(
            "image is transparent", f"{path}: has transparent pixels; store RGB without an alpha channel"
        )
    return pixels[..., :3]


def _orientation(image: Image.Image, odd: Counter[str]) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, TypeError, ValueError):  # Pillow's, for a header that is none of TIFF
        odd[BROKEN_EXIF] += 1
        return 1


def _as_srgb(image: Image.Image, profile: bytes | None, odd: Counter[str]) -> Image.Image:
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if name.startswith("sRGB"):
            return image
        if (space := source.profile.xcolor_space.strip()) != "RGB":
            odd[f"have a colour profile of {space} colours, which is not applied"] += 1
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        odd[BROKEN_PROFILE] += 1
        return image
    odd[f"have colours of the profile {name!r}, converted to sRGB"] += 1
    return converted or image


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
