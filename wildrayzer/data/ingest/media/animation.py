"""Frames of animated pictures: GIF, WebP, APNG and AVIF with more than one frame."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wildrayzer.data.ingest.media.sampling import (
    SMALL_SIDE,
    CutFinder,
    Decoded,
    SamplingOptions,
    VideoNotes,
    sampled,
    sharpness,
)
from wildrayzer.data.ingest.media.video import evenly_spread, video_frames
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.pixels import BROKEN_IMAGE, as_rgb

ANIMATED_SUFFIXES = (".gif", ".webp", ".png", ".apng", ".avif")
"""Pictures that may be animated."""
_USUAL = 0.1
"""Seconds of a frame that states none, as browsers show it."""


def is_animated(path: Path) -> bool:
    """Whether a picture has several frames that are shown one after the other; False for what cannot be read."""
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except BROKEN_IMAGE:
        return False


def moving_frames(
    path: Path, options: SamplingOptions, notes: VideoNotes
) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """`video_frames` of a video or an animated picture."""
    animated = path.suffix.lower() in ANIMATED_SUFFIXES
    return animated_frames(path, options, notes) if animated else video_frames(path, options, notes)


def animated_frames(
    path: Path, options: SamplingOptions, notes: VideoNotes
) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """Time from the first frame in seconds, and pixels, of the frames that are taken; see `video_frames`.

    Raises:
        BadSceneError: a frame cannot be decoded.
    """
    odd: Counter[str] = Counter()
    chosen = sampled(
        _decoded(path, options, notes, odd),
        options.fps,
        notes.jumps,
        score=_sharpness if options.sharpest else None,
    )
    yield from chosen
    notes.remark_on_cuts()
    notes.remarks += [f"{count} frames {what}" for what, count in odd.items()]


def spread(path: Path, count: int) -> list[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """`evenly_spread` of a video or an animated picture."""
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return evenly_spread(path, count)
    frames = list(animated_frames(path, SamplingOptions(fps=0.0), VideoNotes()))
    chosen = np.round(np.linspace(0, len(frames) - 1, min(count, len(frames)))).astype(int)
    return [frames[number] for number in chosen]


def _decoded(
    path: Path, options: SamplingOptions, notes: VideoNotes, odd: Counter[str]
) -> Iterator[Decoded[np.ndarray]]:
    cuts = CutFinder() if options.cuts else None
    try:
        with Image.open(path) as image:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                pixels = np.asarray(as_rgb(image, where=f"{path}, frame {number}", upright=True, odd=odd))
                notes.seconds, notes.decoded = notes.covered, notes.decoded + 1
                notes.covered += (image.info.get("duration") or 0) / 1000 or _USUAL
                begins = cuts is not None and cuts.begins_with(_small(pixels))
                notes.cuts += begins
                yield Decoded(notes.seconds, pixels, begins)
    except BROKEN_IMAGE as error:
        raise BadSceneError(
            "image cannot be decoded", f"{path} after {notes.decoded} frames: {error}; copy or export it again"
        ) from None


def _small(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    scale = SMALL_SIDE / max(pixels.shape)
    return pixels if scale >= 1 else cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _sharpness(pixels: UInt8[np.ndarray, "h w 3"]) -> float:
    return sharpness(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
