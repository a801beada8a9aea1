"""Frames of a video, upright, at a steady rate."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from jaxtyping import Int32, UInt8
from PIL import Image

from wildrayzer.data.ingest.containers import is_cut_short
from wildrayzer.data.readers.base import BadSceneError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv")
"""Containers that are taken."""
_HIGH_RANGE = {16: "PQ", 18: "HLG"}
"""Transfer functions of high-dynamic-range video, by FFmpeg's number."""
_INTERLACED = "interlaced: every other line is of another moment, which looks like motion; deinterlace it first"
_ALPHA = "has an alpha channel, which is not read: what is transparent shows whatever colour lies below it"
_MISSING_SHARE = 0.05
_LONGEST_GAP = 1.0
"""Seconds between two pictures from which on a new clip begins, or five times the usual distance if that is longer."""
_MOST_OBLONG = 4.0
"""Largest ratio of a pixel's sides; anamorphic lenses reach 2."""


@dataclass
class VideoNotes:
    """What was seen while a video was read; filled in as its frames are taken."""

    decoded: int = 0
    """Frames decoded."""
    seconds: float = 0.0
    """Time of the last decoded frame, from the first."""
    covered: float = 0.0
    """Time when that frame ends, from the first."""
    rotation: int = 0
    """Counter-clockwise turn in degrees that made the frames upright."""
    jumps: list[int] = field(default_factory=list)
    """Numbers, among the frames taken, of those before which the time stamps jump: other recordings begin there."""
    remarks: list[str] = field(default_factory=list)
    """Anything odd."""


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


def _opened(path: Path) -> "av.container.InputContainer":
    # FFmpeg takes what stands before a colon, as in `12:30.mp4`, for a protocol, unless a path begins with `/`.
    # Titles and artwork tags of phones and editors need not be UTF-8; none of them is used.
    return av.open(str(path.absolute()), metadata_errors="replace")


def _chosen_stream(container: "av.container.InputContainer", path: Path) -> "av.VideoStream":
    """The stream that a player shows: the default one, else the largest; cover pictures are none.

    Raises:
        BadSceneError: there is none.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise BadSceneError("no video stream", f"{path} holds {kinds}; name a file with pictures")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise BadSceneError("video cannot be decoded", f"{path}: in a coding that is not known here; export it as MP4")
    return max(
        readable, key=lambda one: (bool(one.disposition & Disposition.default), one.width * one.height, -one.index)
    )


def expected_frames(path: Path, fps: float) -> int | None:
    """About how many frames `video_frames` will give, from the container's header; None where it does not say."""
    try:
        with _opened(path) as container:
            if not container.duration:
                return None
            seconds = container.duration / av.time_base
            if fps:
                return int(seconds * fps) + 1
            rate = _chosen_stream(container, path).average_rate
            return int(seconds * rate) if rate else None
    except (av.FFmpegError, OSError, BadSceneError):
        return None


def video_frames(path: Path, fps: float, notes: VideoNotes) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """Time from the first frame in seconds, and pixels, of the frames at 0, 1/fps, 2/fps, …; all frames for fps 0.

    Of each interval the first frame is taken, so a video slower than `fps` gives every frame once. Rotation and
    mirroring of the container and oblong pixels are applied. Decoded one at a time; `notes` are filled in. Where time
    stamps begin again, as in joined recordings, the times continue from the frame before.

    Raises:
        BadSceneError: no video stream, not readable, no frames, or the file is cut short.
    """
    for seconds, frame, stream in _decoded(path, fps, notes):
        yield seconds, _picture(frame, stream, notes)


