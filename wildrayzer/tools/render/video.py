"""Frames as an MP4 file that browsers play."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8

LEAST_SIDE = 256
"""Smaller frames are enlarged by a whole factor to at least this side, since players show tiny videos badly."""
ENCODERS = ("libx264", "libopenh264", "libvpx-vp9", "mpeg4")
"""In order of preference: two encoders of H.264, VP9, and MPEG-4 Part 2, which browsers do not play."""
_OPTIONS = {"libx264": {"crf": "16", "preset": "medium"}, "libvpx-vp9": {"crf": "20", "b": "0"}}


def pick_encoder(wanted: Sequence[str] = ENCODERS) -> str:
    """The first encoder that this build of FFmpeg has.

    Raises:
        ValueError: it has none of them.
    """
    for name in wanted:
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise ValueError(f"this build of FFmpeg encodes none of {', '.join(wanted)}; install PyAV's wheel (`av`)")


def write_video(
    path: Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], *, fps: int = 24, encoder: str | None = None
) -> str:
    """Write RGB frames of one size; returns the encoder's name.

    Frames below `LEAST_SIDE` are enlarged (Lanczos); an odd side gets one more row or column, a copy of the last.

    Raises:
        ValueError: there are no frames, or no encoder.
    """
    name = encoder or pick_encoder()
    stream = None
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        for frame in frames:
            image = _prepared(frame)
            if stream is None:
                stream = container.add_stream(name, rate=Fraction(fps), options=_OPTIONS.get(name, {}))
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                if name == "mpeg4":
                    stream.bit_rate = 8_000_000
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if stream is None:
            raise ValueError(f"{path}: a video needs at least one frame")
        container.mux(stream.encode())
    return name


def _prepared(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    factor = -(-LEAST_SIDE // min(frame.shape[:2]))
    if factor > 1:
        frame = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_LANCZOS4)
    odd = [(0, side % 2) for side in frame.shape[:2]]
    return np.ascontiguousarray(np.pad(frame, (*odd, (0, 0)), mode="edge"))
