"""Data: what was prepared, and contact sheets of a few clips."""

from pathlib import Path

import numpy as np

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.tables.rows import KIND_NOTES
from wildrayzer.evaluation.tables.tables import split_kind
from wildrayzer.io.files import read_json
from wildrayzer.report.page.page import Block, Figures, Note, Picture, TextTable
from wildrayzer.report.page.pictures import encode, outlined, resize, strip
from wildrayzer.run.layout import RunLayout

_CLIPS, _FRAMES = 4, 5


def is_store(path: str | Path) -> bool:
    """Whether a complete frame store or cache group lies there."""
    return (Path(path) / "zarr.json").is_file()


def data_table(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Scenes, frames, truth and skipped scenes of every split, from the preparation's reports."""
    rows, notes, absent = [], [], []
    for name, split in config.data.splits.items():
        file = Path(layout.data_report(name))
        if not file.is_file():
            absent.append(name)
            continue
        report = read_json(file)
        scenes, frames = report["scenes"], report["frames"]["used"]
        reasons = "; ".join(f"{reason}: {count}" for reason, count in report["reasons"].items())
        rows.append((
            name, split.role, split.purpose, split.layout, f"{scenes['used']} of {scenes['taken']}", str(frames),
            f"{report['image_size']} px", _truth(layout.store(name)), reasons or "none", report.get("digest", "–"),
        ))  # fmt: skip
        notes += [f"{name}: {note}." for note in report["notes"]]
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


def splits_by_kind(config: RunConfig) -> dict[str, str]:
    """The first shown split of each kind: static, moving, pairs, frozen, same_family."""
    found: dict[str, str] = {}
    for name in (*config.data.of(purpose="test"), *config.data.of(purpose="control")):
        found.setdefault(split_kind(config, name), name)
    return found


def contact_sheets(config: RunConfig, layout: RunLayout) -> list[Block]:
    """A few clips of each kind of test and control split."""
    blocks: list[Block] = []
    for kind, name in splits_by_kind(config).items():
        if is_store(layout.store(name)):
            blocks.append(_sheet(FrameStore(layout.store(name)), f"{name}. {KIND_NOTES[kind]}"))
        else:
            blocks.append(Note(f"{name}: the frame store does not exist yet, so its clips are left out."))
    return blocks


def spread(count: int, wanted: int) -> list[int]:
    """Up to `wanted` numbers under `count`, evenly spread."""
    wanted = min(count, wanted)
    return [count * (2 * number + 1) // (2 * wanted) for number in range(wanted)]


def _sheet(store: FrameStore, title: str) -> Figures:
    pictures = []
    for scene in spread(len(store), _CLIPS):
        numbers = np.round(np.linspace(0, store.length(scene) - 1, min(_FRAMES, store.length(scene)))).astype(int)
        index = numbers + store.offsets[scene]
        frames = store.read(index)
        if store.has_masks:
            shown = [outlined(frame, mask) for frame, mask in zip(frames, store.read_masks(index), strict=True)]
        else:
            shown = [resize(frame, smooth=True) for frame in frames]
        caption = f"{store.scenes[scene]}, frames {', '.join(map(str, numbers))}"
        pictures.append(Picture(encode(strip(shown), photograph=True), f"Clip {store.scenes[scene]}", caption))
    text = "Clips evenly spread over the split." + (" Red: outline of the true mask." if store.has_masks else "")
    return Figures(title, tuple(pictures), text, "strip")
