"""What dies on a cluster, done to a training job of the loopback cluster: each case must end in the undisturbed result.

A case is a function that disturbs a run of Snakemake while the job trains. Weights and training figures are compared
with those of the same configuration trained without a cluster and without disturbance.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm.compare import differences
from tests.slurm.loopback import LoopbackCluster, wait_for
from tests.slurm.run import ROOT, TINY, command, environment, snakemake
from wildrayzer.run.layout import RunLayout

RUN = RunLayout("tiny")
OUTPUTS = [RUN.checkpoint("pretrain"), RUN.metrics("pretrain")]
STATE = RUN.state("pretrain")
STEPS = 1000
SECONDS = 600.0


class Case:
    """One disturbed run: a copy of the frames, on which pretraining runs on the cluster."""

    def __init__(self, cluster: LoopbackCluster, frames: Path, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(frames, folder, symlinks=True)
        self.cluster, self.folder = cluster, folder
        self.running: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Snakemake in the background."""
        words = command(
            self.folder, *training_options(), *options, "--", *OUTPUTS, cluster=self.cluster, configs=[TINY]
        )
        with (self.folder / "snakemake.log").open("ab") as log:
            self.running = subprocess.Popen(
                words, cwd=ROOT, env=environment(self.cluster), stdout=log, stderr=log, start_new_session=True
            )

    def finish(self) -> int:
        """Wait for its end."""
        assert self.running is not None
        return self.running.wait(timeout=SECONDS)

    @property
    def steps(self) -> int:
        """Steps in the newest resume state."""
        names = [path.stem for path in (self.folder / STATE).glob("step-*.pt")]
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def wait_for_steps(self, more: int = 1) -> None:
        """Until the job has saved again."""
        before = self.steps
        wait_for(lambda: self.steps >= before + more, seconds=SECONDS, what="a saved state")

    @property
    def job(self) -> int:
        """The running job."""
        return max(number for number, state in self.cluster.jobs().items() if state == "RUNNING")

    def wait_for_job(self, number: int, *states: str) -> None:
        """Until the controller has the job in one of these states."""
        wait_for(lambda: self.cluster.jobs().get(number) in states, seconds=SECONDS, what=f"job {number} {states}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to what runs in the cluster's jobs."""
        for pid in self.cluster.processes_of():
            with contextlib.suppress(OSError):
                if b"slurmstepd" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, number)

    def end(self) -> None:
        """Leave nothing running."""
        if self.running is not None and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()
        for number, state in self.cluster.jobs().items():
            if state in ("RUNNING", "PENDING", "COMPLETING"):
                self.cluster.command("scancel", str(number), check=False)


def training_options() -> list[str]:
    """A pretraining long enough to be disturbed."""
    stage = f"{{steps: {STEPS}, save_every: 10, log_every: 50, validate_every: {STEPS}}}"
    return ["--config", f"pretrain={stage}", "--rerun-triggers", "mtime"]


def prepare(frames: Path, reference: Path) -> None:
    """Make the frames, and the undisturbed result beside them."""
    if not (reference / OUTPUTS[0]).exists():
        stores = [RUN.store(name) for name in ("static_train", "static_test")]
        snakemake(frames, "--", *stores, configs=[TINY])
        shutil.copytree(frames, reference, symlinks=True)
        snakemake(reference, *training_options(), "--", *OUTPUTS, configs=[TINY])


def preempted(case: Case) -> str:
    """A job of a higher partition takes all nodes; Slurm requeues ours and starts it again."""
    case.start()
    case.wait_for_steps()
    ours = case.job
    case.cluster.command("sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 3",
                         "--output=/dev/null")  # fmt: skip
    case.wait_for_job(ours, "PENDING", "COMPLETING", "PREEMPTED")
    return f"Snakemake {case.finish()}, job {ours} {case.cluster.jobs()[ours]} after its requeue"


