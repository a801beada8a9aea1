"""Tidy scores: one row per (method, split, inputs, scene, frame, region, metric), with a manifest beside them.

Needs no torch: tables are made only from these files.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wildrayzer.evaluation.tables.files import read_named, write_named
from wildrayzer.evaluation.tables.manifests import SCHEMA, read_manifests
from wildrayzer.io.digests import digest_file
from wildrayzer.io.files import write_bytes_atomic, write_json
from wildrayzer.io.provenance import code_versions

logger = logging.getLogger(__name__)

COLUMNS = ("method", "split", "inputs", "scene", "frame", "region", "metric", "value")
KEYS = COLUMNS[:-1]
_FIX = "delete it and run the benchmark stage again"


def rows_of(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    method: str,
    split: str,
    inputs: int,
    scenes: Sequence[str],
    frames: Sequence[int],
) -> list[tuple[Any, ...]]:
    """Rows of `{region: {metric: value of each frame}}`; `scenes` and `frames` name the frames, within their clips."""
    return [
        (method, split, inputs, scene, int(frame), region, metric, float(value))
        for region, metrics in values.items()
        for metric, column in metrics.items()
        for scene, frame, value in zip(scenes, frames, column, strict=True)
    ]


def describe_split(
    scenes: int, skipped: Mapping[str, str], digests: Mapping[str, str], *, without_files: int = 0
) -> dict[str, Any]:
    """Manifest entries: number of scenes, those that were not scored with the reasons, digests of what was used.

    Args:
        scenes: of the split.
        skipped: reason for each scene that was not scored.
        digests: of what was used.
        without_files: how many of the skipped scenes have a window, but not all files from outside that it needs.
    """
    if skipped:
        logger.warning("%d of %d scenes are not scored: %s", len(skipped), scenes, dict(skipped))
    return {
        "scenes_of_split": scenes,
        "skipped_scenes": dict(skipped),
        "scenes_without_files": without_files,
        "digests": dict(digests),
    }


def write_scores(
    rows: Iterable[tuple[Any, ...]], scores: str | Path, manifest: str | Path, extra: Mapping[str, Any]
) -> None:
    """Write rows as CSV (six significant digits, sorted; NaN as `nan`) and the manifest as JSON, both atomically.

    The manifest gets the schema, code versions, the digest of the CSV, numbers of rows, scenes and frames, and the
    number of NaN values per region.
    """
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).sort_values(list(KEYS), kind="stable")
    missing = table.loc[table["value"].isna(), "region"] + "/" + table.loc[table["value"].isna(), "metric"]
    counts = {
        "rows": len(table),
        "scenes": int(table["scene"].nunique()),
        "frames": len(table[["scene", "frame"]].drop_duplicates()),
        "nan": {str(name): int(count) for name, count in missing.value_counts().sort_index().items()},
    }
    write_bytes_atomic(scores, write_named(table).encode())
    about = {"schema": SCHEMA, **code_versions(), **extra, "counts": counts, "scores_digest": digest_file(scores)}
    write_json(manifest, about, checksum=True)


def read_scores(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read and join score files, each after it was compared with the manifest beside it.

    Manifests of earlier versions hold no digest: their scores are read unchecked, and the log says so.

    Raises:
        ValueError: missing, empty, truncated or changed file, wrong columns, values that are not numbers, or a frame
            scored twice.
    """
    files = [Path(path) for path in paths]
    tables = [_read_one(file) for file in files]
    if not tables:
        raise ValueError("no score files were given; run the benchmark stage first")
    unchecked = [file for file, table in zip(files, tables, strict=True) if not _is_whole(file, rows=len(table))]
    if unchecked:
        logger.warning(
            "%d score files have no digest in a manifest beside them and are read unchecked, such as %s",
            len(unchecked),
            unchecked[0],
        )
    joined = pd.concat(tables, ignore_index=True)
    twice = joined.duplicated(list(KEYS))
    if twice.any():
        first = joined.loc[twice, list(KEYS)].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} scores are given twice, the first is {first}; pass every file once")
    return joined


def _is_whole(path: Path, *, rows: int) -> bool:
    """Compare a score file with its manifest; False where the manifest has no digest of it.

    Raises:
        ValueError: the file has changed since it was scored.
    """
    beside = path.with_suffix(".json")
    manifest = read_manifests([beside])[0] if beside.is_file() else {}
    expected = manifest.get("scores_digest")
    if expected is None:
        return False
    if digest_file(path) != expected:
        written = manifest["counts"]["rows"]
        change = f"{rows} of {written} rows" if rows != written else "its values or names"
        raise ValueError(f"{path} was truncated or changed after it was scored ({change}); {_FIX}")
    return True


def _read_one(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: no such score file; run the benchmark stage first")
    try:
        table = read_named(path, numbers=("inputs", "frame", "value"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a score file ({error}); {_FIX}") from None
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"{path}: columns are {list(table.columns)}, expected {list(COLUMNS)}; {_FIX}")
    for column in ("inputs", "frame", "value"):
        try:
            numbers = pd.to_numeric(table[column], errors="coerce")
        except OverflowError:  # "coerce" does not cover integers beyond the range of a float
            raise ValueError(f"{path}: {column} has a number that is too large; {_FIX}") from None
        bad = ~np.isfinite(numbers) if column != "value" else numbers.isna() & table[column].notna()
        if bad.any():
            raise ValueError(f"{path}: {column} = {table[column][bad].iloc[0]!r} is no number; {_FIX}")
        table[column] = numbers
    if table.duplicated(list(KEYS)).any():
        raise ValueError(f"{path}: holds a score twice; {_FIX}")
    return table.astype({"inputs": int, "frame": int, "value": float})
