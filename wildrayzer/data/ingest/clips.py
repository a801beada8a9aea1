"""The clips of ingested sources: how long stretches of frames are cut, written down and reported."""

import itertools
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wildrayzer.data.ingest.sources import FoundSources
from wildrayzer.io.files import write_bytes_atomic, write_json

VERSION = 3
"""Raised when a change of code changes what is written."""


@dataclass(frozen=True)
class IngestOptions:
    """What is made of the sources."""

    fps: float = 5.0
    """Frames a second taken of a video; 0 takes all. Images of a folder are all taken."""
    clip_length: int = 10
    """Frames of a clip."""
    min_frames: int = 3
    """Shortest clip: what is left after the last whole clip, or a whole source, is left out below it."""
    short_side: int = 512
    """Frames are reduced to this shorter side in pixels (Lanczos), never enlarged; 0 keeps them as recorded."""

    def __post_init__(self) -> None:
        if not 0 <= self.fps < math.inf:
            raise ValueError(f"--fps {self.fps}: give frames a second, or 0 for all frames")
        if not 3 <= self.min_frames <= self.clip_length:
            raise ValueError(
                f"--min-frames {self.min_frames} with --clip-length {self.clip_length}: a window needs at least 3 "
                "frames, and a clip may not be shorter than its minimum"
            )
        if self.short_side < 0:
            raise ValueError(f"--short-side {self.short_side}: give pixels, or 0 to keep the recorded size")


def cut(frames: int, options: IngestOptions, jumps: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Bounds of the clips of a source: whole ones, and the rest if it is not too short; none spans a jump.

    Args:
        frames: frames of the source.
        options: lengths of clips.
        jumps: numbers of the frames before which another recording ends, in order.
    """
    edges = [0, *jumps, frames]
    bounds = [
        (start, min(start + options.clip_length, end))
        for first, end in itertools.pairwise(edges)
        for start in range(first, end, options.clip_length)
    ]
    return [(start, stop) for start, stop in bounds if stop - start >= options.min_frames]


def write_clips(root: Path, records: Sequence[dict[str, Any]], options: IngestOptions) -> dict[str, list[str]]:
    """One `metadata/CLIP.json` a clip, and `full_list.txt`, which names these; returns the clips' names by source."""
    shutil.rmtree(root / "metadata", ignore_errors=True)
    (root / "metadata").mkdir()
    clips: dict[str, list[str]] = {}
    for record in records:
        source = record["name"]
        for number, (start, stop) in enumerate(cut(len(record["times"]), options, record["jumps"])):
            name = f"{source}_{number:03d}"
            frames: list[dict[str, Any]] = [
                {"image_path": f"../images/{source}/{frame:05d}.png"} for frame in range(start, stop)
            ]
            if record["kind"] == "video":
                frames = [
                    {**frame, "time": time} for frame, time in zip(frames, record["times"][start:stop], strict=True)
                ]
            write_json(
                root / "metadata" / f"{name}.json", {"scene_name": name, "source": record["path"], "frames": frames}
            )
            clips.setdefault(source, []).append(name)
    lines = [f"metadata/{name}.json\n" for names in clips.values() for name in names]
    write_bytes_atomic(root / "full_list.txt", "".join(lines).encode())
    return clips


def make_report(
    records: Sequence[dict[str, Any]], clips: dict[str, list[str]], found: FoundSources, options: IngestOptions
) -> dict[str, Any]:
    """What was found, used, left over and skipped, with reasons.

    Args:
        records: of all sources; a skipped one has a `reason`.
        clips: of `write_clips`.
        found: what the paths lead to.
        options: what was asked for.
    """
    sources, skipped = [], {}
    for record in records:
        if "reason" in record:
            skipped[record["path"]] = record["detail"]
            continue
        frames = sum(stop - start for start, stop in cut(len(record["times"]), options, record["jumps"]))
        shown = {key: record[key] for key in ("name", "path", "kind", "recorded", "size", "rotation", "decoded")}
        left = len(record["times"]) - frames
        sources.append(
            {**shown, "taken": len(record["times"]), "used": frames, "left_over": left,
             "clips": clips.get(record["name"], []), "remarks": record["remarks"]}
        )  # fmt: skip
    return {
        "version": VERSION,
        "options": asdict(options),
        "images": "PNG, lossless",
        "sources": sources,
        "totals": {
            "sources": len(records),
            "used": len(sources),
            "skipped": len(skipped),
            "clips": sum(len(source["clips"]) for source in sources),
            "frames": sum(source["used"] for source in sources),
            "left_over": sum(source["left_over"] for source in sources),
        },
        "reasons": dict(sorted(Counter(record["reason"] for record in records if "reason" in record).items())),
        "skipped": skipped,
        "left_out": {str(path): reason for path, reason in found.left_out.items()},
        "copies": {str(path): reason for path, reason in found.copies.items()},
        "ignored_files": [str(path) for path in found.ignored],
    }
