"""Resources of a Slurm cluster, and jobs of a run that it can never schedule; checked before any job is submitted.

Slurm accepts many jobs that can never start, such as jobs over a partition's walltime, and lets them wait for ever.
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
    """Equal nodes of a partition."""

    count: int
    cpus: int
    memory_mb: int
    gpus: Mapping[str, int]
    """GPUs of a node by model; the empty string is a model without a name."""
    features: frozenset[str]

    def gpus_of(self, model: str | None) -> int:
        """Number of GPUs of one model; of all models for None."""
        return sum(self.gpus.values()) if model is None else self.gpus.get(model, 0)


@dataclass(frozen=True)
class Partition:
    """A partition's nodes and its longest walltime in minutes."""

    name: str
    is_default: bool
    max_minutes: float
    groups: tuple[NodeGroup, ...]


@dataclass(frozen=True)
class JobRequest:
    """Resources that a job requests."""

    job: str
    partition: str | None
    nodes: int
    gpus_per_node: int
    gpu_model: str | None
    cpus: int
    """CPUs per node."""
    memory_mb: int
    """Memory per node."""
    minutes: float
    feature: str | None = None
    """Node feature; None also for an expression of several features, which is left to Slurm."""

    @classmethod
    def of_job(cls, job: str, resources: Mapping[str, object], *, threads: int) -> "JobRequest":
        """The request of a Snakemake job, from its resources as the Slurm executor reads them."""
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
    """Partitions of the cluster by name, from `sinfo`.

    Raises:
        ValueError: there is no `sinfo`, or the controller does not answer.
    """
    command = ["sinfo", "--noheader", "--exact", f"--format={_FIELDS}"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise ValueError(
            f"sinfo does not answer ({str(reason).strip()}); start Snakemake on a login node of the cluster, or drop "
            "--profile slurm to run on this machine"
        ) from None
    return parse_partitions(output)


def parse_partitions(output: str) -> dict[str, Partition]:
    """Partitions by name, from the output of `sinfo --noheader --exact --format="%P|%D|%c|%m|%G|%f|%l"`."""
    partitions: dict[str, Partition] = {}
    for line in filter(None, output.splitlines()):
        label, count, cpus, memory, gres, features, limit = (field.strip() for field in line.split("|"))
        name = label.rstrip("*")
        group = NodeGroup(
            count=int(count),
            cpus=int(cpus),
            memory_mb=int(memory.rstrip("+")),
            gpus=_parse_gres(gres),
            features=frozenset() if features == "(null)" else frozenset(features.split(",")),
        )
        before = partitions[name].groups if name in partitions else ()
        partitions[name] = Partition(name, label.endswith("*"), _minutes(limit), (*before, group))
    return partitions


def unschedulable(jobs: Iterable[JobRequest], partitions: Mapping[str, Partition]) -> list[str]:
    """Jobs that the cluster can never run: one line each with the option, the value and the fix, equal lines once."""
    return list(dict.fromkeys(line for job in jobs for line in _obstacles(job, partitions)))


def _obstacles(job: JobRequest, partitions: Mapping[str, Partition]) -> list[str]:
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
            f"{chosen.name}; lower it under set-resources in {PROFILE} (training resumes in the next submission)"
        ]
    return _node_obstacles(job, chosen)


def _node_obstacles(job: JobRequest, chosen: Partition) -> list[str]:
    groups = chosen.groups
    if job.feature:
        groups = tuple(group for group in groups if job.feature in group.features)
        if not groups:
            known = sorted({feature for group in chosen.groups for feature in group.features})
            return [f"{job.job}: no node of partition {chosen.name} has the feature {job.feature!r} ({known})"]
    kind = f"GPUs of model {job.gpu_model}" if job.gpu_model else "GPUs"
    # Each limit in turn: the largest node must have enough, and only nodes that do are kept for the next one.
    sizes = (
        (kind, "compute.gpus, compute.gpus_per_node and compute.gpu_model in the configuration",
         job.gpus_per_node, lambda group: group.gpus_of(job.gpu_model)),
        ("CPUs", "compute.threads in the configuration", job.cpus, lambda group: group.cpus),
        ("MB of memory", f"mem_mb under set-resources in {PROFILE}", job.memory_mb, lambda group: group.memory_mb),
    )  # fmt: skip
    for what, option, requested, available in sizes:
        best = max(map(available, groups), default=0)
        if requested > best:
            return [
                f"{job.job}: asks for {requested} {what} on one node, the nodes of partition {chosen.name} have at "
                f"most {best}; change {option}"
            ]
        groups = tuple(group for group in groups if available(group) >= requested)
    if job.nodes > sum(group.count for group in groups):
        return [f"{job.job}: asks for {job.nodes} nodes, partition {chosen.name} has fewer nodes that are large enough"]
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
