"""Data: what was prepared and skipped, histograms of the scenes, and clips of every split."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.report import Histogram, PreparationReport, SplitContent, read_report
from wildrayzer.evaluation.tables.rows import KIND_NOTES
from wildrayzer.report.page.charts import COLOURS, chart, legend_above, plain
from wildrayzer.report.page.contact_sheets import clip_strip, spread
from wildrayzer.report.page.page import Block, Figures, Note, Picture, TextTable
from wildrayzer.report.page.pictures import encode, strip
from wildrayzer.report.run_files import is_store, splits_by_kind
from wildrayzer.run.layout import RunLayout

_CLIPS, _FRAMES = 4, 5
_SHOWN = 12


def data_table(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Scenes, frames, truth and skipped scenes of every split, from the preparation's reports."""
    rows, notes, absent = [], [], []
    for name, split in config.data.splits.items():
        file = Path(layout.data_report(name))
        if not file.is_file():
            absent.append(name)
            continue
        report = read_report(file)
        scenes = report.scenes
        reasons = "; ".join(f"{reason}: {count}" for reason, count in report.reasons.items())
        rows.append((
            name, split.role, split.purpose, split.layout, f"{scenes.used} of {scenes.taken}", str(report.frames.used),
            f"{report.image_size} px", _truth(layout.store(name)), reasons or "none", report.digest,
        ))  # fmt: skip
        notes += [f"{name}: {note}." for note in report.notes]
    columns = ("split", "role", "purpose", "layout", "scenes used", "frames", "size", "truth", "skipped", "digest")
    blocks: list[Block] = [TextTable("Splits", columns, tuple(rows), tuple(notes))] if rows else []
    if absent:
        blocks.append(Note(f"Not prepared yet, so left out: {', '.join(absent)}."))
    return blocks


def _truth(path: str) -> str:
    if not is_store(path):
        return "store missing"
    store = FrameStore(path)
    parts = (("cameras", store.has_cameras), ("masks", store.has_masks), ("clean twins", store.has_clean))
    return ", ".join(name for name, present in parts if present) or "none"


def contact_sheets(config: RunConfig, layout: RunLayout) -> list[Block]:
    """A few clips of each kind of test and control split."""
    blocks: list[Block] = []
    for kind, name in splits_by_kind(config).items():
        if is_store(layout.store(name)):
            blocks.append(_clips(FrameStore(layout.store(name)), f"{name}. {KIND_NOTES[kind]}"))
        else:
            blocks.append(Note(f"{name}: the frame store does not exist yet, so its clips are left out."))
    return blocks


def _clips(store: FrameStore, title: str) -> Figures:
    pictures = []
    for scene in spread(len(store), _CLIPS):
        frames, numbers = clip_strip(store, scene, _FRAMES)
        caption = f"{store.scenes[scene]}, frames {numbers}"
        pictures.append(Picture(encode(strip(frames), photograph=True), f"Clip {store.scenes[scene]}", caption))
    text = "Clips evenly spread over the split." + (" Red: outline of the true mask." if store.has_masks else "")
    return Figures(title, tuple(pictures), text, "strip")


