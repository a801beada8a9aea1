"""The tables stage: score files in, Markdown, LaTeX and CSV out. Seconds, and no torch."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wildrayzer.evaluation.tables.files import write_named
from wildrayzer.evaluation.tables.manifests import read_healths, read_manifests
from wildrayzer.evaluation.tables.scores import read_scores
from wildrayzer.evaluation.tables.tables import TableContext, Tables, build_tables
from wildrayzer.evaluation.tables.text import latex, markdown
from wildrayzer.io.digests import digest_folder
from wildrayzer.io.files import write_bytes_atomic

logger = logging.getLogger(__name__)

FILES = ("tables.md", "tables.tex", "summary.csv", "claims.csv")


def load_tables(
    scores: Iterable[str | Path],
    manifests: Iterable[str | Path],
    healths: Iterable[str | Path],
    context: TableContext,
) -> Tables:
    """Tables of score files; the same files give the same tables.

    Args:
        scores: CSV files of tidy rows.
        manifests: the JSON files beside them.
        healths: JSON files of `score_renderer_health`.
        context: the run, from `TableContext.from_config`.

    Raises:
        ValueError: files that are missing, broken, given twice, or of another run.
    """
    about = read_manifests(sorted(map(str, manifests)))
    for manifest in about:
        _warn_of_replaced_files(manifest)
    return build_tables(read_scores(sorted(map(str, scores))), about, read_healths(sorted(map(str, healths))), context)


def _warn_of_replaced_files(manifest: Mapping[str, Any]) -> None:
    """Scores of files from outside are of the files as they were; the tables stay a function of the scores alone."""
    digests = manifest.get("digests", {})
    if "files" in digests and Path(digests["folder"]).is_dir() and digest_folder(digests["folder"]) != digests["files"]:
        logger.warning(
            "%s on %s: the files in %s have changed since they were scored; run the benchmark stage again",
            manifest["method"], manifest["split"], digests["folder"],
        )  # fmt: skip


def write_tables(tables: Tables, folder: str | Path) -> None:
    """Write `FILES` into a folder: all tables as Markdown and LaTeX, every mean and every claim as CSV."""
    folder = Path(folder)
    claims = pd.DataFrame(
        [
            {
                "claim": finding.claim,
                "where": finding.where,
                "compared": finding.compared,
                **({} if finding.difference is None else vars(finding.difference)),
                "limit": finding.limit,
                "verdict": finding.verdict,
                "note": finding.note,
            }
            for finding in tables.findings
        ]
    )
    texts = {
        "tables.md": markdown(tables),
        "tables.tex": latex(tables),
        "summary.csv": write_named(tables.summary),
        "claims.csv": write_named(claims),
    }
    for name in FILES:
        write_bytes_atomic(folder / name, texts[name].encode())
