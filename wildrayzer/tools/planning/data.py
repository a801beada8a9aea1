"""How many clips and frames a run will meet, and where the numbers are from."""

import json
from dataclasses import dataclass
from pathlib import Path

from wildrayzer.config import RunConfig, SplitConfig
from wildrayzer.run.layout import RunLayout

STATED_CLIPS = {("pixelsplat", "train"): 67_477, ("pixelsplat", "test"): 7_289}
"""Clips of RealEstate10K as pixelSplat's readers publish it, for splits that state no number."""
STATED_FRAMES = {
    ("pixelsplat", "train"): (140.0, "assumed"),
    ("pixelsplat", "test"): (140.0, "assumed"),
    ("lvsm", "train"): (147_422 / 15_467, "as D-RE10K's training clips"),
    ("lvsm", "test"): (1_541 / 76, "as D-RE10K's mask test"),
}
"""Mean frames of a clip, and how they are known; D-RE10K's are of the sizes that it states."""
ASSUMED_CLIPS, ASSUMED_FRAMES = 1_000, 10.0
"""For splits about which nothing is known."""


@dataclass(frozen=True)
class SplitSize:
    """Size of a split."""

    clips: int
    frames: int
    origin: str
    """Where the numbers are from, for the list of assumptions."""


def split_sizes(config: RunConfig, layout: RunLayout) -> dict[str, SplitSize]:
    """Sizes of all splits: counted where the frames are prepared, else from the configuration or as published."""
    return {name: _size(name, split, config, layout) for name, split in config.data.splits.items()}


def _size(name: str, split: SplitConfig, config: RunConfig, layout: RunLayout) -> SplitSize:
    report = Path(layout.data_report(name))
    if report.is_file():
        found = json.loads(report.read_text())
        return SplitSize(found["scenes"]["used"], found["frames"]["used"], f"counted in {report}")
    if split.layout == "embedded":
        embedded = config.data.embedded
        assert embedded is not None
        made = embedded.splits[name].scenes
        return SplitSize(made, made * embedded.frames, "data.embedded")
    use = "train" if split.purpose == "train" else "test"
    published = STATED_CLIPS.get((split.layout, use))
    if split.expected_scenes is not None:
        origin, clips = "data.splits.expected_scenes", split.expected_scenes
    elif published is not None:
        origin, clips = f"as published for {split.layout}", published
    else:
        origin, clips = "assumed, set data.splits.expected_scenes", ASSUMED_CLIPS
    if split.limit is not None and split.limit < clips:
        origin, clips = "data.splits.limit", split.limit
    frames, basis = STATED_FRAMES.get((split.layout, use), (ASSUMED_FRAMES, "assumed"))
    return SplitSize(clips, round(clips * frames), f"{clips} clips ({origin}), {frames:.1f} frames a clip ({basis})")
