"""Snakemake, called for one target in a folder of its own."""

import subprocess
import sys
from pathlib import Path

from wildrayzer.io.shipped import SNAKEFILE
from wildrayzer.tools.video_masks.workspace import SPLIT, Workspace


def make_masks(workspace: Workspace, *, cores: int) -> None:
    """Bring the pixel masks of the videos up to date; what is there already is not made again.

    The folder's lock is the caller's, so Snakemake's own, which outlives a killed process, is not needed.

    Raises:
        ValueError: a job failed, or the configuration cannot be run; Snakemake has printed why.
        KeyboardInterrupt: after the workflow has stopped its jobs.
    """
    config = workspace.config()
    folder = workspace.folder.resolve()
    target = Path(workspace.layout.pixel_masks(config.rounds, SPLIT)).resolve().relative_to(folder)
    options = ["--cores", str(cores), "--rerun-incomplete", "--nolock", "--scheduler", "greedy", "--quiet", "rules"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(folder),
               "--configfile", str(workspace.config_file.resolve()), *options, "--", str(target)]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal has interrupted Snakemake too, which ends its jobs first
        raise
    if code:
        logs = workspace.folder / "results" / workspace.layout.base.name / "logs"
        raise ValueError(f"a stage failed, see above and {logs}; the same command resumes after the last finished job")
