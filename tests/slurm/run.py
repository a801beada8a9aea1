"""The small workflow on the loopback cluster: how tests and the fault table call Snakemake."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.slurm.loopback import LoopbackCluster

ROOT = Path(__file__).parents[2]
TINY, TWO_NODES = (str(ROOT / "tests" / "resources" / name) for name in ("tiny.yaml", "cluster.yaml"))
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10",
         "--max-status-checks-per-second", "1"]  # fmt: skip
"""The profile's waits are those of a real cluster."""


def command(
    folder: Path, *arguments: str, cluster: LoopbackCluster | None = None, configs: Sequence[str] = (TINY, TWO_NODES)
) -> list[str]:
    """A call of Snakemake in `folder`: with the profile of the repository, or on this machine without a cluster."""
    where = ["--profile", str(ROOT / "slurm"), *QUICK] if cluster else ["--cores", "2", "--rerun-incomplete"]
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [*base, *where, "--configfile", *configs, "--quiet", "rules", *arguments]


def environment(cluster: LoopbackCluster | None = None) -> dict[str, str]:
    """Environment of such a call: one thread a process."""
    base = cluster.environment if cluster else dict(os.environ)
    # the package of this checkout, wherever the environment has installed it from
    return {**base, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}


def snakemake(
    folder: Path,
    *arguments: str,
    cluster: LoopbackCluster | None = None,
    configs: Sequence[str] = (TINY, TWO_NODES),
    check: bool = True,
    timeout: float = 2400,
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake to its end; output and errors are in `stdout`.

    Raises:
        RuntimeError: it failed and `check` is set; with the end of its output.
    """
    words = command(folder, *arguments, cluster=cluster, configs=configs)
    result = subprocess.run(
        words, cwd=ROOT, env=environment(cluster), timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if check and result.returncode:
        raise RuntimeError(result.stdout[-6000:])
    return result
