"""Pixels of a decoded video frame: sRGB, square and upright."""

import av
import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from wildrayzer.data.ingest.media.sampling import VideoNotes
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.images.tone import HIGH_RANGE, to_sdr

_INTERLACED = "interlaced: every other line is of another moment, which looks like motion; deinterlace it first"


def upright(image: UInt8[np.ndarray, "h w 3"], matrix: Int32[np.ndarray, "9"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A decoded frame as its display matrix (rows a b u, c d v, x y w) wants it shown, to the nearest quarter turn.

    A point (x, y) is shown at (a·x + c·y, b·x + d·y) up to a shift: quarter turns and mirrorings are exact.
    """
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, flips = image.swapaxes(0, 1), (b < 0, c < 0)
    else:
        flips = (d < 0, a < 0)
    return np.ascontiguousarray(image[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1])


def _rgb(frame: "av.VideoFrame", notes: VideoNotes) -> UInt8[np.ndarray, "h w 3"]:
    """sRGB pixels of a frame as it lies in the file."""
    transfer = int(frame.color_trc or 0)
    if transfer not in HIGH_RANGE:
        return _pixels(frame, "rgb24", notes)
    notes.remark(f"high dynamic range ({HIGH_RANGE[transfer]}) is mapped to sRGB; check the colours")
    return to_sdr(_pixels(frame, "rgb48le", notes), transfer)


def _pixels(frame: "av.VideoFrame", form: str, notes: VideoNotes) -> np.ndarray:
    """Code values of a frame as R'G'B'."""
    try:
        return frame.to_ndarray(format=form)
    except av.FFmpegError:  # a colour matrix that does not exist, as in damaged headers
        pass
    try:
        image = frame.to_ndarray(format=form, src_colorspace="DEFAULT")
    except av.FFmpegError as error:
        raise BadSceneError(
            "video cannot be decoded", f"frame {notes.decoded - 1} of format {frame.format.name}: {error.strerror}"
        ) from None
    notes.remark(f"colours are of unknown kind (matrix {int(frame.colorspace)}): shown as of the usual one")
    return image


def picture(frame: "av.VideoFrame", stream: "av.VideoStream", notes: VideoNotes) -> np.ndarray:
    """RGB pixels of a frame, square and upright."""
    image = _rgb(frame, notes)
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        width = round(image.shape[1] * float(aspect))
        image = np.asarray(Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.LANCZOS))
    if frame.interlaced_frame:
        notes.remark(_INTERLACED)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    notes.rotation = int(frame.rotation)
    return upright(image, np.frombuffer(bytes(matrix), np.int32))
