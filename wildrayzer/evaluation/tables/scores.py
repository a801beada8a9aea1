"""Tidy scores: one row per (method, split, inputs, scene, frame, region, metric), with a manifest beside them.

Needs no torch: tables are made only from these files.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from wildrayzer.evaluation.tables.files import read_named
from wildrayzer.io.files import read_json, write_bytes_atomic, write_json
from wildrayzer.io.provenance import code_versions

logger = logging.getLogger(__name__)

COLUMNS = ("method", "split", "inputs", "scene", "frame", "region", "metric", "value")
KEYS = COLUMNS[:-1]
SCHEMA = 1


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

    The manifest gets the schema, code versions, numbers of scenes and frames, and per region the number of NaN values.
    """
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).sort_values(list(KEYS), kind="stable")
    text = table.to_csv(index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    missing = table.loc[table["value"].isna(), "region"] + "/" + table.loc[table["value"].isna(), "metric"]
    counts = {
        "scenes": int(table["scene"].nunique()),
        "frames": len(table[["scene", "frame"]].drop_duplicates()),
        "nan": {str(name): int(count) for name, count in missing.value_counts().sort_index().items()},
    }
    write_bytes_atomic(scores, text.encode())
    write_json(manifest, {"schema": SCHEMA, **code_versions(), **extra, "counts": counts})


def read_scores(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read and join score files.

    Raises:
        ValueError: missing or empty file, wrong columns, values that are not numbers, or a frame scored twice.
    """
    tables = [_read_one(Path(path)) for path in paths]
    if not tables:
        raise ValueError("no score files were given; run the benchmark stage first")
    joined = pd.concat(tables, ignore_index=True)
    twice = joined.duplicated(list(KEYS))
    if twice.any():
        first = joined.loc[twice, list(KEYS)].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} scores are given twice, the first is {first}; pass every file once")
    return joined


def _read_one(path: Path) -> pd.DataFrame:
    fix = "delete it and run the benchmark stage again"
    if not path.is_file():
        raise ValueError(f"{path}: no such score file; run the benchmark stage first")
    try:
        table = read_named(path, numbers=("inputs", "frame", "value"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a score file ({error}); {fix}") from None
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"{path}: columns are {list(table.columns)}, expected {list(COLUMNS)}; {fix}")
    for column in ("inputs", "frame", "value"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = numbers.isna() if column != "value" else numbers.isna() & table[column].notna()
        if bad.any():
            raise ValueError(f"{path}: {column} = {table[column][bad].iloc[0]!r} is no number; {fix}")
        table[column] = numbers
    return table.astype({"inputs": int, "frame": int, "value": float})


def read_manifests(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read the manifests beside score files.

    Raises:
        ValueError: a file is missing, broken or of another schema.
    """
    manifests = []
    for path in paths:
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such manifest; run the benchmark stage first")
        manifest = read_json(path)
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise ValueError(f"{path}: not a score manifest of schema {SCHEMA}; run the benchmark stage again")
        manifests.append(manifest)
    return manifests
