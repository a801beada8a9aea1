"""The tables as rows of text: view synthesis, masks, renderer, claims. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from wildrayzer.config.benchmark import Method
from wildrayzer.evaluation.bootstrap import Interval
from wildrayzer.evaluation.claims import Finding
from wildrayzer.evaluation.published import published_for

VIEW_REGIONS = ("full", "static", "transient", "ghost")
VIEW_METRICS = ("psnr", "ssim", "lpips", "lpips_released")
MASK_METRICS = ("iou", "recall", "precision", "coverage")
MASK_METHODS = ("pseudo", "refined", "residual", "head")
FIELDS = list(Interval.__dataclass_fields__)
METHOD_ORDER = (*get_args(Method),)
HEADINGS = {
    "psnr": "PSNR ↑",
    "ssim": "SSIM ↑",
    "lpips": "LPIPS (Eq. 7) ↓",
    "lpips_released": "LPIPS (release) ↓",
    "iou": "IoU, % ↑",
    "recall": "recall, % ↑",
    "precision": "precision, % ↑",
    "coverage": "coverage, %",
}
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


def cell(interval: Interval, metric: str) -> str:
    """Mean and 95% interval as text: dB with two decimals, masks in percent with one, the rest with three."""
    if not np.isfinite(interval.mean):
        return "–"
    scale, digits = (1, 2) if metric == "psnr" else (100, 1) if metric in MASK_METRICS else (1, 3)
    mean, low, high = (f"{value * scale:.{digits}f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def split_table(
    split: str,
    rows: pd.DataFrame,
    manifests: Sequence[Mapping[str, Any]],
    dropped: Mapping[tuple[str, int, str], str],
    *,
    masks: bool,
    kind: str,
    published: bool,
) -> Table:
    """View-synthesis or mask table of one split.

    Args:
        split: its name.
        rows: its part of the summary.
        manifests: of all score files.
        dropped: sentences of `intersect`.
        masks: masks or renderings.
        kind: of the split.
        published: show published figures of the set beside ours.
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
        for method in sorted(group["method"].unique(), key=_order):
            of_method = group[group["method"] == method]
            lines.append(_row(method, inputs, of_method, cells, flag=(method, inputs) in forced))
        if published:
            lines += _published_rows(split, inputs, cells, masks)
    headings = (HEADINGS[metric] if masks else f"{region} {HEADINGS[metric]}" for region, metric in cells)
    what = "Masks" if masks else "View synthesis"
    return Table(
        name=f"{job}_{split}",
        title=f"{what} on {split}. {KIND_NOTES[kind]} Mean [95% interval over scenes].",
        columns=("inputs", "method", *headings, "scenes", "frames"),
        rows=tuple(lines),
        notes=tuple(_notes(split, rows, own, dropped, masks, bool(forced))),
    )


def _order(method: str) -> tuple[int, str]:
    kind = method.split(":")[0]
    order = METHOD_ORDER if method in METHOD_ORDER else MASK_METHODS
    return (order.index(kind) if kind in order else len(order), method)


def _row(
    method: str, inputs: int, rows: pd.DataFrame, cells: Sequence[tuple[str, str]], *, flag: bool
) -> tuple[str, ...]:
    found = {
        place: _interval(row)
        for place, row in zip(
            zip(rows["region"], rows["metric"], strict=True), rows[FIELDS].to_numpy().tolist(), strict=True
        )
    }
    texts = [cell(found[place], place[1]) if place in found else "–" for place in cells]
    scenes = max(interval.scenes for interval in found.values())
    frames = max(interval.frames + interval.skipped for interval in found.values())
    return (str(inputs), method + ("†" if flag else ""), *texts, str(scenes), str(frames))


def _interval(values: Sequence[float]) -> Interval:
    """The interval in a row of the summary, its columns `FIELDS`."""
    mean, low, high, error = values[:4]
    scenes, frames, skipped = (int(value) for value in values[4:])
    return Interval(mean, low, high, error, scenes, frames, skipped)


def _published_rows(split: str, inputs: int, cells: Sequence[tuple[str, str]], masks: bool) -> list[tuple[str, ...]]:
    figures = published_for(split, inputs=inputs, masks=masks)
    lines = []
    for method, source in dict.fromkeys((figure.method, figure.source) for figure in figures):
        values = {(f.region, f.metric): f.value for f in figures if (f.method, f.source) == (method, source)}
        texts = [_published_cell(values.get(place), place[1]) for place in cells]
        lines.append((str(inputs), f"{method} (published, {source})", *texts, "", ""))
    return lines


