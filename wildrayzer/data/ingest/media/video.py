"""Frames of a video, upright, at a steady rate."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from jaxtyping import UInt8

from wildrayzer.data.ingest.media.containers import is_cut_short
from wildrayzer.data.ingest.media.sampling import (
    SMALL_SIDE,
    CutFinder,
    Decoded,
    SamplingOptions,
    VideoNotes,
    sampled,
    sharpness,
)
from wildrayzer.data.ingest.media.video_pixels import picture
from wildrayzer.data.readers.base import BadSceneError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv")
"""Containers that are taken."""
_ALPHA = "has an alpha channel, which is not read: what is transparent shows whatever colour lies below it"
_MISSING_SHARE = 0.05
_LONGEST_GAP = 1.0
"""Seconds between two pictures from which on a new clip begins, or five times the usual distance if that is longer."""
_MOST_OBLONG = 4.0
"""Largest ratio of a pixel's sides; anamorphic lenses reach 2."""


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
            stream = _chosen_stream(container, path)
            seconds = _promised(container, stream)
            if seconds is None:
                return None
            if fps:
                return int(seconds * fps) + 1
            return int(seconds * stream.average_rate) if stream.average_rate else None
    except (av.FFmpegError, OSError, BadSceneError):
        return None


def video_frames(
    path: Path, options: SamplingOptions, notes: VideoNotes
) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """Time from the first frame in seconds, and pixels, of the frames at 0, 1/fps, 2/fps, …; all frames for fps 0.

    Of each interval the first or the sharpest frame is taken, so a video slower than `fps` gives every frame once.
    Rotation and mirroring of the container and oblong pixels are applied, and PQ and HLG become sRGB (`to_sdr`).
    Decoded one at a time; `notes` are filled in. Where time stamps begin again, as in joined recordings, the times
    continue from the frame before. Intervals begin again there, and at cuts.

    Raises:
        BadSceneError: no video stream, not readable, no frames, or the file is cut short.
    """
    for seconds, frame, stream in _decoded(path, options, notes):
        yield seconds, picture(frame, stream, notes)


def evenly_spread(path: Path, count: int) -> list[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """`count` frames of a video, first and last among them, with their times; all of them where it has fewer.

    Raises:
        BadSceneError: as `video_frames`.
    """
    every = SamplingOptions(fps=0.0)
    total = sum(1 for _ in _decoded(path, every, VideoNotes()))
    chosen = set(np.round(np.linspace(0, total - 1, min(count, total))).astype(int).tolist())
    frames = enumerate(_decoded(path, every, VideoNotes()))
    return [(seconds, picture(frame, stream, VideoNotes())) for number, (seconds, frame, stream) in frames
            if number in chosen]  # fmt: skip


_Decoded = Iterator[tuple[float, "av.VideoFrame", "av.VideoStream"]]


def _decoded(path: Path, options: SamplingOptions, notes: VideoNotes) -> _Decoded:
    """The frames of `video_frames` before their pixels are converted."""
    try:
        with _opened(path) as container:
            stream = _chosen_stream(container, path)
            stream.thread_type = "AUTO"
            _check_pixels(stream, path)
            _remark_on(container, stream, notes)
            promised = _promised(container, stream)
            cuts = CutFinder() if options.cuts else None
            frames = _timed(container, stream, cuts, notes)
            for seconds, frame in sampled(
                frames, options.fps, notes.jumps, score=_sharpness if options.sharpest else None
            ):
                yield seconds, frame, stream
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
    """Seconds from the first picture to the end of the pictures, or of all streams where the header does not tell."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if not container.duration:
        return None
    start = (container.start_time or 0) / av.time_base
    first = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else start
    # Matroska's duration counts from 0, not from the first time stamp: a cut of a longer recording may start later.
    end = container.duration / av.time_base + (0 if "matroska" in container.format.name else start)
    return end - first if end > first else None


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


def _timed(
    container: "av.container.InputContainer", stream: "av.VideoStream", cuts: CutFinder | None, notes: VideoNotes
) -> "Iterator[Decoded[av.VideoFrame]]":
    """All frames that could be decoded, with their times."""
    shift: float | None = None  # from the container's times to those from the first frame
    corrupt, guessed, begins = 0, 0, False
    reformatter = VideoReformatter()
    for frame in container.decode(stream):
        usual = notes.seconds / max(notes.decoded - 1, 1) or 1 / float(stream.average_rate or 30)
        guessed += frame.time is None
        if shift is None:
            shift = -(frame.time or 0.0)
        seconds = notes.covered if frame.time is None else frame.time + shift
        jumps = False
        if seconds < notes.seconds - usual / 2:  # time stamps begin again: what follows is another recording
            shift += notes.covered - seconds
            seconds, jumps = notes.covered, True
        jumps |= notes.decoded > 1 and seconds - notes.seconds > max(_LONGEST_GAP, 5 * usual)
        notes.decoded += 1
        notes.seconds = seconds
        # A frame of unknown length stands as long as those before it did.
        length = frame.duration * frame.time_base if frame.duration else usual
        notes.covered = seconds + float(length)
        corrupt += frame.is_corrupt
        notes.gaps += jumps
        begins |= jumps
        if not frame.is_corrupt:
            is_cut = cuts is not None and cuts.begins_with(_small(frame, reformatter)) and not jumps
            notes.cuts += is_cut
            yield Decoded(seconds, frame, begins or is_cut)
            begins = False
    if guessed:
        notes.remarks.append(f"{guessed} frames have no time stamp: they are taken to follow the frame before")
    if notes.gaps:
        notes.remarks.append(f"time stamps jump {notes.gaps} times: a new clip begins at each jump")
    notes.remark_on_cuts()
    if corrupt:
        notes.remarks.append(f"{corrupt} frames could only be decoded in part and were left out")


def _small(frame: "av.VideoFrame", reformatter: VideoReformatter) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as it lies in the file, reduced for the search for cuts."""
    scale = SMALL_SIDE / max(frame.width, frame.height)
    width, height = (max(2, round(min(scale, 1) * side)) for side in (frame.width, frame.height))
    # An unknown colour matrix does not matter here.
    reduced = reformatter.reformat(
        frame, width, height, "rgb24", src_colorspace=Colorspace.DEFAULT, interpolation=Interpolation.AREA
    )
    return reduced.to_ndarray()


def _sharpness(frame: "av.VideoFrame") -> float:
    return sharpness(frame.reformat(format="gray").to_ndarray())
