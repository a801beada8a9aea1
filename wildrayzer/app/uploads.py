"""Pictures that visitors bring: checked against limits before anything is decoded, cropped, and shown with the crop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from wildrayzer.data.ingest.media.video import VIDEO_SUFFIXES, evenly_spread
from wildrayzer.data.ingest.sources import IMAGE_SUFFIXES, read_image
from wildrayzer.data.ingest.views import View, fitted
from wildrayzer.data.readers.base import BadSceneError, Fit
from wildrayzer.io.printable import printable

MOST_PICTURES = 24
MOST_MEGABYTES = 64
"""Per file; the server refuses larger ones while they are sent."""
MOST_MEGAPIXELS = 50
"""Per photo, by its header."""
LONGEST_SECONDS = 30
"""Of a video, by the time stamps of its packets: headers may lie."""
MOST_VIDEO_FRAMES = 120 * LONGEST_SECONDS
MOST_VIDEO_MEGAPIXELS = 9
"""Per frame; 4K has 8.3."""
LIMITS = (
    f"2 to {MOST_PICTURES} photos of up to {MOST_MEGAPIXELS} megapixels, or one video of up to {LONGEST_SECONDS} s in "
    f"4K or less; {MOST_MEGABYTES} MB per file"
)
_PREVIEW_SIDE = 192


@dataclass(frozen=True)
class Picture:
    """A photo or a frame of a video."""

    name: str
    """Of the file, or file and time; fit for display, but not escaped for HTML."""
    view: View
    """As the network sees it."""
    preview: UInt8[np.ndarray, "h w 3"]
    """The whole picture, reduced; what the crop leaves out is dark."""


def read_uploads(paths: Sequence[Path], *, image_size: int, frames: int) -> list[Picture]:
    """Photos in the order of their names, or frames of one video, as the network sees them.

    Args:
        paths: uploaded files.
        image_size: side of the network's views, pixels.
        frames: number of frames to take from a video, evenly spread.

    Raises:
        ValueError: too few or too many files, of an unknown kind, beyond a limit, or damaged; says what to do.
    """
    photos = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    others = [path for path in paths if path not in photos and path not in videos]
    if others:
        raise ValueError(
            f"{_name(others[0])} is of a kind that is not read; photos are {', '.join(IMAGE_SUFFIXES)}, videos "
            f"{', '.join(VIDEO_SUFFIXES)}: convert it"
        )
    if videos and (photos or len(videos) > 1):
        raise ValueError(f"{len(photos)} photos and {len(videos)} videos: give either photos, or one video")
    if not videos and not 2 <= len(photos) <= MOST_PICTURES:
        raise ValueError(f"{len(photos)} photos: give 2 to {MOST_PICTURES} photos of one scene, or one video")
    try:
        if videos:
            return _of_video(videos[0], image_size, frames)
        ordered = sorted(photos, key=lambda path: path.name)
        for path in ordered:  # all headers first: nothing is decoded if one photo is too large
            _check_photo(path)
        return [_picture(_name(path), read_image(path), image_size) for path in ordered]
    except BadSceneError as error:
        # The name is enough; the path is the server's own.
        raise ValueError(_without_folders(str(error), paths)) from None


def of_arrays(images: UInt8[np.ndarray, "v h w 3"], names: Sequence[str], *, image_size: int) -> list[Picture]:
    """Pictures of arrays, such as frames of a store."""
    return [_picture(name, image, image_size) for name, image in zip(names, images, strict=True)]


def _picture(name: str, pixels: UInt8[np.ndarray, "h w 3"], image_size: int) -> Picture:
    return Picture(name, fitted(name, pixels, image_size), preview(pixels, image_size))


def preview(pixels: UInt8[np.ndarray, "h w 3"], image_size: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A picture with a shorter side of `_PREVIEW_SIDE`; what the centre crop leaves out is dark."""
    height, width = pixels.shape[:2]
    fit = Fit.of(width, height, image_size)
    scale = _PREVIEW_SIDE / fit.size
    size = (round(fit.width * scale), round(fit.height * scale))
    reduced = min(width, height) > _PREVIEW_SIDE
    shown = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if reduced else cv2.INTER_LANCZOS4)
    left, top = round(fit.left * scale), round(fit.top * scale)
    dark = shown // 4
    part = slice(top, top + _PREVIEW_SIDE), slice(left, left + _PREVIEW_SIDE)
    dark[part] = shown[part]
    return dark


def _check_photo(path: Path) -> None:
    """Refuse a photo whose header claims more pixels than are taken, before they are decoded."""
    try:
        with Image.open(path) as image:
            megapixels = image.width * image.height / 1e6
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        megapixels = np.inf
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return  # reading it reports what is wrong
    if megapixels > MOST_MEGAPIXELS:
        claimed = "far too many" if np.isinf(megapixels) else f"{megapixels:.0f}"
        raise ValueError(
            f"{_name(path)} has {claimed} megapixels; up to {MOST_MEGAPIXELS} are taken: export it smaller"
        )


def _of_video(path: Path, image_size: int, frames: int) -> list[Picture]:
    _check_video(path)
    chosen = evenly_spread(path, frames)
    if len(chosen) < 2:
        raise ValueError(f"{_name(path)} has only one frame; give a longer video, or photos")
    return [_picture(f"{_name(path)} at {seconds:.2f} s", pixels, image_size) for seconds, pixels in chosen]


def _check_video(path: Path) -> None:
    """Refuse a video that is too long or too large by its packets, before a frame of it is decoded."""
    try:
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            streams = [one for one in container.streams.video if one.codec_context is not None]
            if any(one.width * one.height > MOST_VIDEO_MEGAPIXELS * 1e6 for one in streams):
                raise ValueError(f"{_name(path)} has frames larger than 4K; export it in 4K or less")
            if not streams:
                return  # reading it reports what is wrong
            first: dict[int, float] = {}
            for count, packet in enumerate(container.demux(streams)):
                seconds = 0.0 if packet.pts is None else float(packet.pts * packet.time_base)
                start = first.setdefault(packet.stream_index, seconds)
                if seconds - start > LONGEST_SECONDS or count >= MOST_VIDEO_FRAMES + len(streams):
                    raise ValueError(
                        f"{_name(path)} is longer than {LONGEST_SECONDS} s, or has more than {MOST_VIDEO_FRAMES} "
                        "frames; cut out the part that shows the scene"
                    )
    except av.FFmpegError:
        return  # reading it reports what is wrong


def _name(path: Path) -> str:
    name = printable(path.name)
    return name if len(name) <= 60 else f"{name[:40]}…{name[-15:]}"


def _without_folders(text: str, paths: Sequence[Path]) -> str:
    for path in paths:
        text = text.replace(str(path), _name(path))
    return printable(text)
