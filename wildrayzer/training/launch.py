"""Starts the processes of a training job: torchrun on this machine, or one torchrun on each node of a Slurm job.

Under Slurm the job's script runs once, on the first node. For several nodes it starts a second step with `srun`, which
shares the allocation with the first (`--overlap`) and runs one torchrun per node; they meet on the first node (c10d).

Signals: Slurm sends SIGTERM to every process of a job before it pre-empts or ends it. Training processes answer it by
saving and stopping, so what stands above them must outlive them: the torchruns ignore SIGTERM and SIGUSR1. For whoever
signals the job's script alone, this module asks torchrun once, by SIGQUIT, to ask its processes; a second request would
break its waiting for them. A SIGKILL of any process ends those below it.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping

STOPS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask training to save and stop."""
_SHUTDOWN_SECONDS = 300
"""How long torchrun lets its processes save after a request."""
_PR_SET_PDEATHSIG = 1
_KEPT = {"SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME", "SLURM_CONF"}
"""What a nested srun may know of the step it is called from; the rest are that step's sizes."""


def run_processes(module: str, *arguments: str, processes: int, nodes: int = 1, threads: int = 1) -> None:
    """Run `python -m MODULE ARGUMENTS` in every process of a job and wait for the end of all.

    Args:
        module: reads torchrun's environment (`init_distributed`).
        processes: of one node.
        nodes: nodes of the Slurm job that this process is in; 1 needs no Slurm.
        threads: CPU threads of a node.

    Raises:
        ValueError: several nodes, but this is no Slurm job of so many.
        subprocess.CalledProcessError: a process failed, or stopped early.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}",
                "--signals-to-handle=SIGINT,SIGQUIT", f"--shutdown-timeout={_SHUTDOWN_SECONDS}"]  # fmt: skip
    if nodes == 1:
        command, environment = [*torchrun, "--standalone"], dict(os.environ)
    else:
        hosts = slurm_hosts(nodes)
        meeting = f"{address_of(hosts[0])}:{_free_port()}"
        command = [*_srun(nodes, threads), *torchrun, f"--nnodes={nodes}", "--rdzv-backend=c10d",
                   f"--rdzv-endpoint={meeting}", f"--rdzv-id={uuid.uuid4().hex}"]  # fmt: skip
        environment = without_step(os.environ)
    command += ["-m", module, *arguments]
    child = subprocess.Popen(command, env=environment, process_group=0, preexec_fn=_below)
    try:
        # srun would take a signal as an order to kill its step, and Slurm signals the processes of all nodes itself
        with _passing_on(child) if nodes == 1 else _ignoring():
            code = child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    if code:
        raise subprocess.CalledProcessError(code, command)


def end_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC = ctypes.CDLL(None)


def slurm_hosts(nodes: int) -> list[str]:
    """Names of the nodes of the Slurm job that this process is in.

    Raises:
        ValueError: it is in none, or in one of another number of nodes.
    """
    job = os.environ.get("SLURM_JOB_ID")
    fix = "run with --profile slurm, or keep compute.gpus ≤ compute.gpus_per_node"
    if job is None:
        raise ValueError(f"the configuration asks for {nodes} nodes, but this job was not started by Slurm; {fix}")
    # the environment says the nodes of the step that this process is in, which is only on the first
    listed = _shown("job", job)["NodeList"]
    hosts = _scontrol("show", "hostnames", listed).split()
    if len(hosts) != nodes:
        raise ValueError(f"the configuration asks for {nodes} nodes, Slurm gave {len(hosts)} ({listed}); {fix}")
    return hosts


def address_of(host: str) -> str:
    """The host's name where it resolves, else the address by which Slurm reaches the node."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return _shown("node", host)["NodeAddr"]
    return host


def _scontrol(*words: str) -> str:
    return subprocess.run(["scontrol", *words], capture_output=True, text=True, check=True).stdout


def _shown(kind: str, name: str) -> dict[str, str]:
    """Fields by which Slurm describes a job or a node."""
    fields = _scontrol("--oneliner", "show", kind, name).split()
    return dict(field.split("=", 1) for field in fields if "=" in field)


def without_step(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the sizes of the step that this process is in."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(("SLURM_", "SRUN_", "SBATCH_"))
    }


def _srun(nodes: int, threads: int) -> list[str]:
    return ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1",
            f"--cpus-per-task={threads}", "--cpu-bind=none", "--kill-on-bad-exit=1", "--export=ALL"]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _below() -> None:
    """In the child, before it becomes torchrun or srun."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


@contextlib.contextmanager
def _passing_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    asked = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        if not asked:
            asked = True
            child.send_signal(signal.SIGQUIT)

    before = {number: signal.signal(number, ask) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ignoring() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
