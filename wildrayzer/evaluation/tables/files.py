"""CSV files of scores and tables, read back as they were written. Needs no torch."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from wildrayzer.evaluation.tables.rows import FIELDS

_FIX = "run the stage benchmark_tables again"


_FORMULA = re.compile(r"'*[=+\-@\t]")
"""Beginning of a text that spreadsheets take for a formula, after any number of apostrophes."""


def write_named(table: pd.DataFrame, *, missing: str = "nan") -> str:
    """A table as CSV with six significant digits, which a spreadsheet can open without running anything.

    A text that begins like a formula (`=`, `+`, `-`, `@` or a tab) gets an apostrophe in front, which
    `read_named` takes away. All other texts are written as they are; where one has a carriage return, all are quoted,
    because an unquoted one ends a line.

    Args:
        table: columns of text and numbers.
        missing: how missing numbers are written.
    """
    safe = _changed(table, lambda text: f"'{text}" if _FORMULA.match(text) else text)
    returns = any("\r" in text for name in safe.columns for text in _texts(safe, name))
    text: str = safe.to_csv(
        index=False, float_format="%.6g", na_rep=missing, lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
    )  # fmt: skip
    return text


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    """The different texts of a column; none where it holds numbers."""
    if pd.api.types.is_numeric_dtype(table[name]):
        return []
    return [text for text in table[name].unique() if isinstance(text, str)]


def _changed(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The table with `change` made to every text in it; columns in which it changes nothing stay as they are."""
    changed = {}
    for name in table.columns:
        texts = {text: change(text) for text in _texts(table, name)}
        if any(before != after for before, after in texts.items()):
            changed[name] = [texts.get(value, value) for value in table[name]]
    return table.assign(**changed)


def read_named(path: str | Path, *, numbers: Sequence[str]) -> pd.DataFrame:
    """A CSV file of `write_named`. Its names stay text: a scene, a split or a row may be called NA or null.

    Args:
        path: the file.
        numbers: columns of numbers; only of these may values be missing (`nan` or nothing).

    Raises:
        ValueError: not a CSV file.
    """
    with Path(path).open(encoding="utf-8", newline="") as stream:  # carriage returns in names stay what they are
        text = stream.read()
    columns = pd.read_csv(io.StringIO(text), nrows=0).columns
    table = pd.read_csv(
        io.StringIO(text),
        dtype={name: str for name in columns if name not in numbers},
        keep_default_na=False,
        na_values={name: ["", "nan", "NaN"] for name in numbers},
    )
    return _changed(table, lambda text: text[1:] if text[:1] == "'" and _FORMULA.match(text) else text)


def read_summary(tables: str | Path) -> pd.DataFrame:
    """Every mean with its interval, of a run's tables folder.

    Raises:
        ValueError: it is missing or damaged.
    """
    return _read(Path(tables) / "summary.csv", ["inputs", *FIELDS])


def read_claims(tables: str | Path) -> pd.DataFrame:
    """Every claim with its verdict, of a run's tables folder; `FIELDS` where at least one is measured.

    Raises:
        ValueError: it is missing or damaged.
    """
    return _read(Path(tables) / "claims.csv", [*FIELDS, "limit"])


def _read(path: Path, numbers: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path} is missing; finish the run first (target `benchmark_tables`)")
    try:
        return read_named(path, numbers=numbers)
    except ValueError as error:  # what pandas raises for a file that is empty, torn or not text
        raise ValueError(f"{path}: not a table ({error}); {_FIX}") from None
