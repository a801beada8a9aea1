"""The benchmark tables as written, and the renderer's health."""

from pathlib import Path

import numpy as np

from wildrayzer.config import RunConfig
from wildrayzer.evaluation.tables.manifests import read_healths
from wildrayzer.evaluation.tables.rows import Table, number
from wildrayzer.evaluation.tables.text import read_tables
from wildrayzer.report.page.page import Block, KeyValues, Note, TextTable
from wildrayzer.run.layout import RunLayout

_HEALTH = {"psnr": "PSNR", "reordered": "targets re-ordered", "swapped": "poses swapped"}


def benchmark_blocks(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Every table but the claims, which have a section of their own."""
    if not (Path(layout.tables) / "tables.md").is_file():
        return [Note("The benchmark tables are not made yet, so they are left out.")]
    return [_shown(table) for table in read_tables(config, layout).tables if table.name != "claims"]


def _shown(table: Table) -> TextTable:
    """The table without Markdown's back-ticks."""
    rows = tuple(tuple(cell.replace("`", "") for cell in row) for row in table.rows)
    notes = (table.head, *table.notes) if table.head else table.notes
    return TextTable(table.title, table.columns, rows, notes)


def health_block(layout: RunLayout) -> Block:
    """The static renderer's health: whether its cameras carry information, in words and numbers."""
    file = Path(layout.renderer_scores)
    if not file.is_file():
        return Note("The static renderer's cameras are not examined yet, so they are left out.")
    (health,) = read_healths([file])
    rows = [("Measured on", f"{health['split']}, {health['inputs']} inputs, {health['windows']} windows")]
    for name, metric in health["figures"].items():
        mean, low, high = (number(metric[key], "psnr") for key in ("mean", "low", "high"))
        interval = f" [{low}, {high}]" if np.isfinite(metric["error"]) else ""
        rows.append((_HEALTH.get(name, name), f"{mean} dB{interval}: {health['definitions'][name]}"))
    for name, value in (health["camera_r2"] or {}).items():
        rows.append((f"camera R², {name}", f"{value:.2f}"))
    if not health["camera_r2"]:
        rows.append(("camera R²", "not measured: no true cameras"))
    for name, share in (health.get("pose_accuracy") or {}).items():
        rows.append((name.upper().replace("_", "@"), f"{100 * share:.1f}%"))
    rows.append(("camera spread", f"{health['camera_spread']:.4f}; near 0, all scenes get the same cameras"))
    return KeyValues(tuple(rows), "Does the static renderer render?")
