"""The method's claims in words, each with its difference, its interval and its verdict on one scale per unit."""

from pathlib import Path

import numpy as np
import pandas as pd

from wildrayzer.evaluation.tables.files import read_claims
from wildrayzer.evaluation.tables.highlights import verdicts
from wildrayzer.evaluation.tables.notes import MASK_METRICS
from wildrayzer.report.page.page import Block, IntervalRow, Intervals, Note
from wildrayzer.run.layout import RunLayout

_MARGIN = 0.04
"""Empty share of the scale at each end."""


def claims_blocks(layout: RunLayout) -> list[Block]:
    """How many claims hold, then all of them: renderings in dB, masks in percentage points, those without a figure."""
    if not (Path(layout.tables) / "claims.csv").is_file():
        return [Note("The benchmark tables are not made yet, so the claims are left out.")]
    claims = read_claims(layout.tables)
    if claims.empty:
        return [Note("The run scores no two rows that a claim compares.")]
    measured = claims["mean"].notna() if "mean" in claims else pd.Series(False, index=claims.index)
    masks = claims["compared"].str.contains("|".join(MASK_METRICS))
    groups = (
        ("Renderings: difference of PSNR in dB", claims[measured & ~masks], "dB", 1.0),
        ("Masks: difference in percentage points", claims[measured & masks], "points", 100.0),
        ("Without an interval", claims[~measured], "", 1.0),
    )
    blocks = [_intervals(title, rows, unit, scale) for title, rows, unit, scale in groups if len(rows)]
    found = verdicts(claims)
    return [Note(found.sentence), *map(Note, filter(None, [found.untested_sentence])), *blocks]


def _intervals(title: str, rows: pd.DataFrame, unit: str, scale: float) -> Intervals:
    if not unit:
        return Intervals(title, 0.0, "", "", tuple(_row(row, None, "", 1.0) for _, row in rows.iterrows()))
    ends = scale * rows[["low", "mean", "high", "limit"]].to_numpy(float)
    low, high = min(0.0, float(np.nanmin(ends))), max(0.0, float(np.nanmax(ends)))
    room = _MARGIN * (high - low) or 1.0
    ends_of_scale = (low - room, high + room)
    shown = tuple(_row(row, ends_of_scale, unit, scale) for _, row in rows.iterrows())
    return Intervals(title, _place(0.0, ends_of_scale), _number(low), _number(high), shown)


def _row(row: pd.Series, ends: tuple[float, float] | None, unit: str, scale: float) -> IntervalRow:
    claim, detail = row["claim"].replace("`", ""), f"{row['compared']}; {row['where']}"
    if ends is None:
        return IntervalRow(claim, detail, row["verdict"], row["note"] or "–")
    mean, low, high = (scale * float(row[name]) for name in ("mean", "low", "high"))
    if row["note"]:
        detail = f"{detail}; {row['note']}"
    if not np.isfinite([low, high]).all():  # one scene has no interval
        low = high = mean
        value = f"{_number(mean)} {unit}"
    else:
        value = f"{_number(mean)} {unit} [{_number(low)}, {_number(high)}]"
    limit = _place(scale * float(row["limit"]), ends) if row["limit"] else None
    low, mean, high = (_place(number, ends) for number in (low, mean, high))
    return IntervalRow(claim, detail, row["verdict"], value, low, mean, high, limit)


def _place(value: float, ends: tuple[float, float]) -> float:
    """Place on the scale in percent of its width."""
    return 100 * (value - ends[0]) / (ends[1] - ends[0])


def _number(value: float) -> str:
    """A signed number with two decimals; 0 without a sign."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−").replace("+0.00", "0.00")
