"""The report stage: everything a run has made, on one HTML page; and its tables on the terminal."""

import logging
from pathlib import Path

from rich.console import Console

from wildrayzer.config import RunConfig
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.report.report import build_report
from wildrayzer.report.sections.benchmark import read_tables
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.stage_versions import STAGE_VERSIONS

logger = logging.getLogger(__name__)

STAGE_VERSION = STAGE_VERSIONS["report"]


def write_report(*, config: RunConfig, layout: RunLayout, out: str | Path) -> None:
    """Write the report of a run; reads the run's folder alone and changes nothing in it.

    Args:
        config: the run.
        layout: where it keeps its files.
        out: HTML file to write.

    Raises:
        ValueError: an artefact is damaged, or does not belong to the others.
    """
    page = build_report(config, layout)
    write_bytes_atomic(out, page.encode())
    logger.info("report: %s (%.1f MB)", out, len(page) / 1e6)


def print_summary(*, config: RunConfig, layout: RunLayout, console: Console | None = None) -> None:
    """Show a run's benchmark tables on the terminal, then where its report is.

    Raises:
        ValueError: the tables are not made yet.
    """
    from wildrayzer.evaluation.tables.text import print_tables, table_console

    console = console or table_console()
    print_tables(read_tables(config, layout), console)
    report = Path(layout.report)
    where = str(report) if report.is_file() else f"not written yet; `snakemake report` writes {report}"
    console.print(f"Report: {where}", markup=False, soft_wrap=True)
