"""The benchmark tables as written, the claims as plots, and the renderer's health."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.evaluation.metrics.bootstrap import MIN_SCENES
from wildrayzer.evaluation.tables.files import read_claims
from wildrayzer.evaluation.tables.notes import MASK_METRICS
from wildrayzer.evaluation.tables.rows import Table, number
from wildrayzer.evaluation.tables.text import read_tables
from wildrayzer.io.files import read_json
from wildrayzer.report.page.charts import GREEN, GREY, ORANGE, chart, plain
from wildrayzer.report.page.page import Block, Figures, KeyValues, Note, Picture, TextTable
from wildrayzer.run.layout import RunLayout

VERDICT_COLOURS = {"holds": GREEN, "does not hold": ORANGE, "undecided": GREY}
_HEALTH = {"psnr": "PSNR", "reordered": "targets re-ordered", "swapped": "poses swapped"}


def benchmark_blocks(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Claims first, then every table, with a note for what is missing."""
    if not (Path(layout.tables) / "tables.md").is_file():
        return [Note("The benchmark tables are not made yet, so they are left out.")]
    tables = read_tables(config, layout).tables
    blocks: list[Block] = []
    if (Path(layout.tables) / "claims.csv").is_file():
        blocks += _claims_plots(read_claims(layout.tables))
    ordered = sorted(tables, key=lambda table: table.name != "claims")
    return [*blocks, *map(_shown, ordered)]


def _shown(table: Table) -> TextTable:
    """The table without Markdown's back-ticks."""
    rows = tuple(tuple(cell.replace("`", "") for cell in row) for row in table.rows)
    return TextTable(table.title, table.columns, rows, table.notes)


def _claims_plots(claims: pd.DataFrame) -> list[Block]:
    measured = claims[claims["mean"].notna()] if "mean" in claims else claims.iloc[:0]
    masks = measured["compared"].str.contains("|".join(MASK_METRICS))
    pictures = [
        _forest(rows, unit, scale)
        for rows, unit, scale in ((measured[~masks], "dB", 1.0), (measured[masks], "percentage points", 100.0))
        if len(rows)
    ]
    text = (
        "Right of 0, or of the dashed mark where a claim names another limit, speaks for the claim; a claim holds when "
        "the whole interval does. Numbers as in the table below."
    )
    return [Figures("The method's claims, measured", tuple(pictures), text, "wide")] if pictures else []


def _forest(rows: pd.DataFrame, unit: str, scale: float) -> Picture:
    def draw(axes: Axes) -> None:
        places = np.arange(len(rows))[::-1]
        for place, (_, row) in zip(places, rows.iterrows(), strict=True):
            mean, low, high = (scale * float(row[name]) for name in ("mean", "low", "high"))
            colour = VERDICT_COLOURS.get(str(row["verdict"]), GREY)
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot([mean], [place], "o", color=colour, markersize=5)
            if row.get("limit", 0.0):
                limit = scale * float(row["limit"])
                axes.plot([limit, limit], [place - 0.3, place + 0.3], "--", color="black", linewidth=1)
        axes.axvline(0, color="black", linewidth=1)
        axes.set_yticks(places, [plain(f"{row['compared']}\n{row['where']}") for _, row in rows.iterrows()])
        axes.set(xlabel=f"difference ({unit}), mean and 95% interval over scenes", ylim=(-0.7, len(rows) - 0.3))
        axes.grid(visible=False, axis="y")

    caption = (
        f"Differences in {unit}. Green: holds. Orange: does not hold. Grey: undecided, the interval contains 0 or "
        f"there are fewer than {MIN_SCENES} scenes."
    )
    return Picture(chart(draw, width=8.4, height=0.9 + 0.42 * len(rows)), f"Claims in {unit} with intervals", caption)


def health_block(layout: RunLayout) -> Block:
    """The static renderer's health: whether its cameras carry information, in words and numbers."""
    file = Path(layout.renderer_scores)
    if not file.is_file():
        return Note("The static renderer's cameras are not examined yet, so they are left out.")
    health = read_json(file)
    rows = [("Measured on", f"{health['split']}, {health['inputs']} inputs, {health['windows']} windows")]
    for name, metric in health["figures"].items():
        mean, low, high = (number(metric[key], "psnr") for key in ("mean", "low", "high"))
        interval = f" [{low}, {high}]" if np.isfinite(metric["error"]) else ""
        rows.append((_HEALTH.get(name, name), f"{mean} dB{interval}: {health['definitions'][name]}"))
    for name, value in (health["camera_r2"] or {}).items():
        rows.append((f"camera R², {name}", f"{value:.2f}"))
    if not health["camera_r2"]:
        rows.append(("camera R²", "not measured: no true cameras"))
    rows.append(("camera spread", f"{health['camera_spread']:.4f}; near 0, all scenes get the same cameras"))
    return KeyValues(tuple(rows), "Does the static renderer render?")
