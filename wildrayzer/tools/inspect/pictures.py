"""Pictures of a window: small data URIs in one script per window, which the gallery loads when it is needed."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from wildrayzer.pseudo_masks.fusion import fuse
from wildrayzer.report.page.page import Column
from wildrayzer.report.page.pictures import cluster_picture, heat, mask_picture, ramp
from wildrayzer.tools.inspect.files import CacheFiles

THUMBNAIL = 128
"""Largest side in pixels of photographs; maps keep their grid."""
_QUANTILE = 0.99
_FUSED = (-1.5, 3.0)
_QUALITY = 82
_LOSSLESS = 101
_SAMPLE = 4096

Renderings = Float[np.ndarray, "t h w 3"]
"""Renderings of a window's targets, in [0, 1]."""


@dataclass(frozen=True)
class Scales:
    """Upper ends of the colour scales, equal for all windows."""

    d_dino: float
    d_ssim: float

    @classmethod
    def of(cls, files: CacheFiles) -> "Scales":
        """The 99% quantile of each map over the computed frames, or over a regular sample of them."""
        computed = np.flatnonzero(files.maps.window >= 0)
        sample = computed[:: -(-len(computed) // _SAMPLE)]
        highest = []
        for name in ("d_dino", "d_ssim"):
            values = files.maps.all(name)[sample].astype(float)
            values = values[np.isfinite(values)]
            highest.append(float(np.quantile(values, _QUANTILE)) if len(values) else 1.0)
        return cls(*(max(value, 1e-6) for value in highest))


def columns(files: CacheFiles, scales: Scales, *, rendered: bool) -> list[tuple[str, Column]]:
    """Key and heading of each picture of a target, in order."""
    truth = files.store is not None and files.store.has_masks
    entries = [
        ("target", Column("target"), files.store is not None),
        ("rendering", Column("rendering"), rendered),
        ("d_dino", ramp("feature residual", 0.0, scales.d_dino), True),
        ("d_ssim", ramp("SSIM residual", 0.0, scales.d_ssim), True),
        ("fused", ramp("fused", *_FUSED, " σ"), True),
        ("clusters", Column("clusters"), True),
        ("patch", Column("patch mask"), files.patches is not None),
        ("pixel", Column("refined mask"), files.pixels is not None),
        ("truth", Column("truth"), truth),
    ]
    return [(key, column) for key, column, present in entries if present]


def window_script(
    number: int,
    files: CacheFiles,
    scales: Scales,
    frames: Int[np.ndarray, " t"],
    inputs: Int[np.ndarray, " k"],
    renderings: Renderings | None,
    keys: Sequence[str],
) -> str:
    """JavaScript that gives a window's pictures to the gallery: `inputs`, and `targets` with one list per frame.

    Args:
        number: number of the window.
        files: the cache.
        scales: colour scales of the maps.
        frames: global frame numbers of the targets.
        inputs: global frame numbers of the inputs; empty if they are unknown.
        renderings: renderings of the targets, if there are any.
        keys: keys of `columns`.
    """
    drawn = _target_pictures(files, scales, frames, renderings)
    pictures = {
        "inputs": [photo(image) for image in files.store.read(inputs)] if files.store and len(inputs) else [],
        "targets": [[drawn[key][row] for key in keys] for row in range(len(frames))],
    }
    return f"gallery.receive({number}, {json.dumps(pictures, separators=(',', ':'))});\n"


def _target_pictures(
    files: CacheFiles, scales: Scales, frames: Int[np.ndarray, " t"], renderings: Renderings | None
) -> dict[str, list[str]]:
    d_dino, d_ssim, clusters = (files.maps.take(name, frames) for name in ("d_dino", "d_ssim", "clusters"))
    fused = fuse(d_dino, d_ssim, files.maps.psnr[frames], files.voting)
    drawn = {
        "d_dino": [small(heat(one, 0.0, scales.d_dino)) for one in d_dino],
        "d_ssim": [small(heat(one, 0.0, scales.d_ssim)) for one in d_ssim],
        "fused": [small(heat(one, *_FUSED)) for one in fused],
        "clusters": [small(cluster_picture(one)) for one in clusters],
    }
    if files.patches:
        drawn["patch"] = [small(mask_picture(one)) for one in files.patches.read(frames)]
    if files.pixels:
        drawn["pixel"] = [small(mask_picture(one)) for one in files.pixels.read(frames)]
    if files.store:
        drawn["target"] = [photo(one) for one in files.store.read(frames)]
        if files.store.has_masks:
            drawn["truth"] = [small(mask_picture(one)) for one in files.store.read_masks(frames)]
    if renderings is not None:
        drawn["rendering"] = [photo((one.clip(0, 1) * 255).round().astype(np.uint8)) for one in renderings]
    return drawn


def photo(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """A frame or rendering as lossy WebP, reduced to `THUMBNAIL` pixels if it is larger."""
    if max(image.shape[:2]) > THUMBNAIL:
        share = THUMBNAIL / max(image.shape[:2])
        image = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return _webp(image, _QUALITY)


def small(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """A map or mask as lossless WebP in its own size; the page enlarges it."""
    return _webp(image, _LOSSLESS)


def _webp(image: UInt8[np.ndarray, "h w 3"], quality: int) -> str:
    options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    payload = cv2.imencode(".webp", np.ascontiguousarray(image[..., ::-1]), options)[1].tobytes()
    return f"data:image/webp;base64,{base64.b64encode(payload).decode()}"
