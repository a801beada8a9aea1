"""The report of a preparation: what was expected, found, used and skipped."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from wildrayzer.data.preparation.records import PartRecord
from wildrayzer.data.preparation.statistics import SplitFacts
from wildrayzer.data.readers.base import SceneReader
from wildrayzer.io.files import write_json
from wildrayzer.io.validated import read_validated

logger = logging.getLogger(__name__)

_SHOWN = 20
"""Most names in a note."""


class _Scenes(BaseModel):
    expected: int | None
    found: int
    taken: int
    used: int


class _Frames(BaseModel):
    expected: int | None = None
    found: int | None = None
    used: int


class Histogram(BaseModel):
    """Scenes in the bins between edges."""

    edges: list[float]
    scenes: list[int]


class SplitContent(BaseModel):
    """What `SplitFacts.report` makes."""

    resolution: dict[str, int]
    clip_length: dict[int, int]
    turn_degrees: Histogram | None
    travel: Histogram | None


class PreparationReport(BaseModel):
    """The report of a preparation, as later stages read it; the first versions wrote no content, codec and skips."""

    path: str = ""
    layout: str | None = None
    image_size: int
    codec: str = "–"
    scenes: _Scenes
    frames: _Frames
    reasons: dict[str, int]
    skipped: dict[str, str] = Field(default_factory=dict)
    notes: list[str]
    content: SplitContent | None = None
    digest: str = "–"


def read_report(path: str | Path) -> PreparationReport:
    """The report of a split.

    Raises:
        ValueError: it is damaged, or has changed since it was written.
        FileNotFoundError: there is none.
    """
    return read_validated(path, PreparationReport, fix="delete it and run the stage `frames` again")


def report_path(store: str | Path) -> Path:
    """Where the report of a frame store lies: beside it."""
    return Path(store).with_suffix(".report.json")


def sheet_path(store: str | Path) -> Path:
    """Where the contact sheet of a frame store lies: beside it."""
    return Path(store).with_suffix(".sheet.png")


def refused_path(store: str | Path) -> Path:
    """Where the report of a preparation lies that skipped too much: no declared output, so that it outlives the job."""
    return Path(store).with_suffix(".refused.json")


def split_counts(
    reader: SceneReader,
    names: Sequence[str],
    records: Iterable[PartRecord],
    expected: dict[str, int | None],
    *,
    limit: int | None,
) -> dict[str, Any]:
    """Scenes and frames expected, found and used, what was skipped and why, and what the scenes are like.

    Args:
        reader: of the split.
        names: all clips of the split.
        records: of its parts, and of clips that were skipped.
        expected: `scenes` and `frames` of the full split, None where they are not known.
        limit: scenes that were taken at most.
    """  # fmt: skip
    rejected = {} if limit else reader.rejected
    skipped = {label: str(error) for label, error in rejected.items()}
    reasons = Counter(error.reason for error in rejected.values())
    facts, frames, lost = SplitFacts(), 0, 0
    unlisted: dict[str, None] = {}
    bad: dict[str, dict[str, Any]] = {}
    objects: list[int] = []
    for record in records:
        facts.add(list(record.used.values()))
        frames += sum(clip["frames"] for clip in record.used.values())
        objects += [clip["objects"] for clip in record.used.values() if "objects" in clip]
        unlisted |= dict.fromkeys(record.unlisted)
        bad |= record.skipped
        for name in record.used:
            bad.pop(name, None)
    for name in (name for name in names if name in bad):
        skipped[name] = bad[name]["detail"]
        reasons[bad[name]["reason"]] += 1
        lost += bad[name]["frames"]
    taken, found = len(names) + len(rejected), len(reader.names)
    notes = [*reader.notes, *_notes(expected, {"scenes": found, "frames": frames + lost}, limit=limit)]
    if objects:
        notes.append(
            f"in {len(objects)} of {facts.scenes} scenes the masks tell several objects apart (up to {max(objects)}); "
            "the union of all is taken as transient"
        )
    if unlisted:
        some = ", ".join(list(unlisted)[:_SHOWN])
        notes.append(f"{len(unlisted)} scenes in the chunks are not named in index.json and were left out: {some}")
    return {
        "scenes": {"expected": expected["scenes"], "found": found, "taken": taken, "used": taken - len(skipped),
                   "skipped": len(skipped), "unlisted": len(unlisted)},
        "frames": {"expected": expected["frames"], "found": frames + lost, "used": frames},
        "reasons": dict(sorted(reasons.items())),
        "skipped": skipped,
        "notes": notes,
        "content": facts.report(),
    }  # fmt: skip


def _notes(expected: dict[str, int | None], found: dict[str, int], *, limit: int | None) -> list[str]:
    notes = []
    for what, count in expected.items():
        if count is not None and count != found[what] and not (limit and what == "frames"):
            notes.append(f"the split should have {count} {what} but {found[what]} were found")
            logger.warning("%s", notes[-1])
    return notes


def refuse_if_too_many(report: dict[str, Any], allowed: float, out_path: Path) -> None:
    """Fail if more scenes were skipped than `data.store.max_skipped` allows, or none is left.

    Raises:
        ValueError: names the reasons and where the report lies.
    """
    scenes = report["scenes"]
    if scenes["used"] and scenes["skipped"] <= allowed * scenes["taken"]:
        refused_path(out_path).unlink(missing_ok=True)
        return
    write_json(refused_path(out_path), report)
    reasons = "; ".join(f"{reason}: {count}" for reason, count in report["reasons"].items())
    fix = f"mend the files listed in {refused_path(out_path)}"
    if not scenes["used"]:
        raise ValueError(f"{report['path']}: none of the {scenes['taken']} scenes can be used ({reasons}); {fix}")
    raise ValueError(
        f"{report['path']}: {scenes['skipped']} of {scenes['taken']} scenes cannot be used ({reasons}), "
        f"more than data.store.max_skipped = {allowed} allows; {fix} or raise max_skipped"
    )
