"""Tables arranged as in the paper: a row per method, columns by number of inputs; and ablations beside the run."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from wildrayzer.evaluation.metrics.bootstrap import bootstrap_mean, paired_difference
from wildrayzer.evaluation.tables.notes import FORCED, MASK_METRICS
from wildrayzer.evaluation.tables.protocols import HEADLINE_REGION
from wildrayzer.evaluation.tables.published import published_for
from wildrayzer.evaluation.tables.rows import (
    AS_ABOVE,
    FIELDS,
    HEADINGS,
    VIEW_METRICS,
    Table,
    cell,
    interval_cell,
    interval_of,
    order_of,
    published_lines,
)

_ABLATED = (("mask", "iou"), ("mask", "coverage"), ("full", "psnr"), ("static", "psnr"), ("ghost", "psnr"))


def paper_table(
    split: str,
    rows: pd.DataFrame,
    *,
    kind: str,
    published: bool,
    forced: Collection[tuple[str, int]] = (),
    dropped: Collection[str] = (),
    head: str = "",
) -> Table | None:
    """View synthesis of one set, arranged as in the paper, with the published metrics of that set below.

    Args:
        split: name of the set.
        rows: its part of the summary; mask rows and ablations are left out.
        kind: of its split.
        published: show published metrics.
        forced: (method, inputs) that a checkpoint was not trained for; flagged.
        dropped: sentences on frames that not all methods were scored on.
        head: of the table.

    Returns:
        None where nothing is scored in the region that the paper reports.
    """
    region = HEADLINE_REGION[kind]
    own = rows[(rows["region"] == region) & ~rows["method"].str.contains("@")]
    if own.empty:
        return None
    inputs = sorted(own["inputs"].unique().tolist())
    metrics = [metric for metric in VIEW_METRICS if (own["metric"] == metric).any()]
    places = [(count, metric) for count in inputs for metric in metrics]
    lines = []
    for method in sorted(own["method"].unique(), key=order_of):
        means = own[own["method"] == method].set_index(["inputs", "metric"])[FIELDS]
        texts = [
            cell(interval_of(means.loc[place].tolist()), place[1]) + "†" * ((method, place[0]) in forced)
            if place in means.index
            else "–"
            for place in places
        ]
        lines.append((method, *texts))
    if published:
        published_here = [one for count in inputs for one in published_for(split, inputs=count)]
        # A method without a metric in this region keeps its line, of dashes.
        lines += published_lines(
            published_here, places, lambda one: (one.inputs if one.region == region else None, one.metric)
        )
    mark = "ˢ" if region == "static" else ""
    heads = (f"{count} views {HEADINGS[metric].replace(' ', mark + ' ', 1)}" for count, metric in places)
    what = "static region, marked ˢ" if mark else "whole frame"
    return Table(
        name=f"paper_{split}",
        title=f"{split} in the paper's layout: {what}. Mean ± standard error over scenes.",
        columns=("method", *heads),
        rows=tuple(lines),
        notes=(*dropped, *_notes(metrics, bool(forced))),
        head=head,
    )


def _notes(metrics: Sequence[str], forced: bool) -> list[str]:
    notes = []
    if any(metric.startswith("lpips") for metric in metrics):
        notes.append(
            "LPIPS (Eq. 7) is the paper's equation; LPIPS (release) counts the first level twice, as the released code "
            "that the published figures were presumably made with."
        )
    if forced:
        notes.append(FORCED)
    return notes


def ablation_table(scores: pd.DataFrame, changes: Mapping[str, str], *, resamples: int, seed: int) -> Table | None:
    """Every row of an ablation beside the run's own on the same frames, with the interval of the difference.

    Args:
        scores: tidy scores; rows of an ablation are called `ROW@ABLATION`.
        changes: what each ablation changes, in words.
        resamples: bootstrap draws.
        seed: of the bootstrap.

    Returns:
        None without ablations.
    """
    lines, shown, apart = [], set(), {}
    for method in sorted(m for m in scores["method"].unique() if "@" in m):
        row, _, ablation = method.partition("@")
        shown.add(ablation)
        for (split, inputs), group in scores[scores["method"].isin([row, method])].groupby(["split", "inputs"]):
            for region, metric in _ABLATED:
                here = group[(group["region"] == region) & (group["metric"] == metric)]
                base, changed = (here[here["method"] == name] for name in (row, method))
                if changed.empty or not np.isfinite(changed["value"]).any():
                    continue
                if other := set(base["scene"]) ^ set(changed["scene"]):
                    apart[ablation, split] = f"{ablation}, {split}: {len(other)} scenes scored on one side alone."
                shared = base.merge(changed, on=["scene", "frame"])[["scene", "frame"]]
                base, changed = base.merge(shared), changed.merge(shared)
                means = [
                    cell(bootstrap_mean(side["value"], side["scene"], resamples=resamples, seed=seed), metric)
                    for side in (base, changed)
                ]
                difference = paired_difference(base, changed, resamples=resamples, seed=seed)
                lines.append((
                    ablation, f"{row}, {region} {metric}" if region != "mask" else f"{row}, {metric}", str(split),
                    str(inputs), *means, interval_cell(difference, metric), str(difference.scenes),
                ))  # fmt: skip
    if not lines:
        return None
    columns = ("ablation", "row", "split", "inputs", "run", "ablation's", "run − ablation [95% interval]", "scenes")
    notes = [*(f"{name}: {changes[name]}." for name in sorted(shown) if name in changes), *apart.values()]
    notes.append(f"Differences on the same frames, resampled over scenes. {', '.join(MASK_METRICS)} in percent.")
    return Table("ablations", "Ablations beside the run. Mean ± standard error over scenes.", columns, tuple(lines),
                 tuple(notes), head=AS_ABOVE)  # fmt: skip
