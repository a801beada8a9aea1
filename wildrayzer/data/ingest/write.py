"""Write sources as a split in the LVSM-style layout, without cameras.

The frames of a source lie in `images/SOURCE/00000.png`, lossless; its clips are stretches of them (see `clips`).
`ingest.json` is the report.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from wildrayzer.data.ingest.clips import VERSION, IngestOptions, cut, make_report, write_clips
from wildrayzer.data.ingest.sheet import write_sheet
from wildrayzer.data.ingest.sources import Source, find_sources, read_image
from wildrayzer.data.ingest.video import VideoNotes, expected_frames, video_frames
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.io.files import read_json, write_bytes_atomic, write_json
from wildrayzer.io.locks import LockHeldError, locked

logger = logging.getLogger(__name__)

REPORT = "ingest.json"
"""Report of a finished set; written last."""


def ingest(
    paths: Sequence[Path], out: Path, options: IngestOptions, *, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Take in videos and image folders, and put text `files` (by name) beside them; returns the report.

    The set appears under its name when it is complete; until then it lies beside it as `.NAME.unfinished`, and the
    same call goes on with the sources that are missing there. A source that cannot be used is skipped with its
    reason.

    Raises:
        ValueError: see `find_sources`; `out` exists, is being written by another process, or no source can be used.
    """
    if out.exists():
        raise ValueError(f"--out {out} exists; name another folder, or delete it to ingest again")
    found = find_sources(paths)
    temporary = out.with_name(f".{out.name}.unfinished")
    with _alone(temporary, out), Progress(console=Console(stderr=True)) as progress:
        records = [_taken_in(source, temporary, options, progress) for source in found.sources]
        used = [record for record in records if "reason" not in record]
        if not used:
            shutil.rmtree(temporary)
            reasons = "\n".join(f"  {record['detail']}" for record in records)
            raise ValueError(f"none of the {len(records)} sources can be used:\n{reasons}")
        clips = write_clips(temporary, used, options)
        _drop_unused(temporary, [record["name"] for record in used])
        write_sheet(temporary)
        for name, text in (files or {}).items():
            write_bytes_atomic(temporary / name, text.encode())
        report = make_report(records, clips, found, options)
        write_json(temporary / REPORT, report)
        temporary.replace(out)
    shutil.rmtree(out / "sources")
    (out / ".lock").unlink()
    return report


@contextmanager
def _alone(temporary: Path, out: Path) -> Iterator[None]:
    """Keep other processes off the unfinished set; the lock dies with the process."""
    temporary.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(temporary / ".lock"))
        except LockHeldError:
            raise ValueError(f"--out {out} is being written by another process; wait for it") from None
        yield


def _taken_in(source: Source, root: Path, options: IngestOptions, progress: Progress) -> dict[str, Any]:
    """The record of a source: of an earlier call where files and options are the same, else made now."""
    file = root / "sources" / f"{source.name}.json"
    made_from = {"version": VERSION, "fingerprint": source.fingerprint, "fps": options.fps,
                 "short_side": options.short_side}  # fmt: skip
    folder = root / "images" / source.name
    record = _earlier(file, folder, made_from)
    if record:
        logger.info("%s: there already, %d frames", source.path, len(record.get("times", ())))
    else:
        record = {"name": source.name, "path": str(source.path), "kind": source.kind, "made_from": made_from}
        try:
            record |= _write_frames(source, folder, options, progress)
        except BadSceneError as error:
            record |= {"reason": error.reason, "detail": str(error)}
        write_json(file, record)
    frames = len(record.get("times", ()))
    if "reason" not in record and not cut(frames, options, record["jumps"]):
        pieces = f" in {len(record['jumps']) + 1} pieces" if record["jumps"] else ""
        detail = (
            f"{source.path}: {frames} frames{pieces}, --min-frames asks for {options.min_frames}; raise --fps or "
            "record more"
        )
        record |= {"reason": "too few frames", "detail": f"too few frames: {detail}"}
    if "reason" in record:
        logger.warning("%s skipped: %s", source.path, record["detail"])
    return record


def _earlier(file: Path, folder: Path, made_from: dict[str, Any]) -> dict[str, Any]:
    """The record that an earlier call left, if it is of the same and its frames are all in `folder`; else empty."""
    record: dict[str, Any] = read_json(file) if file.is_file() else {}
    there = sum(1 for _ in folder.glob("*.png"))
    same = record.get("made_from") == made_from and len(record.get("times", ())) == (0 if "reason" in record else there)
    return record if same else {}


def _write_frames(source: Source, folder: Path, options: IngestOptions, progress: Progress) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notes = VideoNotes()
    if source.kind == "video":
        total, frames = expected_frames(source.path, options.fps), video_frames(source.path, options.fps, notes)
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


def _drop_unused(root: Path, used: Sequence[str]) -> None:
    """Remove frames of sources that were skipped, or named by an earlier call alone, and first their records.

    A record without its frames would have the next call take them for made.
    """
    for folder in (root / "images").iterdir():
        if folder.name not in used:
            (root / "sources" / f"{folder.name}.json").unlink(missing_ok=True)
            shutil.rmtree(folder)