def _published_cell(value: float | None, metric: str) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if metric == "psnr" else f"{100 * value:.1f}" if metric in MASK_METRICS else f"{value:.3f}"


def _notes(
    split: str,
    rows: pd.DataFrame,
    manifests: Sequence[Mapping[str, Any]],
    dropped: Mapping[tuple[str, int, str], str],
    masks: bool,
    forced: bool,
) -> list[str]:
    notes = [
        f"{inputs} inputs: {text}"
        for (where, inputs, kind), text in dropped.items()
        if where == split and (kind != "views") == masks
    ]
    skipped = rows[rows["skipped"] > 0].drop_duplicates(["inputs", "region", "metric", "skipped"])
    for (region, metric, inputs), group in skipped.groupby(["region", "metric", "inputs"], sort=True):
        if metric in ("psnr", *MASK_METRICS):
            counts = "/".join(str(count) for count in sorted(group["skipped"].unique()))
            what = metric if masks else f"{region} region"
            notes.append(f"{what}, {inputs} inputs: {counts} frames skipped (nothing there to score).")
    absent = sorted({m["lpips"] for m in manifests if m.get("lpips", "scored") != "scored"})
    notes += [f"LPIPS {reason}." for reason in absent]
    definitions = {k: v for m in manifests for k, v in m.get("definitions", {}).items() if k in set(rows["metric"])}
    notes += [f"{name}: {text}." for name, text in definitions.items()]
    regions = {k: v for m in manifests for k, v in m.get("regions", {}).items() if k in set(rows["region"])}
    notes += [f"Region {name}: {text}." for name, text in regions.items()]
    choices = {(m["method"], m["residual_threshold"]["value"], m["residual_threshold"]["choice"])
               for m in manifests if "residual_threshold" in m}  # fmt: skip
    notes += [f"Residual threshold of {name}: {value:g} ({choice})." for name, value, choice in sorted(choices)]
    thresholds = sorted({m["mask_threshold"] for m in manifests if "mask_threshold" in m})
    notes += [f"Motion head: probability over {value:g}, on input views." for value in thresholds]
    without = sorted({(m["scenes_of_split"], len(m["skipped_scenes"])) for m in manifests if m.get("skipped_scenes")})
    notes += [f"{count} of the split's {total} scenes have no evaluation window." for total, count in without]
    if forced:
        notes.append("† scored with a number of input views that the checkpoint was not trained for.")
    return list(dict.fromkeys(notes))


def health_tables(healths: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The table of the static renderer's health, or none."""
    if not healths:
        return []
    degrees = list(dict.fromkeys(name for health in healths for name in (health.get("camera_r2") or {})))
    rows = []
    for health in sorted(healths, key=lambda h: (h["split"], h["inputs"])):
        figures = [cell(Interval(**health["figures"][name]), "psnr") for name in ("psnr", "reordered", "swapped")]
        r2 = health.get("camera_r2") or {}
        rows.append((
            health["split"], str(health["inputs"]), *figures, *(f"{r2[d]:.2f}" if d in r2 else "–" for d in degrees),
            f"{health['camera_spread']:.4f}", str(health["windows"]),
        ))  # fmt: skip
    columns = ("split", "inputs", "PSNR", "re-ordered, dB", "swapped poses, dB")
    notes = [
        "R²: linear regression of true relative cameras on predicted ones, fitted on half of the scenes, evaluated on "
        "the others; shift = tx / 3 + yaw. Degrees of freedom that do not vary are left out.",
        "Re-ordered: change of PSNR when targets enter in another order. Swapped: change with another target's pose.",
        "Spread: largest standard deviation of predicted relative cameras; near 0 they are the same for all scenes.",
    ]
    title = "The static renderer: do its cameras mean anything? Mean [95% interval over scenes]."
    heads = (*columns, *(f"R² {name}" for name in degrees), "spread", "windows")
    return [Table("renderer", title, heads, tuple(rows), tuple(notes))]


def claims_table(findings: Sequence[Finding]) -> Table:
    """The table of measured claims."""
    rows = []
    for finding in findings:
        text = "–"
        if finding.difference is not None:
            metric = next((name for name in MASK_METRICS if name in finding.compared), "psnr")
            text = cell(finding.difference, metric)
        rows.append((finding.claim, finding.where, finding.compared, text, finding.verdict, finding.note))
    return Table(
        name="claims",
        title="Claims: differences on the same frames, resampled over scenes.",
        columns=("claim", "where", "difference", "mean [95% interval]", "verdict", "note"),
        rows=tuple(rows),
        notes=("holds / does not hold: the interval excludes 0. PSNR in dB, masks in percentage points.",),
    )
