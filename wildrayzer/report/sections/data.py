"""What preparation found in every split: counts, histograms of its scenes, contact sheets."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.io.files import read_json
from wildrayzer.report.page.charts import COLOURS, chart, legend_above, plain
from wildrayzer.report.page.page import Block, Figures, Picture, TextTable
from wildrayzer.report.page.pictures import encode, outlined, resize, strip
from wildrayzer.report.page.sheets import splits_by_kind, spread
from wildrayzer.run.layout import RunLayout

SHEET_CLIPS, SHEET_FRAMES, SHEET_SIDE = 6, 6, 128
"""Clips and frames of a contact sheet, and the largest side of a frame on it."""
_CAPTION = 18
_SHOWN = 12


def contact_sheet(store: FrameStore) -> bytes:
    """PNG of clips evenly spread over a store, a row a clip under its name; true masks are outlined in red."""
    rows = []
    for scene in spread(len(store), SHEET_CLIPS):
        numbers = np.linspace(0, store.length(scene) - 1, min(SHEET_FRAMES, store.length(scene))).round().astype(int)
        frames = store.read(numbers + store.offsets[scene])
        if store.has_masks:
            masks = store.read_masks(numbers + store.offsets[scene])
            shown = [outlined(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
        else:
            shown = [resize(frame, smooth=True) for frame in frames]
        rows.append(_row(shown, f"{store.scenes[scene]}  {', '.join(map(str, numbers))}"))
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


def data_report(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Counts and skips of every prepared split, histograms, and contact sheets of the splits shown nowhere else."""
    files = {name: Path(layout.data_report(name)) for name in config.data.splits}
    reports = {name: read_json(file) for name, file in files.items() if file.is_file()}
    reports = {name: report for name, report in reports.items() if "content" in report}
    if not reports:
        return []
    blocks: list[Block] = [_counts(reports), *_skips(reports), *_histograms(reports)]
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


def _counts(reports: dict[str, Any]) -> TextTable:
    rows = []
    for name, report in reports.items():
        scenes, frames, sizes = report["scenes"], report["frames"], list(report["content"]["resolution"])
        lengths = [int(length) for length in report["content"]["clip_length"]]
        rows.append((
            name, _known(scenes["expected"]), str(scenes["found"]), str(scenes["used"]), _known(frames["expected"]),
            str(frames["found"]), str(frames["used"]), ", ".join(sizes[:3]) + (", …" if len(sizes) > 3 else ""),
            f"{min(lengths)} to {max(lengths)}" if lengths else "–", report["codec"],
        ))  # fmt: skip
    columns = ("split", "scenes expected", "found", "used", "frames expected", "found", "used", "source size",
               "frames a clip", "codec")  # fmt: skip
    notes = (
        "Expected: what the source is known to hold, – where nobody says. Frames found: those used and those of "
        "skipped scenes that could be counted.",
    )
    return TextTable("Expected, found and used", columns, tuple(rows), notes)


def _known(count: int | None) -> str:
    return "–" if count is None else str(count)


def _skips(reports: dict[str, Any]) -> list[Block]:
    skipped = [(name, scene, why) for name, report in reports.items() for scene, why in report["skipped"].items()]
    if not skipped:
        return []
    more = len(skipped) - _SHOWN
    notes = (f"{more} more are in the reports beside the frame stores.",) if more > 0 else ()
    return [TextTable("Skipped scenes", ("split", "scene", "reason"), tuple(skipped[:_SHOWN]), notes)]


def _histograms(reports: dict[str, Any]) -> list[Block]:
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
        shown = {name: report["content"][key] for name, report in reports.items() if report["content"][key]}
        if shown:
            drawn = _chart({name: _steps(key, values) for name, values in shown.items()}, label, logarithmic)
            pictures.append(Picture(drawn, f"Histogram: {label}", explained[key]))
    text = "Share of each split's scenes. Splits without cameras are left out where the camera's motion is shown."
    return [Figures("Scenes", tuple(pictures), text)] if pictures else []


def _steps(key: str, values: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Edges, and the share of scenes in each bin between them."""
    if key == "clip_length":
        lengths = np.array([int(length) for length in values])
        edges = np.linspace(lengths.min() - 0.5, lengths.max() + 0.5, min(int(np.ptp(lengths)) + 1, 40) + 1)
        counts = np.histogram(lengths, bins=edges, weights=list(values.values()))[0]
    else:
        edges, counts = np.array(values["edges"]), np.array(values["scenes"], np.float64)
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
