"""A plan as text, and beside what a finished run took."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from wildrayzer.tools.planning.forecast import Forecast, Rates

RULES = {
    "fetch": "sources",
    "make_embedded": "sources",
    "make_cutouts": "sources",
    "prepare_split": "frames",
    "plan_windows": "frames",
    "pretrain": "pretrain",
    "adopt_pretrained": "pretrain",
    "residual_part": "residuals",
    "join_residuals": "residuals",
    "calibrate_threshold": "pseudo_masks",
    "vote_masks": "pseudo_masks",
    "refine_masks": "refine",
    "refine_part": "refine",
    "join_masks": "refine",
    "distill": "distill",
    "masked": "masked",
    "joint": "joint",
    "unmasked": "unmasked",
    "write_tables": "tables",
    "write_index": "tables",
    "write_report": "tables",
}
"""Stage of a rule's benchmark files; rules that begin with `score_` belong to `scores`."""


def plan_table(forecasts: Sequence[Forecast]) -> str:
    """Markdown table of jobs, GPUs, GPU-hours, core-hours, walltime and disk."""
    header = ("stage", "jobs", "GPUs a job", "GPU-hours", "core-hours", "walltime of a job", "PFLOP", "disk")
    rows = []
    for one in forecasts:
        stage = one.stage
        operations = sum(stage.operations.values())
        rows.append((
            stage.name, str(stage.jobs), str(stage.gpus or ""), f"{one.gpu_hours:.1f}" if stage.gpus else "",
            f"{one.core_seconds / 3600:.2f}", duration(one.job_seconds),
            f"{operations / 1e15:.3g}" if operations else "", size(stage.disk),
        ))  # fmt: skip
    gpu, core = (sum(values) for values in zip(*((f.gpu_hours, f.core_seconds / 3600) for f in forecasts), strict=True))
    disk = sum(one.stage.disk for one in forecasts)
    jobs = sum(one.stage.jobs for one in forecasts)
    rows.append(("together", str(jobs), "", f"{gpu:.1f}", f"{core:.2f}", "", "", size(disk)))
    return _markdown(header, rows)


def assumptions(rates: Rates, origins: Mapping[str, str]) -> str:
    """The list of what a plan rests on."""
    named = [f"{split}: {origin}" for split, origin in origins.items()]
    return "\n".join(f"- {line}" for line in [*rates.assumptions, *named])


@dataclass(frozen=True)
class Taken:
    """What the jobs of a stage took together."""

    jobs: int = 0
    seconds: float = 0.0
    """Walltime."""
    core_seconds: float = 0.0
    """CPU time of their processes, whatever ran beside them."""

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.jobs + other.jobs, self.seconds + other.seconds, self.core_seconds + other.core_seconds)


def measured(run: str | Path) -> dict[str, Taken]:
    """What each stage of a finished run took, from Snakemake's benchmark files; rules of no stage by their own name.

    Raises:
        ValueError: the run has no benchmark files.
    """
    found: dict[str, Taken] = {}
    for path in sorted(Path(run).glob("benchmarks/*/*.tsv")):
        rule = path.parent.name
        stage = "scores" if rule.startswith("score_") else RULES.get(rule, rule)
        with path.open() as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        if rows:
            job = Taken(1, float(rows[0]["s"]), _number(rows[0]["cpu_time"]))
            found[stage] = found.get(stage, Taken()) + job
    if not found:
        raise ValueError(f"{run}: no Snakemake benchmark files in benchmarks/; name the folder of a finished run")
    return found


def comparison(forecasts: Sequence[Forecast], run: str | Path) -> str:
    """Markdown table of what was planned and what a finished run took: core-seconds, or on GPUs walltime.

    Core-seconds are those of a job's own processes, whatever ran beside it.
    """
    taken = measured(run)
    header = ("stage", "jobs planned", "jobs taken", "seconds of", "planned", "taken", "planned / taken", "walltime")
    rows, sums = [], {"cores": [0.0, 0.0], "GPU jobs": [0.0, 0.0]}
    for one in forecasts:
        stage, kind = one.stage, "GPU jobs" if one.stage.gpus else "cores"
        planned = stage.jobs * one.job_seconds if stage.gpus else one.core_seconds
        found = taken.pop(stage.name, None)
        if found is None:
            rows.append((stage.name, str(stage.jobs), "0", kind, f"{planned:.0f}", "", "", ""))
            continue
        spent = found.seconds if stage.gpus else found.core_seconds
        sums[kind] = [sums[kind][0] + planned, sums[kind][1] + spent]
        rows.append((
            stage.name, str(stage.jobs), str(found.jobs), kind, f"{planned:.0f}", f"{spent:.0f}",
            _ratio(planned, spent), duration(found.seconds),
        ))  # fmt: skip
    for kind, (planned, spent) in sums.items():
        if spent:
            rows.append(("together", "", "", kind, f"{planned:.0f}", f"{spent:.0f}", _ratio(planned, spent), ""))
    others = [
        f"- not planned: {name}, {one.jobs} job(s), {one.core_seconds:.0f} s of cores" for name, one in taken.items()
    ]
    return "\n".join([_markdown(header, rows), *others])


def _ratio(planned: float, spent: float) -> str:
    return f"{planned / spent:.2f}" if spent else ""


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as text."""
    sides = ("left", *["right"] * (len(header) - 1))
    return tabulate(rows, headers=header, tablefmt="pipe", disable_numparse=True, colalign=sides)


def _number(text: str) -> float:
    """Snakemake writes NA or - where a job was too short to be measured."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(count: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
