"""Masks as PNG files in the size of the recorded frames, and videos with what moves marked."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from wildrayzer.data.ingest.clips import line_of, read_clip
from wildrayzer.data.ingest.report import IngestedSource, IngestReport
from wildrayzer.data.readers.pixels import decode_file
from wildrayzer.images import UNKNOWN
from wildrayzer.report.run_files import MaskFiles
from wildrayzer.tools.render.video import write_video
from wildrayzer.tools.video_masks.workspace import Workspace

TRANSIENT, STATIC, UNSEEN = 255, 0, 128
"""Values of an exported mask: moves, stands still, not known (outside the central square, or in no window)."""
_TINT = (255, 90, 0)
"""Orange, which most colour-blind readers tell from greens and blues."""
_OPACITY, _DIM = 0.45, 0.6


@dataclass(frozen=True)
class ClipFrame:
    """A frame of a clip."""

    image: Path
    """Its picture in the ingested set."""
    number: int
    """Its place in the frame store."""


def clip_frames(workspace: Workspace, files: MaskFiles, clip: str) -> list[ClipFrame]:
    """The frames of a clip, in order; none where preparation skipped the clip."""
    if clip not in files.store.scenes:
        return []
    first = int(files.store.offsets[files.store.scenes.index(clip)])
    document = workspace.data / line_of(clip)
    frames = read_clip(document).frames
    return [ClipFrame(document.parent / frame.image_path, first + n) for n, frame in enumerate(frames)]


def full_mask(mask: UInt8[np.ndarray, "s s"], height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """A mask of the central square (1 = transient) in the size of the whole frame, in exported values."""
    side = min(height, width)
    values = np.select([mask == 1, mask == UNKNOWN], [TRANSIENT, UNSEEN], STATIC).astype(np.uint8)
    full = np.full((height, width), UNSEEN, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    full[top : top + side, left : left + side] = cv2.resize(values, (side, side), interpolation=cv2.INTER_NEAREST)
    return full


def overlay(image: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A frame with its transients tinted and outlined; what is not known is dimmed."""
    shown = image.astype(np.float32)
    marked = mask == TRANSIENT
    shown[marked] = (1 - _OPACITY) * shown[marked] + _OPACITY * np.array(_TINT, np.float32)
    shown[mask == UNSEEN] *= _DIM
    canvas = np.ascontiguousarray(shown.round().astype(np.uint8))
    contours, _ = cv2.findContours(marked.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(canvas, contours, -1, _TINT, 2)


def export(workspace: Workspace, files: MaskFiles, report: IngestReport) -> tuple[int, list[Path]]:
    """Write `masks/CLIP/FRAME.png` and `overlays/RECORDING.mp4`, in place of earlier ones.

    Returns:
        Number of masks, and the videos.
    """
    assert files.pixels is not None, "own videos are refined"
    for folder in (workspace.masks, workspace.overlays):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    fps = max(1, round(report.options.fps)) if report.options.fps else 24
    videos = []
    for source in report.sources:
        video = workspace.overlays / f"{source.name}.mp4"
        if any(clip_frames(workspace, files, clip) for clip in source.clips):
            write_video(video, _export_source(workspace, files, source), fps=fps)
            videos.append(video)
    return sum(1 for _ in workspace.masks.rglob("*.png")), videos


def _export_source(
    workspace: Workspace, files: MaskFiles, source: IngestedSource
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Write the masks of a recording; gives its frames with what moves marked."""
    assert files.pixels is not None
    for clip in source.clips:
        folder = workspace.masks / clip
        for frame in clip_frames(workspace, files, clip):
            image = np.asarray(decode_file(frame.image))
            mask = full_mask(files.pixels.read(np.array([frame.number]))[0], *image.shape[:2])
            folder.mkdir(exist_ok=True)
            payload = cv2.imencode(".png", mask)[1].tobytes()
            (folder / frame.image.name).write_bytes(payload)
            yield overlay(image, mask)
