"""The workflow's jobs in processes that need not import anything: forked from one that has all jobs and modules.

A job's script is run with the paths, options and resources that Snakemake would give it, after its outputs and log
have been removed as Snakemake does before each try. So hundreds of tries take minutes, and a kill at a random moment
hits the work itself. This process must start no threads and read no arrays before it forks.
"""

import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

from tests.slurm.compare import differences
from tests.slurm.run import ROOT

POLL = 0.002


@dataclass
class Job:
    """A job of the workflow."""

    rule: str
    script: CodeType
    given: SimpleNamespace
    """What its script calls `snakemake`."""

    @property
    def made(self) -> list[str]:
        """Its outputs and its log."""
        return [*self.given.output, *self.given.log]

    def start(self) -> int:
        """Fork a process that runs the job in the working directory; returns its number."""
        for name in self.made:
            remove(Path(name))
            Path(name).parent.mkdir(parents=True, exist_ok=True)
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            exec(self.script, {"snakemake": self.given, "__name__": "__main__"})
            code = 0
        finally:
            os._exit(code)

    def run(self) -> float:
        """Run the job to its end; returns the seconds it took once it was forked.

        Raises:
            RuntimeError: it failed; with the end of its log.
        """
        pid, begun = self.start(), time.monotonic()
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(
                f"{self.rule} ended with {status}: {Path(self.given.log[0]).read_text(encoding='utf-8')[-2000:]}"
            )
        return time.monotonic() - begun

    def kill_after(self, seconds: float) -> bool:
        """Start the job and SIGKILL it; False when it had ended by then."""
        pid, end = self.start(), time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return False
            time.sleep(POLL)
        os.kill(pid, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def remove(path: Path) -> None:
    """Remove a file, a folder or a link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def load_jobs(
    folder: Path, *, configs: Sequence[str], targets: Sequence[str], changes: Mapping[str, Any] | None = None
) -> list[Job]:
    """All jobs that lead to the targets, in an order in which they can run. Snakemake's logs go to the folder.

    Args:
        folder: of the run.
        configs: configuration files.
        targets: rules or files.
        changes: options over those of the files.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    folder.mkdir(parents=True, exist_ok=True)
    before = signal.getsignal(signal.SIGTERM)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(config=changes or {}, configfiles=[Path(config) for config in configs]),
            snakefile=ROOT / "Snakefile",
            workdir=folder,
        )
        dag_api = workflow.dag(DAGSettings(targets=set(targets)))
        dag_api.execute_workflow(executor="dryrun")
        ordered = [job for level in workflow._workflow.dag.toposorted() for job in level]
        signal.signal(signal.SIGTERM, before)  # its scheduler waits for jobs, and these would inherit that
        return [_job(job) for job in ordered if job.rule.script]


def _job(job: Any) -> Job:
    path = ROOT / "workflow" / "scripts" / Path(job.rule.script).name
    given = SimpleNamespace(
        input=job.input._plainstrings(),
        output=job.output._plainstrings(),
        log=job.log._plainstrings(),
        params=job.params,
        wildcards=job.wildcards,
        threads=job.threads,
        resources=job.resources,
        config=job.rule.workflow.config,
        rule=job.rule.name,
    )
    return Job(job.rule.name, compile(path.read_text(), str(path), "exec"), given)


@dataclass
class Outcome:
    """What became of a job's kills."""

    killed: int
    finished_first: int
    wrong: list[str]


def disturb(
    job: Job, reference: Path, *, kills: int, states: Sequence[str], parts: Sequence[str] = (), chosen: random.Random
) -> Outcome:
    """In a copy of the reference, which is the working directory: kill the job so often, run it again after each kill.

    After a kill the job runs to its end and is compared; every other time it is killed once more before, so that the
    leavings of one kill meet the next.

    Args:
        states: folders that the job resumes from, removed before each fresh start.
        parts: folders of parts that it makes; removed as well, and compared.
    """
    here, outcome = Path.cwd(), Outcome(0, 0, [])
    outputs, states = [*job.given.output, *parts], [*states, *parts]
    _fresh(states)
    length = job.run()
    outcome.wrong += [f"undisturbed: {name}" for name in differences(reference, here, outputs)]
    for tries in itertools.cycle((1, 2)):
        if outcome.killed >= kills or outcome.wrong:
            break
        _fresh(states)
        for _ in range(tries):
            if job.kill_after(chosen.uniform(0.0, length)):
                outcome.killed += 1
            else:
                outcome.finished_first += 1
                _fresh(states)
        length = min(length, job.run())  # a first run on a busy machine would have all kills come too late
        outcome.wrong += differences(reference, here, outputs)
    return outcome


def _fresh(states: Sequence[str]) -> None:
    for state in states:
        remove(Path(state))


def import_all() -> None:
    """Import what the jobs need, once, before the first fork."""
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg")
    sys.path.insert(0, str(ROOT))
    import cv2
    import torch

    import wildrayzer.stages.patch_masks  # noqa: F401
    import wildrayzer.stages.prepare  # noqa: F401
    import wildrayzer.stages.score_masks  # noqa: F401
    import wildrayzer.stages.score_views  # noqa: F401
    import wildrayzer.stages.train  # noqa: F401
    import wildrayzer.stages.write_report  # noqa: F401
    import wildrayzer.stages.write_tables  # noqa: F401

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
