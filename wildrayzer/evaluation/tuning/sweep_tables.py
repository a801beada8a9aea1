"""Results of a sweep as CSV and Markdown."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from wildrayzer.evaluation.tables.files import write_named
from wildrayzer.io.files import read_json, write_bytes_atomic, write_json
from wildrayzer.io.outputs import check_outputs

_SHOWN = ("iou", "recall", "precision", "coverage", "empty")


def check_folder(out: Path, *, digest: str, overwrite: bool) -> None:
    """Refuse to replace the tables of another sweep.

    Args:
        out: folder of the tables.
        digest: of the sweep, `sweep_digest`.
        overwrite: the user allows it.

    Raises:
        ValueError: `out` holds other tables or a damaged record.
    """
    record = out / "tuning.json"
    same = record.is_file() and read_json(record, fix="delete it") == {"sweep": digest}
    check_outputs([out / "tuning.csv", out / "tuning.md", record, *out.glob("*.svg")], same=same, overwrite=overwrite)


def write_tables(table: pd.DataFrame, out: Path, *, swept: Sequence[str], base: str, digest: str) -> None:
    """`tuning.csv` with every row, `tuning.md` with one table per split and kind of mask, `tuning.json` with `digest`.

    Args:
        table: rows of `tune`.
        out: folder.
        swept: names of the swept options.
        base: a line that says what the other options are.
        digest: of the sweep, `sweep_digest`.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "tuning.json", {"sweep": digest})
    write_bytes_atomic(out / "tuning.csv", write_named(table, missing="").encode())
    write_bytes_atomic(out / "tuning.md", markdown(table, swept=swept, base=base).encode())


def markdown(table: pd.DataFrame, *, swept: Sequence[str], base: str) -> str:
    """Tables sorted by mean IoU, the highest first; by coverage, the lowest first, where nothing moves or is known."""
    parts = ["# Mask options over cached maps", base]
    parts.append(
        "Means over frames, in %. IoU and recall: frames with true foreground; precision: frames with predicted "
        "foreground; coverage: share of the frame that is marked; empty: share of frames with an empty mask. Options "
        "chosen on the clips they are scored on flatter themselves: choose on some clips, report on others."
    )
    for (split, masks), rows in table.groupby(["split", "masks"], sort=False):
        known = rows["iou"].notna().any()
        ordered = rows.sort_values("iou" if known else "coverage", ascending=not known, kind="stable")
        parts += [f"## {split}, {masks} masks ({int(rows['frames'].iloc[0])} frames)", _table(ordered, swept)]
    return "\n\n".join(parts) + "\n"


def _table(rows: pd.DataFrame, swept: Sequence[str]) -> str:
    shown = [name for name in _SHOWN if rows[name].notna().any()]
    head = [["set", *swept, *shown], ["---:"] * (1 + len(swept) + len(shown))]
    body = [
        [str(row["set"]), *(str(row[name]) for name in swept), *(_percent(row[name]) for name in shown)]
        for _, row in rows.iterrows()
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*head, *body])


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f}"
