"""What stands below a table: definitions, and what was left out and why. Needs no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

MASK_METRICS = ("iou", "recall", "precision", "coverage")
DAVIS_METRICS = ("davis_jf", "davis_j", "davis_f")
FORCED = "† scored with a number of input views that the checkpoint was not trained for."
_COUNTED = "Scenes, frames and skipped frames are those of the first figure of a row."


def notes_of(
    split: str,
    rows: pd.DataFrame,
    manifests: Sequence[Mapping[str, Any]],
    dropped: Mapping[tuple[str, int, str], str],
    *,
    masks: bool,
    forced: bool,
) -> list[str]:
    """Notes of the view-synthesis or mask table of one split.

    Args:
        split: its name.
        rows: its part of the summary.
        manifests: of the score files in the table.
        dropped: sentences of `intersect`.
        masks: masks or renderings.
        forced: a row was scored with a number of input views that its checkpoint was not trained for.
    """
    notes = [
        f"{inputs} inputs: {text}"
        for (where, inputs, kind), text in dropped.items()
        if where == split and (kind != "views") == masks
    ]
    skipped = rows[rows["skipped"] > 0].drop_duplicates(["inputs", "region", "metric", "skipped"])
    for (region, metric, inputs), group in skipped.groupby(["region", "metric", "inputs"], sort=True):
        if metric in ("psnr", *MASK_METRICS):
            least, most = int(group["skipped"].min()), int(group["skipped"].max())
            counts = str(least) if least == most else f"{least} to {most}"
            what = metric if masks else f"{region} region"
            why = "nothing there to score" if masks else "nothing there to score, or a picture equal to its truth"
            notes.append(f"{what}, {inputs} inputs: {counts} frames skipped ({why}).")
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
    notes.append(_COUNTED)
    notes += _unscored(manifests)
    if forced:
        notes.append(FORCED)
    return list(dict.fromkeys(notes))


def davis_notes(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Notes of the table of J and F: definitions of the manifests, and what differs from DAVIS' own means."""
    known = {k: v for m in manifests for k, v in m.get("definitions", {}).items() if k in DAVIS_METRICS}
    return [
        *(f"{name}: {text}." for name, text in known.items()),
        "Means are over all frames of a row. DAVIS takes the mean of each sequence first, and leaves out the first and "
        "the last frame where masks are given for the first.",
        "Frames without true foreground count here; the IoU above leaves them out.",
    ]


def _unscored(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many scenes were not scored: for want of a window, as in all rows, or of a row's files from outside."""
    notes = []
    for manifest in sorted(manifests, key=lambda m: (len(m.get("skipped_scenes", ())), str(m["method"]))):
        total, lacking = manifest.get("scenes_of_split"), manifest.get("scenes_without_files", 0)
        if count := len(manifest.get("skipped_scenes", ())) - lacking:
            notes.append(f"{count} of the split's {total} scenes have no evaluation window.")
        if lacking:
            notes.append(f"{manifest['method']}: {lacking} of the split's {total} scenes lack files.")
    return notes
