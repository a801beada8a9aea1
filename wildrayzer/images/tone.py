"""Pictures with a high dynamic range (PQ and HLG of ITU-R BT.2100) as sRGB.

The same curve on every machine: FFmpeg's `tonemap` needs the filter `zscale`, which few builds have.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt, UInt8

HIGH_RANGE = {16: "PQ", 18: "HLG"}
"""Transfer functions with a high dynamic range, by their numbers in ITU-T H.273, which video and HEIF files hold."""
_WHITE, _PEAK = 203.0, 1000.0
"""Luminance in cd/m² of a white page (BT.2408), and of the brightest light that is distinguished from brighter ones."""
_KNEE = 0.5
"""Light in units of white up to which nothing is changed."""
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_SRGB = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""BT.2020 primaries to those of sRGB, for linear light."""
_ROWS = 1 << 20
"""Pixels that are converted at once."""


def to_sdr(image: UInt[np.ndarray, "h w 3"], transfer: int) -> UInt8[np.ndarray, "h w 3"]:
    """sRGB of a picture that is coded in PQ or HLG with BT.2020 primaries.

    Code values become light in units of white, 203 cd/m² (HLG: as on a display of 1000 cd/m²). The largest channel `x`
    is mapped by k + (1 − k) · t · (1 + t / T²) / (1 + t) above the knee k = 0.5, with t = (x − k) / (1 − k) and T that
    of 1000 cd/m²; the other channels keep their ratio to it. Then come the primaries of sRGB, clipped, and its gamma.
    White is 225 of 255.

    Args:
        image: R'G'B' over the whole range of its integers.
        transfer: a key of `HIGH_RANGE`.
    """
    light = _light(HIGH_RANGE[transfer], int(np.iinfo(image.dtype).max))
    found = np.empty(image.shape, np.uint8)
    step = max(1, _ROWS // image.shape[1])
    for start in range(0, len(image), step):
        part = light[image[start : start + step]]
        if HIGH_RANGE[transfer] == "HLG":  # the display's gamma works on luminance
            part = part * (np.power(part @ _LUMA, 0.2) * (_PEAK / _WHITE))[..., None]
        largest = part.max(axis=-1, keepdims=True)
        part = part * (_rolled_off(largest) / np.maximum(largest, 1e-6))
        linear = np.clip(part @ _TO_SRGB.T, 0, 1)
        found[start : start + step] = _srgb()[(linear * 65535 + 0.5).astype(np.uint16)]
    return found


def _rolled_off(light: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Light in units of white, with what is above the knee bent to at most 1; see `to_sdr`."""
    above = np.clip((light - _KNEE) / (1 - _KNEE), 0, None)
    most = (_PEAK / _WHITE - _KNEE) / (1 - _KNEE)
    bent = _KNEE + (1 - _KNEE) * above * (1 + above / most**2) / (1 + above)
    return np.minimum(np.where(above > 0, bent, light), 1)


@cache
def _light(transfer: str, most: int) -> Float[np.ndarray, " codes"]:
    """What every code value stands for: PQ, light in units of white; HLG, light of the scene from 0 to 1."""
    signal = np.arange(most + 1) / most
    if transfer == "HLG":
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
    root = signal ** (32 / 2523)
    ratio = np.clip(root - 3424 / 4096, 0, None) / (2413 / 128 - 2392 / 128 * root)
    return (ratio ** (16384 / 2610) * (10000 / _WHITE)).astype(np.float32)


@cache
def _srgb() -> UInt8[np.ndarray, " codes"]:
    """Code values of sRGB for linear light in 65536 steps."""
    light = np.arange(65536) / 65535
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (coded * 255 + 0.5).astype(np.uint8)
