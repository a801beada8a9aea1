"""`summary.csv` and `claims.csv` of a run, read back as they were written. Needs no torch."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from wildrayzer.evaluation.tables.rows import FIELDS

_FIX = "run the stage benchmark_tables again"


def read_named(path: str | Path, *, numbers: Sequence[str]) -> pd.DataFrame:
    """A CSV file whose names stay text: a scene, a split or a row may be called NA or null.

    Args:
        path: the file.
        numbers: columns of numbers; only of these may values be missing (`nan` or nothing).

    Raises:
        ValueError: not a CSV file.
    """
    text = Path(path).read_text(encoding="utf-8")
    columns = pd.read_csv(io.StringIO(text), nrows=0).columns
    return pd.read_csv(
        io.StringIO(text),
        dtype={name: str for name in columns if name not in numbers},
        keep_default_na=False,
        na_values={name: ["", "nan", "NaN"] for name in numbers},
    )


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
