"""The report of a preparation: what was expected, found, used and skipped."""

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from wildrayzer.data.preparation.parts import Preparation
from wildrayzer.data.preparation.statistics import SplitFacts
from wildrayzer.io.files import read_json, write_json

logger = logging.getLogger(__name__)

_SHOWN = 20
"""Labels of a kind that a note names."""


def report_path(store: str | Path) -> Path:
    """Where the report of a frame store lies: beside it."""
    return Path(store).with_suffix(".report.json")


def sheet_path(store: str | Path) -> Path:
    """Where the contact sheet of a frame store lies: beside it."""
    return Path(store).with_suffix(".sheet.png")


def refused_path(store: str | Path) -> Path:
    """Where the report of a preparation lies that skipped too much: no declared output, so that it outlives the job."""
    return Path(store).with_suffix(".refused.json")


def split_counts(job: Preparation, expected: dict[str, int | None], *, limit: int | None) -> dict[str, Any]:
    """Scenes and frames expected, found and used, what was skipped why, and what the scenes are like.

    Args:
        job: with all of its parts finished.
        expected: `scenes` and `frames` of the full split, None where nobody says.
        limit: scenes that were taken at most.
    """
    rejected = {} if limit else job.reader.rejected
    skipped = {label: str(error) for label, error in rejected.items()}
    reasons = Counter(error.reason for error in rejected.values())
    facts, unlisted, frames, lost = SplitFacts(), [], 0, 0
    for number in range(len(job)):
        part = read_json(job.part(number) / "part.json")["facts"]
        facts.add(part["scenes"])
        frames += sum(scene["frames"] for scene in part["scenes"])
        for name, error in part["skipped"].items():
            skipped[name] = error["detail"]
            reasons[error["reason"]] += 1
            lost += error["frames"]
        unlisted += part["unlisted"]
    taken, found = len(job.names) + len(rejected), len(job.reader.names)
    notes = [*job.reader.notes, *_notes(expected, {"scenes": found, "frames": frames + lost}, limit=limit)]
    if unlisted:
        some = ", ".join(unlisted[:_SHOWN])
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


def refuse_if_too_many(report: dict[str, Any], job: Preparation, out_path: Path) -> None:
    """Fail if more scenes were skipped than `data.store.max_skipped` allows, or none is left.

    Raises:
        ValueError: names the reasons and where the report lies.
    """
    scenes, allowed = report["scenes"], job.form.store.max_skipped
    if scenes["used"] and scenes["skipped"] <= allowed * scenes["taken"]:
        refused_path(out_path).unlink(missing_ok=True)
        return
    write_json(refused_path(out_path), report)
    for number in range(len(job)):  # their files are about to be mended
        if read_json(job.part(number) / "part.json")["facts"]["skipped"]:
            shutil.rmtree(job.part(number), ignore_errors=True)
    reasons = "; ".join(f"{reason}: {count}" for reason, count in report["reasons"].items())
    fix = f"mend the files listed in {refused_path(out_path)}"
    if not scenes["used"]:
        raise ValueError(f"{report['path']}: none of the {scenes['taken']} scenes can be used ({reasons}); {fix}")
    raise ValueError(
        f"{report['path']}: {scenes['skipped']} of {scenes['taken']} scenes cannot be used ({reasons}), "
        f"more than data.store.max_skipped = {allowed} allows; {fix} or raise max_skipped"
    )
