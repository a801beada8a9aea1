"""Numbers of clips and frames of a run's splits, and their origin."""

from dataclasses import dataclass
from pathlib import Path

from wildrayzer.config import RunConfig, SplitConfig
from wildrayzer.data.preparation.report import read_report
from wildrayzer.run.layout import RunLayout

STATED_CLIPS = {("pixelsplat", "train"): 67_477, ("pixelsplat", "test"): 7_289}
"""Clips of RealEstate10K as published for pixelSplat, for splits that state no number."""
STATED_FRAMES = {
    ("pixelsplat", "train"): (140.0, "assumed"),
    ("pixelsplat", "test"): (140.0, "assumed"),
    ("lvsm", "train"): (147_422 / 15_467, "as D-RE10K's training clips"),
    ("lvsm", "test"): (1_541 / 76, "as D-RE10K's mask test"),
}
"""Mean number of frames of a clip, and the origin of the number; D-RE10K's follow from its published sizes."""
_STATED = {"pixelsplat": "re10k", "lvsm": "dre10k"}
"""Source whose sizes are stated for a layout; a split of another source has no stated size."""
ASSUMED_CLIPS, ASSUMED_FRAMES = 1_000, 10.0
"""For splits of unknown size."""


@dataclass(frozen=True)
class SplitSize:
    """Size of a split."""

    clips: int
    frames: int
    origin: str
    """Origin of the numbers, for the list of assumptions."""


def split_sizes(config: RunConfig, layout: RunLayout) -> dict[str, SplitSize]:
    """Sizes of all splits: counted if the frames are prepared, else from the configuration or as published."""
    return {name: _size(name, split, config, layout) for name, split in config.data.splits.items()}


def _size(name: str, split: SplitConfig, config: RunConfig, layout: RunLayout) -> SplitSize:
    report = Path(layout.data_report(name))
    if report.is_file():
        prepared = read_report(report)
        return SplitSize(prepared.scenes.used, prepared.frames.used, f"counted in {report}")
    if split.layout == "embedded":
        embedded = config.data.embedded
        assert embedded is not None
        clips = embedded.splits[name].scenes
        return SplitSize(clips, clips * embedded.frames, "data.embedded")
    use = "train" if split.purpose == "train" else "test"
    known = split.source is None or split.source.startswith(_STATED[split.layout])
    published = STATED_CLIPS.get((split.layout, use)) if known else None
    if split.expected_scenes is not None:
        origin, clips = "data.splits.expected_scenes", split.expected_scenes
    elif published is not None:
        origin, clips = f"as published for {split.layout}", published
    else:
        origin, clips = "assumed, set data.splits.expected_scenes", ASSUMED_CLIPS
    if split.limit is not None and split.limit < clips:
        origin, clips = "data.splits.limit", split.limit
    frames, basis = (ASSUMED_FRAMES, "assumed")
    if known:
        frames, basis = STATED_FRAMES.get((split.layout, use), (ASSUMED_FRAMES, "assumed"))
    return SplitSize(clips, round(clips * frames), f"{clips} clips ({origin}), {frames:.1f} frames per clip ({basis})")