def over_time(case: Case) -> str:
    """Slurm ends the job, which stands still meanwhile, at a walltime unknown to it; Snakemake submits it again."""
    case.start()
    case.wait_for_steps()
    ours = case.job
    case.send(signal.SIGSTOP)
    case.cluster.command("scontrol", "update", f"jobid={ours}", "timelimit=1")
    case.wait_for_job(ours, "TIMEOUT", "FAILED")
    return f"Snakemake {case.finish()}, first job {case.cluster.jobs()[ours]}"


def before_time(case: Case) -> str:
    """The job knows its walltime of two minutes, half of which passes in one step: it saves and leaves."""
    case.start("--set-resources", "train_pretrain:runtime=2")
    case.wait_for_steps()
    ours, log = case.job, case.folder / RUN.log("pretrain")
    case.send(signal.SIGSTOP)
    time.sleep(61.0)
    case.send(signal.SIGCONT)
    left = "the job's walltime is nearly over"
    wait_for(lambda: log.is_file() and left in log.read_text(), seconds=60.0, what="leaving before the walltime")
    case.wait_for_job(ours, "FAILED")
    return f"Snakemake {case.finish()}, first job saved, left and {case.cluster.jobs()[ours]}"


def node_lost(case: Case) -> str:
    """The daemon and all processes of the job's node are killed."""
    case.start()
    case.wait_for_steps()
    ours = case.job
    node = case.cluster.command("squeue", f"--jobs={ours}", "--noheader", "--format=%N")
    case.cluster.lose(node)
    try:
        case.wait_for_job(ours, "PENDING", "NODE_FAIL", "FAILED", "COMPLETING", "CONFIGURING")
        code = case.finish()
    finally:
        case.cluster.start(node)
        case.cluster.wait_until_idle(seconds=120)
    return f"Snakemake {code}, {node} lost"


def daemon_killed(case: Case) -> str:
    """The node's slurmd alone is killed and comes back; the job's processes live on."""
    case.start()
    case.wait_for_steps()
    node = case.cluster.command("squeue", f"--jobs={case.job}", "--noheader", "--format=%N")
    case.cluster.kill(node)
    time.sleep(2.0)
    case.cluster.start(node)
    return f"Snakemake {case.finish()}, slurmd of {node} killed and started again"


def controller_restarted(case: Case) -> str:
    """The controller is killed, is away for five seconds, and reads its state again."""
    case.start()
    case.wait_for_steps()
    case.cluster.kill("controller")
    time.sleep(5.0)
    case.cluster.start("controller")
    return f"Snakemake {case.finish()}"


def snakemake_killed(case: Case) -> str:
    """Snakemake is killed, unlocked and started again while its job still runs."""
    case.start()
    case.wait_for_steps()
    ours = case.job
    assert case.running is not None
    os.killpg(case.running.pid, signal.SIGKILL)
    case.running.wait()
    shutil.rmtree(case.folder / ".snakemake" / "locks")  # as `snakemake --unlock` does
    case.start()
    code = case.finish()
    return f"Snakemake {code}, the job left behind {case.cluster.jobs()[ours]}"


CASES: dict[str, Callable[[Case], str]] = {
    "job pre-empted and requeued": preempted,
    "walltime hit": over_time,
    "walltime known, left before it": before_time,
    "node lost in mid-job": node_lost,
    "slurmd killed in mid-job": daemon_killed,
    "controller killed and restarted": controller_restarted,
    "snakemake killed and started again": snakemake_killed,
}


def play(name: str, *, cluster: LoopbackCluster, frames: Path, reference: Path, folder: Path) -> tuple[str, list[str]]:
    """Run a case; what was seen, and which files differ from the undisturbed ones."""
    case = Case(cluster, frames, folder)
    try:
        seen = CASES[name](case)
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        return f"not ended: {error}", ["(no result)"]
    finally:
        case.end()
    return f"{seen}; {last_try(folder)}", differences(reference, folder, OUTPUTS)


def last_try(folder: Path) -> str:
    """Where the try that ended the training began."""
    manifest = folder / OUTPUTS[0] / "manifest.json"
    if not manifest.is_file():
        return "no try ended"
    begun = json.loads(manifest.read_text())["extra"]["summary"]["resumed_from"]
    return f"last try from step {begun} of {STEPS} on"
