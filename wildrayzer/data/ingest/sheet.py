"""Contact sheet of an ingested set: a few frames of each clip, for the eye."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wildrayzer.data.readers.base import Fit
from wildrayzer.io.files import read_json, replacing

SHEET = "contact_sheet.jpg"
"""File name of the sheet."""
_SIDE, _GAP, _LINE, _FRAMES, _CLIPS = 128, 4, 20, 6, 40


def write_sheet(root: Path) -> None:
    """Write the sheet of a set: up to 40 clips, evenly spread over it, in rows of up to 6 frames, evenly spread.

    Frames are cropped to the middle square, as the frame store crops them.
    """
    lines = (root / "full_list.txt").read_text(encoding="utf-8").split()
    chosen = [lines[place] for place in _spread(len(lines), _CLIPS)]
    row = _LINE + _SIDE + _GAP
    sheet = Image.new("RGB", (_FRAMES * (_SIDE + _GAP) + _GAP, _LINE + len(chosen) * row + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    head = f"{len(chosen)} of {len(lines)} clips" if len(chosen) < len(lines) else f"{len(lines)} clips"
    draw.text((_GAP, 2), f"{head}; middle squares, as the frame store crops them", "black", font)
    for number, line in enumerate(chosen):
        clip = read_json(root / line)
        frames, top = clip["frames"], _LINE + number * row
        first, last = frames[0].get("time"), frames[-1].get("time")
        when = "" if first is None else f", {first:.2f} to {last:.2f} s"
        draw.text((_GAP, top + 2), f"{clip['scene_name']}: {len(frames)} frames{when}", "black", font)
        for place, frame in enumerate(_spread(len(frames), _FRAMES)):
            with Image.open((root / line).parent / frames[frame]["image_path"]) as image:
                pixels = Fit.of(*image.size, _SIDE).image(image.convert("RGB"))
            sheet.paste(Image.fromarray(pixels), (_GAP + place * (_SIDE + _GAP), top + _LINE))
    with replacing(root / SHEET) as temporary:
        sheet.save(temporary, "JPEG", quality=90)


def _spread(count: int, wanted: int) -> list[int]:
    """Up to `wanted` numbers under `count`, evenly spread, the ends among them."""
    return np.round(np.linspace(0, count - 1, min(count, wanted))).astype(int).tolist()
