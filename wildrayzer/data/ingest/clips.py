"""The clips of ingested recordings: how long stretches of frames are cut and written down."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from wildrayzer.data.ingest.media.crop import CENTRE, place_of
from wildrayzer.data.ingest.media.sampling import SamplingOptions
from wildrayzer.io.files import write_bytes_atomic, write_json
from wildrayzer.io.validated import read_validated

LIST = "full_list.txt"
"""File name of the list of clips."""
VERSION = 5
"""Raised when a change of code changes what is written."""
OptionValue = float | int | bool | str | None
"""Of a field of `IngestOptions`; None where it is not given."""


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
    crop: str = CENTRE
    """Square window that is taken, see `place_of`. `centre` keeps whole frames, of which the frame store takes the
    middle."""
    cuts: bool = True
    """Whether a new clip begins at a cut."""
    sharpest: bool = False
    """Take the sharpest frame of each interval of a video rather than the first."""

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
        place_of(self.crop)

    @property
    def sampling(self) -> SamplingOptions:
        """Those that decide which frames are taken."""
        return SamplingOptions(self.fps, self.cuts, self.sharpest)


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


def clip_name(recording: str, number: int) -> str:
    """Name of a clip of a recording."""
    return f"{recording}_{number:03d}"


def write_clips(root: Path, record: Mapping[str, Any], options: IngestOptions, *, folder: str | None = None) -> None:
    """Write one `metadata/CLIP.json` per clip of a recording.

    Args:
        root: of the set.
        record: of `frames.take_in`.
        options: lengths of clips.
        folder: of its frames below `images/`; by default the recording's name.
    """
    for number, (start, stop) in enumerate(cut(len(record["times"]), options, record["jumps"])):
        clip = clip_name(record["name"], number)
        frames: list[dict[str, Any]] = [
            {"image_path": f"../images/{folder or record['name']}/{frame:05d}.png"} for frame in range(start, stop)
        ]
        if record["kind"] == "video":
            times = record["times"][start:stop]
            frames = [{**frame, "time": time} for frame, time in zip(frames, times, strict=True)]
        document = {"scene_name": clip, "source": record["path"], "frames": frames}
        write_json(root / line_of(clip), document)


class _Frame(BaseModel):
    image_path: str
    time: float | None = None


class Clip(BaseModel):
    """What the file of a clip says."""

    scene_name: str
    frames: list[_Frame] = Field(min_length=1)


def read_clip(path: str | Path) -> Clip:
    """The file of a clip, as `write_clips` wrote it.

    Raises:
        ValueError: it is damaged.
    """
    return read_validated(path, Clip, fix="ingest the recording again")


def line_of(clip: str) -> str:
    """What the list of clips holds for a clip: its file, below the folder of the set."""
    return f"metadata/{clip}.json"


def write_list(root: Path, lines: Iterable[str]) -> None:
    """Write `full_list.txt`, one line per clip."""
    write_bytes_atomic(root / LIST, "".join(f"{line}\n" for line in lines).encode())
