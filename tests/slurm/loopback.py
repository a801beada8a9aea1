"""A Slurm cluster on one machine: munge, a controller and two nodes with GPU GRES in a folder of its own.

It needs the Debian packages slurm-wlm and munge and no rights beyond those of the user. Ports are free ones, everything
it writes lies in the given folder, and its daemons end with the context, whatever happens in it. The GPUs are plain
files: Slurm counts and hands them out, nothing computes on them. The nodes are gpu1 and gpu2, which no resolver knows.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wildrayzer.training.launch import end_with_parent

PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "sinfo", "sbatch", "srun", "squeue")
NODES = ("gpu1", "gpu2")
GPUS_PER_NODE = 2
MARK = "LOOPBACK_CLUSTER"
"""Environment variable by which this cluster's processes are told."""
CONFIG = """\
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
PropagatePrioProcess=0
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout={node_timeout}
SlurmctldTimeout=10
KillWait=5
InactiveLimit=0
MinJobAge=600
{nodes}
PartitionName=gpu Nodes=gpu[1-2] Default=YES MaxTime=3-00:00:00 PriorityTier=1
PartitionName=short Nodes=gpu[1-2] MaxTime=00:30:00 PriorityTier=1
PartitionName=urgent Nodes=gpu[1-2] MaxTime=3-00:00:00 PriorityTier=10 PreemptMode=OFF
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=64000 Gres={gres}"


def missing() -> str | None:
    """Why there can be no cluster here, or None."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    return f"no {', '.join(absent)}: apt-get install slurm-wlm munge" if absent else None


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until the condition holds.

    Raises:
        TimeoutError: naming `what` did not happen in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.1)


