"""Snakemake on the tiny configuration, and what a dry run says it would do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from wildrayzer.run.layout import RunLayout

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "resources" / "tiny.yaml"
TRAINING = {"train_pretrain", "train_distill", "train_masked", "train_joint", "train_unmasked"}


def snakemake(folder, *arguments, check=True):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    result = subprocess.run(
        [*command, "--cores", "2", "--configfile", str(TINY), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result


def planned(folder, *arguments):
    """Rules, and how often each, of a dry run."""
    result = snakemake(folder, "--dry-run", *arguments)
    table = re.search(r"Job stats:\n.*\n[- ]+\n(.*?)\ntotal", result.stdout + result.stderr, re.DOTALL)
    if table is None:
        assert "Nothing to be done" in result.stdout + result.stderr
        return {}
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}


def another_runs_cache(folder):
    """Frames of this run in a folder, and beside them residuals of other frames."""
    layout = RunLayout("tiny")
    for path, attributes in (
        (layout.store("dynamic_train"), {"digest": "frames"}),
        (layout.residuals(1, "dynamic_train"), {"digest": "maps", "digests": {"store": "others"}}),
    ):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(json.dumps(attributes))
    return "renderer/residuals.json was made from something else: store is others, expected frames"
