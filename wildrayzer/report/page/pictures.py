"""Frames, maps and masks as small pictures, enlarged so that they can be seen, as data URIs."""

import base64
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.images import UNKNOWN
from wildrayzer.report.page.page import Column

LEAST, MOST = 96, 256
"""Sides in pixels that a picture is enlarged or reduced to."""
_GREY = (200, 200, 200)
_OUTLINE = (230, 30, 60)
_HEAT = "magma"

Image = UInt8[np.ndarray, "h w 3"]


def resize(image: UInt8[np.ndarray, "h w 3"], *, smooth: bool, side: int | None = None) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A whole multiple of the size that reaches `LEAST`: Lanczos for photographs, nearest for maps; at most `MOST`.

    `side` is that of one frame, where the image is a sheet of several; else the image's shorter side counts.
    """
    shorter = side or min(image.shape[:2])
    factor = -(-LEAST // shorter)
    if factor > 1:
        way = cv2.INTER_LANCZOS4 if smooth else cv2.INTER_NEAREST
        return cv2.resize(image, None, fx=factor, fy=factor, interpolation=way)
    if shorter > MOST:
        share = MOST / shorter
        return cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return image


def photo_uri(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """A frame or a rendering, enlarged smoothly, as JPEG."""
    return encode(resize(image, smooth=True), photograph=True)


def map_uri(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """A coloured map, enlarged without smoothing, as PNG."""
    return encode(resize(image, smooth=False), photograph=False)


def encode(image: UInt8[np.ndarray, "h w 3"], *, photograph: bool) -> str:
    """Data URI of an image at the size it has."""
    if photograph:
        full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        kind, suffix, options = "jpeg", ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90, *full_colour]
    else:
        kind, suffix, options = "png", ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9]
    payload = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)[1].tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"


def heat(values: Float[np.ndarray, "h w"], low: float, high: float) -> UInt8[np.ndarray, "h w 3"]:
    """Values on the colour scale from `low` to `high`; grey where not finite."""
    share = np.clip((values.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
    colours = (matplotlib.colormaps[_HEAT](np.nan_to_num(share))[..., :3] * 255).round().astype(np.uint8)
    colours[~np.isfinite(values)] = _GREY
    return colours


def ramp(name: str, low: float, high: float, unit: str = "") -> Column:
    """Heading of a column of heat maps, with its scale."""
    strip = heat(np.linspace(0, 1, 64)[None].repeat(4, 0), 0.0, 1.0)
    return Column(name, encode(strip, photograph=False), f"{low:.3g}{unit}", f"{high:.3g}{unit}")


def mask_picture(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """White = transient, black = static, grey = not computed or unknown."""
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask == 1] = 255
    colours[mask == UNKNOWN] = _GREY
    return colours


def cluster_picture(clusters: UInt8[np.ndarray, "g g2"]) -> UInt8[np.ndarray, "g g2 3"]:
    """One colour per cluster (colours repeat after 20), grey = not computed."""
    colours = (matplotlib.colormaps["tab20"](clusters % 20)[..., :3] * 255).round().astype(np.uint8)
    colours[clusters == UNKNOWN] = _GREY
    return colours


def outlined(image: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A frame, enlarged, with red lines round its transients."""
    large = np.ascontiguousarray(resize(image, smooth=True))
    marked = cv2.resize((mask == 1).astype(np.uint8), large.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(large, contours, -1, _OUTLINE, 1)


def strip(images: Sequence[UInt8[np.ndarray, "h w 3"]], gap: int = 3) -> UInt8[np.ndarray, "h w2 3"]:
    """Images of one size in a row, white between them."""
    space = np.full((images[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for image in images for part in (image, space)][:-1]
    return np.concatenate(parts, axis=1)