class LoopbackCluster:
    """The running cluster.

    Args:
        folder: for its files; its path must be shorter than 80 characters, because munge's socket lies in it.
        node_timeout: seconds until the controller gives a silent node up.
        cpus: cores that each node hands out.
    """

    def __init__(self, folder: Path, *, node_timeout: int = 10, cpus: int = 8) -> None:
        self.folder = folder
        self.ports = dict(zip(("controller", *NODES), _free_ports(1 + len(NODES)), strict=True))
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._write_config(node_timeout, cpus)
        self._write_wrappers()

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which Slurm's commands, and thus Snakemake, talk to this cluster."""
        path = f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin"
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), MARK: str(self.folder), "PATH": path}

    def _write_wrappers(self) -> None:
        """Commands that find this cluster by themselves: Snakemake takes SLURM_CONF from its jobs' environment."""
        (self.folder / "bin").mkdir()
        for name in ("srun", "scontrol"):
            wrapper = self.folder / "bin" / name
            wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_program(name)} "$@"\n')
            wrapper.chmod(0o755)

    def _write_config(self, node_timeout: int, cpus: int) -> None:
        host = socket.gethostname().split(".")[0]
        for name in ("controller", *NODES):
            (self.folder / name).mkdir(parents=True)
        shared = {"host": host, "gres": f"gpu:h100:{GPUS_PER_NODE}", "cpus": cpus}
        nodes = [NODE.format(name=name, port=self.ports[name], **shared) for name in NODES]
        values = {"folder": self.folder, "user": pwd.getpwuid(os.getuid()).pw_name, "nodes": "\n".join(nodes)}
        text = CONFIG.format(controller=self.ports["controller"], node_timeout=node_timeout, **values)
        (self.folder / "slurm.conf").write_text(text)
        lines = []
        for name in NODES:
            for number in range(GPUS_PER_NODE):
                device = self.folder / f"{name}-gpu{number}"
                device.touch()
                lines.append(f"NodeName={name} Name=gpu Type=h100 File={device}\n")
        (self.folder / "gres.conf").write_text("".join(lines))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)

    def start(self, name: str) -> None:
        """Start a daemon: munged, controller, or a node by its name."""
        folder = self.folder
        if name == "munged":
            files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid",
                     "log-file": "munged.log", "seed-file": "munged.seed"}  # fmt: skip
            command = ["munged", "--foreground", "--force", "--num-threads=2"]
            command += [f"--{option}={folder / file}" for option, file in files.items()]
        elif name == "controller":
            command = ["slurmctld", "-D", "-f", str(folder / "slurm.conf")]
        else:
            command = ["slurmd", "-D", "-N", name, "-f", str(folder / "slurm.conf")]
        command[0] = _program(command[0]) or command[0]
        with (folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment, start_new_session=True,
                preexec_fn=end_with_parent,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """SIGKILL a daemon, as a crash does; job steps of a node are processes of their own and live on."""
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def lose(self, node: str) -> None:
        """A node dies: its daemon and everything that runs on it."""
        self.kill(node)
        for pid in self.processes_of(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes_of(self, node: str | None = None) -> list[int]:
        """Processes of this cluster's jobs, on one node or all; told by the environment that Slurm gives them."""
        mine = f"\0{MARK}={self.folder}\0".encode()
        daemons = {daemon.pid for daemon in self.daemons.values()}
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            try:
                variables = b"\0" + (entry / "environ").read_bytes() + b"\0"
                arguments = (entry / "cmdline").read_bytes()
            except OSError:  # ended meanwhile, or another user's
                continue
            if pid in daemons or mine not in variables:
                continue
            is_step = b"slurmstepd" in arguments
            if (is_step and (node is None or f"SLURMD_NODENAME={node}".encode() in variables)) or (
                b"\0SLURM_JOB_ID=" in variables
                and (node is None or f"\0SLURMD_NODENAME={node}\0".encode() in variables)
            ):
                found.append(pid)
        return found

    def command(self, *words: str, check: bool = True) -> str:
        """Output of one of Slurm's commands."""
        result = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(words)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def node_states(self) -> dict[str, str]:
        """State of every node as sinfo says it; empty while the controller does not answer."""
        said = self.command("sinfo", "--Node", "--noheader", "--partition=gpu", "--format=%N %T", check=False)
        return dict(line.split() for line in said.splitlines())

    def jobs(self) -> dict[int, str]:
        """State of every job that the controller remembers."""
        said = self.command("squeue", "--states=all", "--noheader", "--format=%i %T", check=False)
        return {int(number): state for number, state in (line.split() for line in said.splitlines())}

    def wait_until_idle(self, *, seconds: float = 40.0) -> None:
        """Block until every node can take jobs."""
        wait_for(
            lambda: self.node_states() == dict.fromkeys(NODES, "idle"), seconds=seconds, what="a start of all nodes"
        )

    def stop(self) -> None:
        """End all jobs and daemons."""
        for name in (*NODES, "controller", "munged"):
            daemon = self.daemons.pop(name, None)
            if daemon is not None and daemon.poll() is None:
                daemon.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(timeout=3)
                daemon.kill()
                daemon.wait()
        for pid in self.processes_of():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def describe(self) -> str:
        """Last lines of every daemon's log, for the message of a failed start."""
        logs = sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-8:]) for log in logs)


@contextlib.contextmanager
def loopback_cluster(folder: Path, *, node_timeout: int = 10, cpus: int = 8) -> Iterator[LoopbackCluster]:
    """Start the cluster in an empty folder, yield it when its nodes are idle, and end it in any case.

    Raises:
        RuntimeError: a daemon did not come up; with the ends of the logs.
    """
    cluster = LoopbackCluster(folder, node_timeout=node_timeout, cpus=cpus)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the block below ends the cluster
    try:
        cluster.start("munged")
        wait_for((folder / "munge.socket").exists, seconds=10, what="munge's socket")
        for name in ("controller", *NODES):
            cluster.start(name)
        try:
            cluster.wait_until_idle()
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n{cluster.describe()}") from None
        yield cluster
    finally:
        cluster.stop()