def evenly_spread(path: Path, count: int) -> list[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """`count` frames of a video, first and last among them, with their times; all of them where it has fewer.

    Raises:
        BadSceneError: as `video_frames`.
    """
    total = sum(1 for _ in _decoded(path, 0.0, VideoNotes()))
    chosen = set(np.round(np.linspace(0, total - 1, min(count, total))).astype(int).tolist())
    frames = enumerate(_decoded(path, 0.0, VideoNotes()))
    return [(seconds, _picture(frame, stream, VideoNotes())) for number, (seconds, frame, stream) in frames
            if number in chosen]  # fmt: skip


_Decoded = Iterator[tuple[float, "av.VideoFrame", "av.VideoStream"]]


def _decoded(path: Path, fps: float, notes: VideoNotes) -> _Decoded:
    """The frames of `video_frames` before their pixels are converted."""
    try:
        with _opened(path) as container:
            stream = _chosen_stream(container, path)
            stream.thread_type = "AUTO"
            _check_pixels(stream, path)
            _remark_on(container, stream, notes)
            promised = _promised(container, stream)
            yield from _sampled(container, stream, fps, notes)
    except av.FFmpegError as error:
        progress = f" after {notes.decoded} frames" if notes.decoded else ""
        raise BadSceneError(
            "video cannot be decoded",
            f"{path}{progress}: {error.strerror}; it is truncated or damaged, copy or export it again",
        ) from None
    if not notes.decoded:
        raise BadSceneError("no frames", f"{path}: its video stream is empty; export it again")
    _check_end(path, promised, notes)


def _check_pixels(stream: "av.VideoStream", path: Path) -> None:
    """Refuse pixels of a shape that no camera has: made square, they would fill the memory."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / _MOST_OBLONG <= aspect <= _MOST_OBLONG:
        raise BadSceneError(
            "pixels are too oblong",
            f"{path}: its header says that pixels are {stream.sample_aspect_ratio} as wide as high; export it with "
            "square pixels",
        )


def _remark_on(container: "av.container.InputContainer", stream: "av.VideoStream", notes: VideoNotes) -> None:
    others = [one for one in container.streams.video if one.index != stream.index and one.codec_context is not None]
    if pictures := [one for one in others if not one.disposition & Disposition.attached_pic]:
        sizes = ", ".join(f"{one.width}×{one.height}" for one in pictures)
        notes.remarks.append(f"other video streams ({sizes}) are left out; the default one is taken")
    planes = stream.format.components if stream.format else ()
    if stream.metadata.get("alpha_mode") == "1" or any(plane.is_alpha for plane in planes):
        notes.remarks.append(_ALPHA)


def _promised(container: "av.container.InputContainer", stream: "av.VideoStream") -> float | None:
    """Seconds that the header gives to the pictures, or to all streams where it does not tell them apart."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _check_end(path: Path, promised: float | None, notes: VideoNotes) -> None:
    """Refuse a video that lacks its end; one that is all there but ends early is remarked on."""
    if promised is None:
        return
    missing = promised - notes.covered
    if missing <= max(_MISSING_SHARE * promised, 2 * notes.seconds / max(notes.decoded - 1, 1)):
        return
    if is_cut_short(path):
        raise BadSceneError(
            "video is truncated",
            f"{path}: {notes.covered:.1f} s of {promised:.1f} s could be decoded; copy or export it again",
        )
    notes.remarks.append(f"pictures end at {notes.covered:.1f} s of {promised:.1f} s that the file is said to last")


def _sampled(
    container: "av.container.InputContainer", stream: "av.VideoStream", fps: float, notes: VideoNotes
) -> _Decoded:
    shift: float | None = None  # from the container's times to those from the first frame
    start, due, taken, corrupt, guessed, jumped = 0.0, 0, 0, 0, 0, False
    for frame in container.decode(stream):
        usual = notes.seconds / max(notes.decoded - 1, 1) or 1 / float(stream.average_rate or 30)
        guessed += frame.time is None
        if shift is None:
            shift = -(frame.time or 0.0)
        seconds = notes.covered if frame.time is None else frame.time + shift
        if seconds < notes.seconds - usual / 2:  # time stamps begin again: what follows is another recording
            shift += notes.covered - seconds
            seconds, jumped = notes.covered, True
        jumped |= notes.decoded > 1 and seconds - notes.seconds > max(_LONGEST_GAP, 5 * usual)
        if jumped:
            start, due = seconds, 0
        notes.decoded += 1
        notes.seconds = seconds
        # A frame of unknown length stands as long as those before it did.
        length = frame.duration * frame.time_base if frame.duration else usual
        notes.covered = seconds + float(length)
        corrupt += frame.is_corrupt
        # Half a millisecond of grace: containers round their times.
        place = (seconds - start + 5e-4) * fps
        if not frame.is_corrupt and (not fps or place >= due):
            due = int(place) + 1
            if jumped:
                notes.jumps.append(taken)
            taken, jumped = taken + 1, False
            yield seconds, frame, stream
    if guessed:
        notes.remarks.append(f"{guessed} frames have no time stamp: they are taken to follow the frame before")
    if notes.jumps:
        notes.remarks.append(f"time stamps jump {len(notes.jumps)} times: a new clip begins at each jump")
    if corrupt:
        notes.remarks.append(f"{corrupt} frames could only be decoded in part and were left out")


def _rgb(frame: "av.VideoFrame", notes: VideoNotes) -> np.ndarray:
    try:
        return frame.to_ndarray(format="rgb24")
    except av.FFmpegError:  # a colour matrix that does not exist, as in damaged headers
        pass
    try:
        image = frame.to_ndarray(format="rgb24", src_colorspace="DEFAULT")
    except av.FFmpegError as error:
        raise BadSceneError(
            "video cannot be decoded", f"frame {notes.decoded - 1} of format {frame.format.name}: {error.strerror}"
        ) from None
    remark = f"colours are of unknown kind (matrix {int(frame.colorspace)}): shown as of the usual one"
    if remark not in notes.remarks:
        notes.remarks.append(remark)
    return image


def _picture(frame: "av.VideoFrame", stream: "av.VideoStream", notes: VideoNotes) -> np.ndarray:
    """RGB pixels of a frame, square and upright."""
    image = _rgb(frame, notes)
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        width = round(image.shape[1] * float(aspect))
        image = np.asarray(Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.LANCZOS))
    transfer = _HIGH_RANGE.get(int(frame.color_trc or 0))
    if transfer and not any(transfer in remark for remark in notes.remarks):
        notes.remarks.append(f"high dynamic range ({transfer}) is shown without tone mapping: colours look pale")
    if frame.interlaced_frame and _INTERLACED not in notes.remarks:
        notes.remarks.append(_INTERLACED)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    notes.rotation = int(frame.rotation)
    return upright(image, np.frombuffer(bytes(matrix), np.int32))
