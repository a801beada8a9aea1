"""The tables as rows of text: view synthesis, masks, renderer, claims. Needs no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wildrayzer.config.sections.benchmark import METHODS
from wildrayzer.evaluation.metrics.bootstrap import MIN_SCENES, Interval
from wildrayzer.evaluation.tables.claims import Finding
from wildrayzer.evaluation.tables.notes import DAVIS_METRICS, MASK_METRICS, davis_notes, notes_of
from wildrayzer.evaluation.tables.published import Published, published_for

VIEW_REGIONS = ("full", "static", "transient", "ghost")
VIEW_METRICS = ("psnr", "psnr_aligned", "psnr_transferred", "ssim", "lpips", "lpips_released")
MASK_METHODS = ("pseudo", "refined", "residual", "coseg", "leave_one_out", "file", "head")
FIELDS = list(Interval.__dataclass_fields__)
HEADINGS = {
    "psnr": "PSNR ↑",
    "psnr_aligned": "PSNR, aligned ↑",
    "psnr_transferred": "PSNR, transferred ↑",
    "ssim": "SSIM ↑",
    "lpips": "LPIPS (Eq. 7) ↓",
    "lpips_released": "LPIPS (release) ↓",
    "iou": "IoU, % ↑",
    "recall": "recall, % ↑",
    "precision": "precision, % ↑",
    "coverage": "coverage, %",
    "davis_jf": "J&F, % ↑",
    "davis_j": "J, % ↑",
    "davis_f": "F, % ↑",
}
AS_ABOVE = "Protocol: paper. Windows, scenes, precision and LPIPS: as over the tables of each set."
"""Head of tables on several sets."""
KIND_NOTES = {
    "static": "Nothing moves.",
    "moving": "Objects move on their own.",
    "pairs": "Objects move; every frame has a clean twin.",
    "frozen": "Control: the same clips with the movers standing still; masks should not fire.",
    "same_family": "Control: movers have the shapes and textures of what stands still.",
}


@dataclass(frozen=True)
class Table:
    """One table as text, ready for any format."""

    name: str
    """Short name, fit for a file or a label."""
    title: str
    """One sentence: what is shown."""
    columns: tuple[str, ...]
    """Headings."""
    rows: tuple[tuple[str, ...], ...]
    """Cells."""
    notes: tuple[str, ...] = ()
    """Definitions, what was skipped and why."""
    head: str = ""
    """Protocol, windows, scenes, precision and definition of LPIPS."""


def cell(interval: Interval, metric: str) -> str:
    """Mean ± standard error as text: dB with two decimals, masks in percent with one, the rest with three.

    Only the mean where one scene has no standard error, a dash where there is nothing.
    """
    if not np.isfinite(interval.mean):
        return "–"
    if not np.isfinite(interval.error):
        return number(interval.mean, metric)
    return f"{number(interval.mean, metric)} ± {number(interval.error, metric)}"


def interval_cell(interval: Interval, metric: str) -> str:
    """Mean and 95% interval as text, rounded as by `cell`; only the mean where one scene has no interval."""
    if not np.isfinite([interval.low, interval.high]).all():
        return cell(interval, metric)
    low, high = (number(value, metric) for value in (interval.low, interval.high))
    return f"{number(interval.mean, metric)} [{low}, {high}]"


def number(value: float, metric: str) -> str:
    """One value of a metric as text, without its unit."""
    in_percent = metric in MASK_METRICS or metric in DAVIS_METRICS
    scale, digits = (1, 2) if metric.startswith("psnr") else (100, 1) if in_percent else (1, 3)
    return f"{round(value * scale, digits) + 0.0:.{digits}f}"


def split_table(
    split: str,
    rows: pd.DataFrame,
    manifests: Sequence[Mapping[str, Any]],
    dropped: Mapping[tuple[str, int, str], str],
    *,
    masks: bool,
    kind: str,
    published: bool,
    head: str = "",
) -> Table:
    """View-synthesis or mask table of one split.

    Args:
        split: its name.
        rows: its part of the summary.
        manifests: of all score files.
        dropped: sentences of `intersect`.
        masks: masks or renderings.
        kind: of the split.
        published: show published metrics of the set beside ours.
        head: of the table.
    """
    regions, metrics = (("mask",), MASK_METRICS) if masks else (VIEW_REGIONS, VIEW_METRICS)
    present = set(zip(rows["region"], rows["metric"], strict=True))
    cells = [(region, metric) for region in regions for metric in metrics if (region, metric) in present]
    job = "masks" if masks else "views"
    own = [m for m in manifests if m.get("split") == split and m.get("kind") == job]
    forced = {(m["method"], m["inputs"]) for m in own if m.get("forced")}
    lines = []
    for inputs in sorted(rows["inputs"].unique().tolist()):
        group = rows[rows["inputs"] == inputs]
        for method in sorted(group["method"].unique(), key=order_of):
            of_method = group[group["method"] == method]
            lines.append(_row(method, inputs, of_method, cells, flag=(method, inputs) in forced))
        if published:
            published_here = published_for(split, inputs=inputs, masks=masks)
            named = published_lines(published_here, cells, lambda one: (one.region, one.metric))
            lines += [(str(inputs), *line, "", "", "") for line in named]
    headings = (HEADINGS[metric] if masks else f"{region} {HEADINGS[metric]}" for region, metric in cells)
    what = "Masks" if masks else "View synthesis"
    return Table(
        name=f"{job}_{split}",
        title=f"{what} on {split}. {KIND_NOTES[kind]} Mean ± standard error over scenes.",
        columns=("inputs", "method", *headings, "scenes", "frames", "skipped"),
        rows=tuple(lines),
        notes=tuple(notes_of(split, rows, own, dropped, masks=masks, forced=bool(forced))),
        head=head,
    )


def davis_table(split: str, rows: pd.DataFrame, manifests: Sequence[Mapping[str, Any]]) -> Table | None:
    """J&F, J and F of the masks of one split; None where none was scored, as by earlier versions.

    Args:
        split: its name.
        rows: its part of the summary, region `mask`.
        manifests: of all score files.
    """
    present = set(rows["metric"])
    cells = [("mask", metric) for metric in DAVIS_METRICS if metric in present]
    scored = rows[rows["metric"].isin(DAVIS_METRICS)]
    if not cells:
        return None
    lines = []
    for inputs in sorted(scored["inputs"].unique().tolist()):
        group = scored[scored["inputs"] == inputs]
        for method in sorted(group["method"].unique(), key=order_of):
            lines.append(_row(method, inputs, group[group["method"] == method], cells, flag=False))
    own = [m for m in manifests if m.get("split") == split and m.get("kind") == "masks"]
    return Table(
        name=f"davis_{split}",
        title=f"Masks on {split} as DAVIS scores them. Mean ± standard error over scenes.",
        columns=("inputs", "method", *(HEADINGS[metric] for _, metric in cells), "scenes", "frames", "skipped"),
        rows=tuple(lines),
        notes=tuple(davis_notes(own)),
    )


def order_of(method: str) -> tuple[int, str]:
    """Place of a row: built-in ones in their order with their ablations after them, then those from outside."""
    kind = method.partition("@")[0].partition(":")[0]
    known = MASK_METHODS if kind in MASK_METHODS else METHODS
    return (known.index(kind) if kind in known else len(known), method)


def _row(
    method: str, inputs: int, rows: pd.DataFrame, cells: Sequence[tuple[str, str]], *, flag: bool
) -> tuple[str, ...]:
    intervals = {
        place: interval_of(row)
        for place, row in zip(
            zip(rows["region"], rows["metric"], strict=True), rows[FIELDS].to_numpy().tolist(), strict=True
        )
    }
    texts = [cell(intervals[place], place[1]) if place in intervals else "–" for place in cells]
    first = next(intervals[place] for place in cells if place in intervals)
    counts = (str(first.scenes), str(first.frames), str(first.skipped))
    return (str(inputs), method + ("†" if flag else ""), *texts, *counts)


def interval_of(values: Sequence[float]) -> Interval:
    """The interval in a row of the summary, its columns `FIELDS`."""
    mean, low, high, error = values[:4]
    scenes, frames, skipped = (int(value) for value in values[4:])
    return Interval(mean, low, high, error, scenes, frames, skipped)


def published_lines(
    published: Sequence[Published],
    places: Sequence[tuple[Any, str]],
    place_of: Callable[[Published], tuple[Any, str]],
) -> list[tuple[str, ...]]:
    """A line per published method: its name, then its metric at each place, or a dash.

    Args:
        published: metrics of one set.
        places: columns; the second part of each is the metric.
        place_of: column of a published metric.
    """
    lines = []
    for method, paper, withdrawn in dict.fromkeys((one.method, one.paper, one.withdrawn) for one in published):
        values = {place_of(one): one.value for one in published if (one.method, one.paper) == (method, paper)}
        texts = ("–" if place not in values else number(values[place], place[1]) for place in places)
        lines.append((f"{method} (published, {paper}{'; withdrawn' if withdrawn else ''})", *texts))
    return lines


def health_tables(healths: Sequence[Mapping[str, Any]], *, head: str = "") -> list[Table]:
    """The table of the static renderer's health, or none; `head` stands over it."""
    if not healths:
        return []
    degrees = list(dict.fromkeys(name for health in healths for name in (health.get("camera_r2") or {})))
    # as a percentage, RPA@5 and so on; scores of earlier versions have none
    accuracies = list(dict.fromkeys(name for health in healths for name in (health.get("pose_accuracy") or {})))
    rows = []
    for health in sorted(healths, key=lambda h: (h["split"], h["inputs"])):
        metrics = [cell(Interval(**health["figures"][name]), "psnr") for name in ("psnr", "reordered", "swapped")]
        r2, accuracy = health.get("camera_r2") or {}, health.get("pose_accuracy") or {}
        rows.append((
            health["split"], str(health["inputs"]), *metrics, *(f"{r2[d]:.2f}" if d in r2 else "–" for d in degrees),
            *(f"{100 * accuracy[name]:.1f}" if name in accuracy else "–" for name in accuracies),
            f"{health['camera_spread']:.4f}", str(health["windows"]),
        ))  # fmt: skip
    columns = ("split", "inputs", "PSNR", "re-ordered, dB", "swapped poses, dB")
    notes = [
        "R²: linear regression of true relative cameras on predicted ones, fitted on half of the scenes, evaluated on "
        "the others; shift = tx / 3 + yaw. Degrees of freedom that do not vary are left out.",
        "Re-ordered: change of PSNR when targets enter in another order. Swapped: change with another target's pose.",
        "Spread: largest standard deviation of predicted relative cameras; near 0 they are the same for all scenes.",
    ]
    if accuracies:
        notes.append(
            "RPA@τ: share of pairs of views whose relative rotation and direction of translation are both within τ "
            "degrees. AUC@τ: area under the share of pairs within t degrees, for t from 0 to τ. In %. Both compare "
            "cameras as they are, without the regression of R²."
        )
    title = "The static renderer: do its cameras mean anything? Mean ± standard error over scenes."
    heads = (
        *columns,
        *(f"R² {name}" for name in degrees),
        *(name.upper().replace("_", "@") for name in accuracies),
        "spread",
        "windows",
    )
    return [Table("renderer", title, heads, tuple(rows), tuple(notes), head)]


def claims_table(findings: Sequence[Finding]) -> Table:
    """The table of measured claims."""
    rows = []
    for finding in findings:
        text = "–"
        if finding.difference is not None:
            metric = next((name for name in MASK_METRICS if name in finding.compared), "psnr")
            text = interval_cell(finding.difference, metric)
        rows.append((finding.claim, finding.where, finding.compared, text, finding.verdict, finding.note))
    return Table(
        name="claims",
        title="Claims: differences on the same frames, resampled over scenes.",
        columns=("claim", "where", "difference", "mean [95% interval]", "verdict", "note"),
        rows=tuple(rows),
        notes=(
            "holds / does not hold: the interval lies above / below 0, or the limit that the claim names; undecided: "
            f"neither, or fewer than {MIN_SCENES} scenes. PSNR in dB, masks in percentage points.",
        ),
        head=AS_ABOVE,
    )
