"""Snakemake on the tiny configuration, and what a dry run says it would do."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from wildrayzer.run.layout import RunLayout
from wildrayzer.tools.reruns import TRIGGERS

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
    """Rules, and how often each, that a call of Snakemake with these arguments would run; evaluated in this process."""
    from snakemake.api import SnakemakeApi
    from snakemake.cli import get_argument_parser, parse_config
    from snakemake.settings.enums import RerunTrigger
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    chosen = get_argument_parser().parse_args(["--cores", "2", "--configfile", str(TINY), *map(str, arguments)])
    triggers = frozenset(RerunTrigger.parse_choice(name) for name in TRIGGERS)
    with SnakemakeApi(OutputSettings(dryrun=True, quiet=frozenset({Quietness.ALL}))) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(config=parse_config(chosen.config), configfiles=chosen.configfile),
            snakefile=ROOT / "Snakefile",
            workdir=Path(folder),
        )
        graph = workflow.dag(DAGSettings(targets=frozenset(chosen.targets), rerun_triggers=triggers))
        graph.printrulegraph()  # after a dry run, no job would need to run
        return dict(Counter(job.rule.name for job in workflow._workflow.dag.needrun_jobs()))


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
