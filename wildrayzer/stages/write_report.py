"""The report stage: everything that a run has made, on one HTML page."""

import logging
from pathlib import Path

from wildrayzer.config import RunConfig
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.report.report import build_report
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.stage_versions import STAGE_VERSIONS

logger = logging.getLogger(__name__)

STAGE_VERSION = STAGE_VERSIONS["report"]


def write_report(*, config: RunConfig, layout: RunLayout, out: str | Path) -> None:
    """Write the report of a run; it reads only the run's folder and changes nothing else in it.

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
