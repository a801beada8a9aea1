"""A public checkpoint beside its published figures, with a verdict by a stated tolerance. Needs no torch."""

from collections.abc import Collection

import pandas as pd

from wildrayzer.config.sections.released import ReleasedConfig
from wildrayzer.evaluation.metrics.bootstrap import Interval
from wildrayzer.evaluation.tables.protocols import HEADLINE_REGION, RELEASE_REGION
from wildrayzer.evaluation.tables.published import Published, published_for
from wildrayzer.evaluation.tables.rows import FIELDS, Table, interval_cell, interval_of, number

REPORTED = Published("D-RE10K", 2, RELEASE_REGION, "psnr", "a user of the public release", 19.20, "wild-rayzer#1, open")
"""What the README's commands gave a user of the public release. The thread does not say under which protocol; by
default the release computes the full frame."""
_PAPER_ROWS = ("WildRayZer", "both")
"""Rows of the paper's tables that stand for the whole method: renderings, masks."""


def released_table(
    summary: pd.DataFrame, split: str, *, kind: str, released: ReleasedConfig, oracles: Collection[str]
) -> Table | None:
    """The figures of the public checkpoint on one set, under both protocols, beside those that are published.

    Args:
        summary: means of all rows.
        split: the set.
        kind: of its split.
        released: its row, and the tolerances.
        oracles: rows of the same checkpoint with the oracle gate.

    Returns:
        None where the checkpoint is not scored on the set.
    """
    here = summary[(summary["split"] == split) & (summary["inputs"] == released.inputs)]
    known = [*published_for(split, inputs=released.inputs), *published_for(split, masks=True), REPORTED]
    known = [one for one in known if one is REPORTED or one.method in _PAPER_ROWS]
    places = [
        (released.row, "paper", HEADLINE_REGION[kind], "psnr"),
        (released.row, "release", RELEASE_REGION, "psnr"),
        (f"head:{released.row}", "paper", "mask", "iou"),
        *((row, "paper, oracle gate", HEADLINE_REGION[kind], "psnr") for row in oracles),
        *((row, "release, oracle gate", RELEASE_REGION, "psnr") for row in oracles),
    ]
    lines = []
    for row, protocol, region, metric in places:
        found = here[(here["method"] == row) & (here["region"] == region) & (here["metric"] == metric)]
        if found.empty:
            continue
        ours = interval_of(found[FIELDS].iloc[0].tolist())
        published = None if row in oracles else next(
            (one for one in known if (one.region, one.metric) == (region, metric)), None
        )  # fmt: skip
        tolerance = released.psnr_tolerance if metric == "psnr" else released.iou_tolerance
        what = "full (release)" if region == RELEASE_REGION else region
        unit = "PSNR, dB" if metric == "psnr" else "IoU, %"
        lines.append((row, protocol, f"{what} {unit}", *_compared(ours, published, metric, tolerance)))
    if not lines:
        return None
    return Table(
        name=f"released_{split}",
        title=f"The public checkpoint on {split}, beside its published figures. Mean with 95% interval over scenes.",
        columns=("row", "protocol", "figure", "here", "published", "by", "difference", "verdict"),
        rows=tuple(lines),
        notes=(
            f"agrees: within {released.psnr_tolerance:g} dB of a PSNR, within "
            f"{number(released.iou_tolerance, 'iou')} percentage points of an IoU; differs: beyond.",
            "The index of the paper's tables is not public: figures of protocol paper are on the public windows, and "
            "the published ones on others. docs/why-your-number-differs.md goes through what else moves a figure.",
            "The report of 19.20 dB does not say its protocol; by default the release computes the full frame.",
        ),
        head="Protocol: by row. Windows, scenes, precision and LPIPS: as over the other tables of the set.",
    )


def _compared(ours: Interval, published: Published | None, metric: str, tolerance: float) -> tuple[str, ...]:
    """Our figure, the published one, who published it, the difference, and the verdict."""
    shown = interval_cell(ours, metric)
    if published is None:
        return shown, "–", "–", "–", "–"
    difference = ours.mean - published.value
    # rounded, so that a figure at the tolerance is not decided by the last bit
    verdict = "agrees" if round(abs(difference), 6) <= tolerance else "differs"
    sign = "+" if difference >= 0 else ""
    source = f"{published.method}, {published.paper}"
    return shown, number(published.value, metric), source, f"{sign}{number(difference, metric)}", verdict
