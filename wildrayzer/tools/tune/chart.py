"""Plots of a sweep: IoU, recall and coverage against each swept option."""

import base64
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.report.page.charts import COLOURS, chart, legend_above, plain

_LABELS = {"iou": "IoU (%)", "recall": "recall (%)", "coverage": "share of the frame marked (%)"}


def write_plots(table: pd.DataFrame, out: Path, *, swept: Sequence[str]) -> list[Path]:
    """Write one SVG per metric and swept option, without metrics that no split has; returns their paths."""
    written = []
    for option in swept:
        for metric in _LABELS:
            if table[metric].notna().any():
                path = out / f"{metric}-{option}.svg"
                write_bytes_atomic(path, base64.b64decode(_plot(table, option, metric).partition(",")[2]))
                written.append(path)
    return written


def _plot(table: pd.DataFrame, option: str, metric: str) -> str:
    values = list(dict.fromkeys(table[option]))
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = {value: float(value) if numeric else float(place) for place, value in enumerate(values)}

    def draw(axes: Axes) -> None:
        splits = list(dict.fromkeys(table["split"]))
        for (split, masks), rows in table.groupby(["split", "masks"], sort=False):
            if rows[metric].isna().all():
                continue
            colour, style = COLOURS[splits.index(split) % len(COLOURS)], "-" if masks == "pixel" else "--"
            _line(axes, rows, places, option, metric, colour, style, f"{split}, {masks}")
        axes.set(xlabel=plain(option), ylabel=_LABELS[metric])
        axes.set_ylim(bottom=0)
        if not numeric:
            axes.set_xticks(list(places.values()), [plain(str(value)) for value in places])
        legend_above(axes)

    return chart(draw, width=5.6, height=3.8)


def _line(
    axes: Axes,
    rows: pd.DataFrame,
    places: dict[object, float],
    option: str,
    metric: str,
    colour: str,
    style: str,
    label: str,
) -> None:
    """Mean over all other options, and a band from the lowest to the highest value."""
    grouped = (100 * rows[metric]).groupby(rows[option].map(places))
    mean, low, high = grouped.mean(), grouped.min(), grouped.max()
    axes.plot(mean.index, mean, style, marker="o", markersize=3, color=colour, label=plain(label))
    axes.fill_between(mean.index, low, high, color=colour, alpha=0.1, linewidth=0)
