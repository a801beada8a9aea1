"""Contact sheets: a few clips of a frame store, evenly spread, with true masks outlined in red."""

import cv2
import numpy as np
from jaxtyping import UInt8

from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.report.page.pictures import outlined, resize, strip

SHEET_CLIPS, SHEET_FRAMES, SHEET_SIDE = 6, 6, 128
"""Clips and frames of a contact sheet, and the largest side of a frame on it."""
_CAPTION = 18


def spread(count: int, wanted: int) -> list[int]:
    """Up to `wanted` numbers under `count`, evenly spread."""
    wanted = min(count, wanted)
    return [count * (2 * number + 1) // (2 * wanted) for number in range(wanted)]


def clip_strip(store: FrameStore, scene: int, count: int) -> tuple[list[UInt8[np.ndarray, "h w 3"]], str]:
    """Up to `count` frames of a clip, evenly spread and enlarged, and their numbers as text."""
    numbers = np.linspace(0, store.length(scene) - 1, min(count, store.length(scene))).round().astype(int)
    index = numbers + store.offsets[scene]
    frames = store.read(index)
    if store.has_masks:
        shown = [outlined(frame, mask) for frame, mask in zip(frames, store.read_masks(index), strict=True)]
    else:
        shown = [resize(frame, smooth=True) for frame in frames]
    return shown, ", ".join(map(str, numbers))


def contact_sheet(store: FrameStore) -> bytes:
    """PNG of clips evenly spread over a store, one row per clip under its name; true masks are outlined in red."""
    rows = []
    for scene in spread(len(store), SHEET_CLIPS):
        frames, numbers = clip_strip(store, scene, SHEET_FRAMES)
        rows.append(_row(frames, f"{store.scenes[scene]}  {numbers}"))
    width = max((row.shape[1] for row in rows), default=SHEET_SIDE)
    padded = [np.pad(row, ((0, 6), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    sheet = np.concatenate(padded) if padded else np.full((SHEET_SIDE, SHEET_SIDE, 3), 255, np.uint8)
    return cv2.imencode(".png", sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()


def _row(frames: list[UInt8[np.ndarray, "h w 3"]], caption: str) -> UInt8[np.ndarray, "h2 w2 3"]:
    small = [
        cv2.resize(frame, (SHEET_SIDE, SHEET_SIDE), interpolation=cv2.INTER_AREA) if len(frame) > SHEET_SIDE else frame
        for frame in frames
    ]
    pictures = strip(small)
    head = np.full((_CAPTION, pictures.shape[1], 3), 255, np.uint8)
    text = caption.encode("ascii", "replace").decode()
    cv2.putText(head, text, (1, _CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (60, 60, 60), 1, cv2.LINE_AA)
    return np.concatenate([head, pictures])
