"""Contact sheet of an ingested set: a few frames of each clip, for the eye."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from wildrayzer.data.ingest.clips import read_clip
from wildrayzer.data.ingest.media.animation import moving_frames
from wildrayzer.data.ingest.media.crop import outlined, place_of
from wildrayzer.data.ingest.media.sampling import SamplingOptions, VideoNotes
from wildrayzer.data.ingest.sources import Source, read_image
from wildrayzer.data.readers.base import BadSceneError, Fit
from wildrayzer.io.files import replacing

logger = logging.getLogger(__name__)

SHEET = "contact_sheet.jpg"
"""File name of the sheet."""
_SIDE, _GAP, _LINE, _FRAMES, _CLIPS = 128, 4, 20, 6, 40


def write_sheet(root: Path) -> None:
    """Write the sheet of a set: up to 40 clips, evenly spread over it, in rows of up to 6 frames, evenly spread.

    Frames are cropped to the middle square, as the frame store crops them; those of a chosen window are square already.
    """
    lines = (root / "full_list.txt").read_text(encoding="utf-8").split()
    chosen = [lines[place] for place in _spread(len(lines), _CLIPS)]
    row = _LINE + _SIDE + _GAP
    sheet = Image.new("RGB", (_FRAMES * (_SIDE + _GAP) + _GAP, _LINE + len(chosen) * row + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    head = f"{len(chosen)} of {len(lines)} clips" if len(chosen) < len(lines) else f"{len(lines)} clips"
    draw.text((_GAP, 2), f"{head}; middle squares, as the frame store crops them", "black", font)
    for number, line in enumerate(chosen):
        clip = read_clip(root / line)
        frames, top = clip.frames, _LINE + number * row
        first, last = frames[0].time, frames[-1].time
        when = "" if first is None or last is None else f", {first:.2f} to {last:.2f} s"
        draw.text((_GAP, top + 2), f"{clip.scene_name}: {len(frames)} frames{when}", "black", font)
        for place, frame in enumerate(_spread(len(frames), _FRAMES)):
            with Image.open((root / line).parent / frames[frame].image_path) as image:
                pixels = Fit.of(*image.size, _SIDE).image(image.convert("RGB"))
            sheet.paste(Image.fromarray(pixels), (_GAP + place * (_SIDE + _GAP), top + _LINE))
    with replacing(root / SHEET) as temporary:
        sheet.save(temporary, "JPEG", quality=90)


def write_preview(sources: Sequence[Source], crop: str, file: Path) -> None:
    """Write a picture of the first frame of each source, up to 40; what the window leaves out is dark.

    Args:
        sources: recordings.
        crop: the window, see `crop.place_of`.
        file: JPEG to write.

    Raises:
        ValueError: `crop` names no window, or no source can be read.
    """
    place_of(crop)
    shown: list[tuple[str, Image.Image]] = []
    for source in sources[:_CLIPS]:
        try:
            first = outlined(_first_frame(source), crop)
        except BadSceneError as error:
            logger.warning("%s", error)
            continue
        image = Image.fromarray(first)
        image.thumbnail((2 * _SIDE, 2 * _SIDE), Image.Resampling.LANCZOS)
        shown.append((source.name, image))
    if not shown:
        raise ValueError("none of the recordings can be read, so that there is nothing to preview")
    cell = (2 * _SIDE + _GAP, 2 * _SIDE + _GAP + _LINE)
    columns = min(len(shown), 4)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, math.ceil(len(shown) / columns) * cell[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number, (name, image) in enumerate(shown):
        left, top = _GAP + number % columns * cell[0], number // columns * cell[1]
        draw.text((left, top + 2), name[:36], "black", font)
        sheet.paste(image, (left, top + _LINE))
    with replacing(file) as temporary:
        sheet.save(temporary, "JPEG", quality=90)


def _first_frame(source: Source) -> UInt8[np.ndarray, "h w 3"]:
    if source.kind == "images":
        return read_image(source.images[0])
    return next(iter(moving_frames(source.path, SamplingOptions(), VideoNotes())))[1]


def _spread(count: int, wanted: int) -> list[int]:
    """Up to `wanted` numbers under `count`, evenly spread, the ends among them."""
    return np.round(np.linspace(0, count - 1, min(count, wanted))).astype(int).tolist()
