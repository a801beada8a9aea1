"""The frames of a recording as lossless PNG files, with a record of what they are."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from rich.progress import Progress

from wildrayzer.data.ingest.clips import VERSION, IngestOptions, cut
from wildrayzer.data.ingest.media.animation import moving_frames
from wildrayzer.data.ingest.media.crop import CENTRE, window
from wildrayzer.data.ingest.media.sampling import VideoNotes
from wildrayzer.data.ingest.media.video import expected_frames
from wildrayzer.data.ingest.sources import Source, read_image
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.io.files import write_json
from wildrayzer.io.validated import read_validated

logger = logging.getLogger(__name__)


def take_in(source: Source, root: Path, options: IngestOptions, progress: Progress) -> dict[str, Any]:
    """Write the frames of a source to `images/SOURCE/` below `root`; returns its record, also `sources/SOURCE.json`.

    What an earlier call left is taken where files and options are the same. The record of a source that cannot be used
    has a `reason`; others have `times` (seconds), `jumps` (numbers of the frames with which
    another recording or shot begins), the number of `cuts`, sizes
    in pixels, and the digest of the files' `content`.
    """
    file = root / "sources" / f"{source.name}.json"
    made_from = {"version": VERSION, "fingerprint": source.fingerprint, "fps": options.fps,
                 "short_side": options.short_side, "crop": options.crop, "cuts": options.cuts,
                 "sharpest": options.sharpest}  # fmt: skip
    folder = root / "images" / source.name
    record = _earlier(file, folder, made_from)
    if record:
        logger.info("%s: there already, %d frames", source.path, len(record.get("times", ())))
    else:
        record = {"name": source.name, "path": str(source.path), "kind": source.kind, "made_from": made_from,
                  "content": source.content}  # fmt: skip
        try:
            record |= _write_frames(source, folder, options, progress)
        except BadSceneError as error:
            record |= {"reason": error.reason, "detail": str(error)}
        write_json(file, record, checksum=True)
    frames = len(record.get("times", ()))
    if "reason" not in record and not cut(frames, options, record["jumps"]):
        pieces = f" in {len(record['jumps']) + 1} pieces" if record["jumps"] else ""
        fix = "raise --fps or record more"
        if record["cuts"]:
            fix = f"{record['cuts']} cuts were found: name another video, or take them for none with --no-cuts"
        detail = f"{source.path}: {frames} frames{pieces}, --min-frames asks for {options.min_frames}; {fix}"
        record |= {"reason": "too few frames", "detail": f"too few frames: {detail}"}
    if "reason" in record:
        logger.warning("%s skipped: %s", source.path, record["detail"])
    return record


def _earlier(file: Path, folder: Path, made_from: dict[str, Any]) -> dict[str, Any]:
    """The record that an earlier call left, if it is of the same and its frames are all in `folder`; else empty."""
    try:
        record = read_validated(file, dict, fix="")
    except (FileNotFoundError, ValueError):  # not there or damaged: the recording is read again
        return {}
    there = sum(1 for _ in folder.glob("*.png"))
    same = record.get("made_from") == made_from and len(record.get("times", ())) == (0 if "reason" in record else there)
    return record if same else {}


def _write_frames(source: Source, folder: Path, options: IngestOptions, progress: Progress) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notes = VideoNotes()
    if source.kind == "video":
        total, frames = expected_frames(source.path, options.fps), moving_frames(source.path, options.sampling, notes)
    else:
        total, frames = len(source.images), _pictures(source, notes)
    task = progress.add_task(source.name, total=total)
    times: list[float] = []
    recorded: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    for number, (seconds, pixels) in enumerate(frames):
        if recorded not in (None, (pixels.shape[1], pixels.shape[0])):
            images = source.kind == "images"
            fix = "put pictures of another size or orientation in another folder" if images else "export it at one size"
            raise BadSceneError(
                "frames differ in size",
                f"{source.path}: {pixels.shape[1]}×{pixels.shape[0]} in frame {number}, {recorded[0]}×{recorded[1]} "
                f"before; {fix}",
            )
        recorded = (pixels.shape[1], pixels.shape[0])
        if options.crop != CENTRE:
            pixels = pixels[window(*recorded, options.crop)]
        image = _reduced(pixels, options.short_side)
        size = (image.shape[1], image.shape[0])
        payload = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
        (folder / f"{number:05d}.png").write_bytes(payload)
        times.append(round(seconds, 4))
        progress.advance(task)
    progress.update(task, total=len(times))
    return {
        "recorded": recorded and list(recorded),
        "size": size and list(size),
        "rotation": notes.rotation,
        "decoded": notes.decoded or len(times),
        "times": times,
        "jumps": notes.jumps,
        "cuts": notes.cuts,
        "remarks": notes.remarks,
    }


def _pictures(source: Source, notes: VideoNotes) -> Iterator[tuple[float, np.ndarray]]:
    """Images of a folder; their number stands for the time."""
    odd: Counter[str] = Counter()
    for number, file in enumerate(source.images):
        yield float(number), read_image(file, odd=odd)
    notes.remarks += [f"{count} images {what}" for what, count in odd.items()]


def _reduced(image: np.ndarray, short_side: int) -> np.ndarray:
    height, width = image.shape[:2]
    if not short_side or min(width, height) <= short_side:
        return image
    share = short_side / min(width, height)
    size = (max(round(width * share), short_side), max(round(height * share), short_side))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
