"""What a Slurm cluster can give, and which jobs of a run do not fit it: asked before anything is submitted.

Slurm itself takes many jobs that can never start, such as those over a partition's walltime, and lets them wait for
ever.
"""

import math
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PROFILE = "slurm/config.yaml"
_FIELDS = "%P|%D|%c|%m|%G|%f|%l"


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of a partition that are alike."""

    count: int
    cpus: int
    memory_mb: int
    gpus: Mapping[str, int]
    """GPUs of a node by model; an unnamed model is the empty string."""
    features: frozenset[str]

    def gpus_of(self, model: str | None) -> int:
        """GPUs of one model, or of any."""
        return sum(self.gpus.values()) if model is None else self.gpus.get(model, 0)


@dataclass(frozen=True)
class Partition:
    """A partition's nodes and its longest walltime in minutes."""

    name: str
    is_default: bool
    max_minutes: float
    groups: tuple[NodeGroup, ...]


@dataclass(frozen=True)
class Wanted:
    """What a job asks for."""

    job: str
    partition: str | None
    nodes: int
    gpus_per_node: int
    gpu_model: str | None
    cpus: int
    """CPUs of a node."""
    memory_mb: int
    """Memory of a node."""
    minutes: float
    feature: str | None = None
    """Node feature; an expression of several is left to Slurm."""

    @classmethod
    def of_job(cls, job: str, resources: Mapping[str, object], *, threads: int) -> "Wanted":
        """From a Snakemake job's resources, as the Slurm executor reads them."""
        nodes = int(str(resources.get("nodes") or 1))
        model, count = resources.get("gpu_model"), int(str(resources.get("gpu") or 0))
        per_node = math.ceil(count / nodes)
        for name, number in _parse_gres(str(resources.get("gres") or "")).items():
            model, per_node = name or None, number
        constraint = str(resources.get("constraint") or "")
        return cls(
            job=job,
            partition=str(resources["slurm_partition"]) if resources.get("slurm_partition") else None,
            nodes=nodes,
            gpus_per_node=per_node,
            gpu_model=str(model) if model and per_node else None,
            cpus=threads,
            memory_mb=int(str(resources.get("mem_mb") or 0)),
            minutes=float(str(resources.get("runtime") or 0)),
            feature=constraint if re.fullmatch(r"[\w.-]+", constraint) else None,
        )


def read_partitions() -> dict[str, Partition]:
    """The partitions of the cluster that `sinfo` knows.

    Raises:
        ValueError: there is no `sinfo`, or no controller answers it.
    """
    command = ["sinfo", "--noheader", "--exact", f"--format={_FIELDS}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise ValueError(
            f"sinfo does not answer ({str(reason).strip()}); start Snakemake on a login node of the cluster, or drop "
            "--profile slurm to run on this machine"
        ) from None
    return parse_partitions(said)


def parse_partitions(said: str) -> dict[str, Partition]:
    """Partitions from the lines of `sinfo --noheader --exact --format="%P|%D|%c|%m|%G|%f|%l"`."""
    found: dict[str, Partition] = {}
    for line in filter(None, said.splitlines()):
        label, count, cpus, memory, gres, features, limit = (field.strip() for field in line.split("|"))
        name = label.rstrip("*")
        group = NodeGroup(
            count=int(count),
            cpus=int(cpus),
            memory_mb=int(memory.rstrip("+")),
            gpus=_parse_gres(gres),
            features=frozenset() if features == "(null)" else frozenset(features.split(",")),
        )
        before = found[name].groups if name in found else ()
        found[name] = Partition(name, label.endswith("*"), _minutes(limit), (*before, group))
    return found


def misfits(jobs: Iterable[Wanted], partitions: Mapping[str, Partition]) -> list[str]:
    """One line for every kind of job that the cluster can never run, naming the option, the value and the fix."""
    lines = (line for job in jobs for line in _misfit(job, partitions))
    return list(dict.fromkeys(lines))


def _misfit(job: Wanted, partitions: Mapping[str, Partition]) -> list[str]:
    if job.partition is None:
        chosen = next((one for one in partitions.values() if one.is_default), None)
        if chosen is None:
            return [f"{job.job}: no slurm_partition is set and the cluster has no default; set one in {PROFILE}"]
    elif job.partition in partitions:
        chosen = partitions[job.partition]
    else:
        known = ", ".join(sorted(partitions))
        return [f"{job.job}: slurm_partition = {job.partition!r} is not on this cluster ({known}); edit {PROFILE}"]
    if job.minutes > chosen.max_minutes:
        return [
            f"{job.job}: runtime = {job.minutes:.0f} minutes is over the {chosen.max_minutes:.0f} of partition "
            f"{chosen.name}; lower it under set-resources in {PROFILE} (training goes on over several submissions)"
        ]
    return _no_node(job, chosen)


def _no_node(job: Wanted, chosen: Partition) -> list[str]:
    groups = chosen.groups
    if job.feature:
        groups = tuple(group for group in groups if job.feature in group.features)
        if not groups:
            known = sorted({feature for group in chosen.groups for feature in group.features})
            return [f"{job.job}: no node of partition {chosen.name} has the feature {job.feature!r} ({known})"]
    kind = f"GPUs of model {job.gpu_model}" if job.gpu_model else "GPUs"
    sizes = (
        (kind, "compute.gpus, compute.gpus_per_node and compute.gpu_model in the configuration",
         job.gpus_per_node, lambda group: group.gpus_of(job.gpu_model)),
        ("CPUs", "compute.threads in the configuration", job.cpus, lambda group: group.cpus),
        ("MB of memory", f"mem_mb under set-resources in {PROFILE}", job.memory_mb, lambda group: group.memory_mb),
    )  # fmt: skip
    for what, option, wanted, given in sizes:
        best = max(map(given, groups), default=0)
        if wanted > best:
            return [
                f"{job.job}: asks for {wanted} {what} of one node, the nodes of partition {chosen.name} have at most "
                f"{best}; change {option}"
            ]
        groups = tuple(group for group in groups if given(group) >= wanted)
    if job.nodes > sum(group.count for group in groups):
        return [f"{job.job}: asks for {job.nodes} nodes, partition {chosen.name} has fewer that are large enough"]
    return []


def _parse_gres(text: str) -> dict[str, int]:
    """GPUs by model from `gpu[:MODEL][:no_consume][:COUNT][(SOCKETS)],…`; a model may begin with a digit."""
    gpus: dict[str, int] = {}
    for entry in re.split(r",(?![^(]*\))", text):
        kind, *fields = entry.partition("(")[0].split(":")
        if kind != "gpu":
            continue
        count = int(fields.pop()) if fields and fields[-1].isdecimal() else 1
        model = fields[0] if fields and fields[0] != "no_consume" else ""
        gpus[model] = gpus.get(model, 0) + count
    return gpus


def _minutes(limit: str) -> float:
    """`infinite`, `MM:SS`, `HH:MM:SS` or `D-HH:MM:SS` to minutes."""
    if limit in ("infinite", "n/a"):
        return math.inf
    days, _, rest = limit.rpartition("-")
    hours, minutes, seconds = ([0, 0, 0] + [int(part) for part in rest.split(":")])[-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60