def data_report(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Counts and skips of every prepared split, histograms, and contact sheets of the splits shown nowhere else."""
    files = {name: Path(layout.data_report(name)) for name in config.data.splits}
    reports = {name: read_report(file) for name, file in files.items() if file.is_file()}
    contents = {name: report.content for name, report in reports.items() if report.content is not None}
    reports = {name: reports[name] for name in contents}
    if not reports:
        return []
    blocks: list[Block] = [_counts(reports, contents), *_skips(reports), *_histograms(contents)]
    elsewhere = set(splits_by_kind(config).values())
    sheets = [
        Picture(encode(image, photograph=True), f"Clips of {name}", name)
        for name in reports
        if name not in elsewhere and (image := _sheet(layout.data_sheet(name))) is not None
    ]
    text = "Clips evenly spread over each split, with the numbers of the frames shown. Red: outline of the true mask."
    return [*blocks, Figures("Contact sheets", tuple(sheets), text, "strip")] if sheets else blocks


def _sheet(file: str | Path) -> UInt8[np.ndarray, "h w 3"] | None:
    image = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB) if Path(file).is_file() else None
    return None if image is None else np.asarray(image, np.uint8)


def _counts(reports: dict[str, PreparationReport], contents: dict[str, SplitContent]) -> TextTable:
    rows = []
    for name, report in reports.items():
        scenes, frames = report.scenes, report.frames
        sizes, lengths = list(contents[name].resolution), list(contents[name].clip_length)
        rows.append((
            name, _known(scenes.expected), str(scenes.found), str(scenes.used), _known(frames.expected),
            _known(frames.found), str(frames.used), ", ".join(sizes[:3]) + (", …" if len(sizes) > 3 else ""),
            f"{min(lengths)} to {max(lengths)}" if lengths else "–", report.codec,
        ))  # fmt: skip
    columns = ("split", "scenes expected", "found", "used", "frames expected", "found", "used", "source size",
               "frames a clip", "codec")  # fmt: skip
    notes = (
        "Expected: what the data set is known to hold; – where that is not known. Frames found: those used and those "
        "of skipped scenes that could be counted.",
    )
    return TextTable("Expected, found and used", columns, tuple(rows), notes)


def _known(count: int | None) -> str:
    return "–" if count is None else str(count)


def _skips(reports: dict[str, PreparationReport]) -> list[Block]:
    skipped = [(name, scene, why) for name, report in reports.items() for scene, why in report.skipped.items()]
    if not skipped:
        return []
    more = len(skipped) - _SHOWN
    notes = (f"{more} more are in the reports beside the frame stores.",) if more > 0 else ()
    return [TextTable("Skipped scenes", ("split", "scene", "reason"), tuple(skipped[:_SHOWN]), notes)]


def _histograms(contents: dict[str, SplitContent]) -> list[Block]:
    parts = (
        ("clip_length", "frames of a clip", False), ("turn_degrees", "turn of the camera, degrees", False),
        ("travel", "travel of the camera, the set's own unit", True),
    )  # fmt: skip
    explained = {
        "clip_length": "Clip length.",
        "turn_degrees": "Largest angle between the first view's axis and any other's.",
        "travel": "Length of the camera's path; units differ between sets.",
    }
    pictures = []
    for key, label, logarithmic in parts:
        shown = {name: counted for name, content in contents.items() if (counted := getattr(content, key))}
        if shown:
            drawn = _chart({name: _steps(counted) for name, counted in shown.items()}, label, logarithmic)
            pictures.append(Picture(drawn, f"Histogram: {label}", explained[key]))
    text = "Share of each split's scenes. Splits without cameras are left out where the camera's motion is shown."
    return [Figures("Scenes", tuple(pictures), text)] if pictures else []


def _steps(counted: Histogram | dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Edges, and the share of scenes in each bin between them; of a histogram, or of scenes by clip length."""
    if isinstance(counted, dict):
        lengths = np.array(list(counted))
        edges = np.linspace(lengths.min() - 0.5, lengths.max() + 0.5, min(int(np.ptp(lengths)) + 1, 40) + 1)
        counts = np.histogram(lengths, bins=edges, weights=list(counted.values()))[0]
    else:
        edges, counts = np.array(counted.edges), np.array(counted.scenes, np.float64)
        used = np.flatnonzero(counts)
        edges, counts = edges[used[0] : used[-1] + 2], counts[used[0] : used[-1] + 1]
    return edges, counts / counts.sum()


def _chart(splits: dict[str, tuple[np.ndarray, np.ndarray]], label: str, logarithmic: bool) -> str:
    def draw(axes: Axes) -> None:
        for number, (name, (edges, shares)) in enumerate(splits.items()):
            style = ("-", "--", ":")[number // len(COLOURS) % 3]
            axes.stairs(100 * shares, edges, label=plain(name), color=COLOURS[number % len(COLOURS)], linestyle=style)
        axes.set_xlabel(label)
        axes.set_ylabel("scenes, %")
        if logarithmic:
            axes.set_xscale("log")
        legend_above(axes, columns=3)

    return chart(draw)
