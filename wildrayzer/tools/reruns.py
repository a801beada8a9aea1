"""What a changed configuration would make again, and how a copied or moved run is taken as it is."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wildrayzer.checkpoint import check_weights
from wildrayzer.config import load_config
from wildrayzer.data.frame_store.manifest import find_store
from wildrayzer.data.frame_store.store import adopt_store
from wildrayzer.pseudo_masks.cache.adoption import adopt_cache
from wildrayzer.run.expected import ExpectedScores, training_runs
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.origins import foreign_caches
from wildrayzer.run.redo import damaged_outputs, finished_jobs, record_job, repeated_jobs, report_lines
from wildrayzer.tools.planning.forecast import forecast, gpu_rates
from wildrayzer.tools.planning.jobs import planned_stages
from wildrayzer.tools.planning.split_sizes import split_sizes

TRIGGERS = ("mtime", "params", "software-env")
"""What makes Snakemake run a job again, as in profiles/default/config.yaml."""


@contextlib.contextmanager
def evaluated_workflow(config: Path, *, snakefile: Path) -> Iterator[Any]:
    """Snakemake's graph of jobs for the target `all`, evaluated as in a dry run.

    Args:
        config: configuration file.
        snakefile: the workflow; results lie below the working directory.

    Raises:
        ValueError: the workflow cannot be read with this configuration; the message is Snakemake's.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import WorkflowError
    from snakemake.settings.enums import RerunTrigger
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    triggers = frozenset(RerunTrigger.parse_choice(name) for name in TRIGGERS)
    said = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(said),
            SnakemakeApi(OutputSettings(dryrun=True, quiet=frozenset({Quietness.ALL}))) as api,
        ):
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=(config.resolve(),)),
                snakefile=snakefile.resolve(),
            )
            graph = workflow.dag(DAGSettings(targets=frozenset({"all"}), rerun_triggers=triggers))
            graph.printrulegraph()  # after a dry run, no job would need to run
            yield workflow._workflow.dag
    except WorkflowError as error:
        raise ValueError(str(error)) from None


def difference(config: Path, *, snakefile: Path) -> list[str]:
    """What the next call of the workflow would make again, by stage, with the options that cause it; empty for nothing.

    With GPUs, each stage has the GPU-hours of the plan; otherwise it has the time that its jobs took when last run.
    """
    options = load_config(config)
    with evaluated_workflow(config, snakefile=snakefile) as graph:
        jobs = repeated_jobs(graph)
    hours: dict[str, float] = {}
    if options.compute.gpus and jobs:
        stages = planned_stages(options, split_sizes(options, RunLayout(options.name)))
        planned = forecast(stages, gpu_rates(options, share=None, rate=None))
        hours = {one.stage.name: one.gpu_hours for one in planned}
    return [
        line + (f" [{hours[job]:.1f} GPU-hours planned]" if (job := line.split()[2]) in hours else "")
        for line in report_lines(jobs)
    ]


def _list_earlier_results(layout: RunLayout, splits: Iterable[str]) -> None:
    """Give frame stores and mask caches of one folder, as earlier versions made them, a manifest."""
    for manifest in map(Path, map(layout.store, splits)):
        found = find_store(manifest)
        if found is not None and found != manifest:
            adopt_store(found, manifest)
    for residuals in sorted(Path(layout.base).glob("**/masks/*/*/residuals.zarr")):
        adopt_cache(residuals.parent)
    for later in sorted(Path(layout.base).glob("**/masks/*/*/*_masks.zarr")):  # of ablations, which share residuals
        adopt_cache(later.parent)


def adopt(config: Path, *, snakefile: Path, keep: bool = False) -> int:
    """Take the results of a run that was copied, moved or made by an earlier version as they are.

    Outputs are compared with what their jobs recorded, caches and checkpoints by digest. Then Snakemake is told that
    they are up to date. Frame stores and mask caches of earlier versions become splits of one part; no frame is copied.

    Args:
        config: configuration file of the run.
        snakefile: the workflow; results lie below the working directory.
        keep: take results whose options or stage versions differ from the configuration's, or were not recorded.

    Returns:
        The number of finished jobs.

    Raises:
        ValueError: results are there in part, damaged or made from something else; or, without `keep`, their options
            differ. The message names all of them.
    """
    options = load_config(config)
    layout = RunLayout(options.name)
    if not Path(layout.base).is_dir():
        raise ValueError(f"{layout.base}: no such folder; call this where results/ of the run {options.name} lies")
    wrong = damaged_outputs(str(layout.base))
    masks = ExpectedScores(options, layout).cached_masks()
    wrong += foreign_caches(layout, rounds=options.rounds, masks=masks)
    for folder in (layout.checkpoint(*stage) for stage in training_runs(options)):
        if Path(folder).exists():
            try:
                check_weights(folder)
            except (ValueError, OSError) as error:
                wrong.append(str(error))
    if wrong:
        raise ValueError("the run was not adopted:\n" + "\n".join(wrong))
    _list_earlier_results(layout, options.data.splits)
    with evaluated_workflow(config, snakefile=snakefile) as graph:
        jobs = finished_jobs(graph)
    differing = [line for job in jobs for line in job.differences]
    if differing and not keep:
        shown = list(dict.fromkeys(differing))
        more = f"\n… and {len(shown) - 20} more" if len(shown) > 20 else ""
        raise ValueError(
            "these results differ from the configuration:\n" + "\n".join(shown[:20]) + more + "\n"
            "`--keep` takes them as they are; without it, `snakemake` makes them again"
        )
    for job in jobs:
        record_job(job.log, job.params, job.outputs)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--configfile", str(config)]
    touched = subprocess.run(
        [*command, "--cores", "1", "--touch", "--forceall", "--quiet", "all", "--", "all"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if touched.returncode:
        raise ValueError(f"Snakemake could not take the results as up to date:\n{touched.stderr[-2000:]}")
    return len(jobs)
