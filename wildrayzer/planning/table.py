"""A plan as text, and beside what a finished run took."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from wildrayzer.planning.forecast import Forecast, Rates

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
    lines = [
        "| stage | jobs | GPUs a job | GPU-hours | core-hours | walltime of a job | PFLOP | disk |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in forecasts:
        stage = one.stage
        operations = sum(stage.operations.values())
        lines.append(
            f"| {stage.name} | {stage.jobs} | {stage.gpus or ''} | {f'{one.gpu_hours:.1f}' if stage.gpus else ''} | "
            f"{one.core_seconds / 3600:.2f} | {duration(one.job_seconds)} | "
            f"{f'{operations / 1e15:.3g}' if operations else ''} | {size(stage.disk)} |"
        )
    gpu, core = (sum(values) for values in zip(*((f.gpu_hours, f.core_seconds / 3600) for f in forecasts), strict=True))
    disk = sum(one.stage.disk for one in forecasts)
    jobs = sum(one.stage.jobs for one in forecasts)
    lines.append(f"| together | {jobs} | | {gpu:.1f} | {core:.2f} | | | {size(disk)} |")
    return "\n".join(lines)


def assumptions(rates: Rates, origins: Mapping[str, str]) -> str:
    """The list of what a plan rests on."""
    named = [f"{split}: {origin}" for split, origin in origins.items()]
    return "\n".join(f"- {line}" for line in [*rates.assumptions, *named])


def measured(run: str | Path) -> dict[str, tuple[int, float, float]]:
    """Jobs, summed walltime and core-seconds of each stage of a finished run, from Snakemake's benchmark files.

    Raises:
        ValueError: the run has no benchmark files.
    """
    found: dict[str, tuple[int, float, float]] = {}
    for path in sorted(Path(run).glob("benchmarks/*/*.tsv")):
        rule = path.parent.name
        stage = "scores" if rule.startswith("score_") else RULES.get(rule)
        with path.open() as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        if stage is None or not rows:
            continue
        jobs, seconds, cores = found.get(stage, (0, 0.0, 0.0))
        found[stage] = (jobs + 1, seconds + float(rows[0]["s"]), cores + _number(rows[0]["cpu_time"]))
    if not found:
        raise ValueError(f"{run}: no Snakemake benchmark files in benchmarks/; name the folder of a finished run")
    return found


def comparison(forecasts: Sequence[Forecast], run: str | Path) -> str:
    """Markdown table of core-seconds, predicted and taken: those of a job's own processes, whatever ran beside it."""
    taken = measured(run)
    lines = [
        "| stage | jobs, planned | taken | core-seconds, planned | taken | planned / taken | walltime, taken |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    planned = spent = 0.0
    for one in forecasts:
        if one.stage.name not in taken:
            lines.append(f"| {one.stage.name} | {one.stage.jobs} | | {one.core_seconds:.0f} | | | |")
            continue
        jobs, seconds, cores = taken[one.stage.name]
        planned, spent = planned + one.core_seconds, spent + cores
        ratio = f"{one.core_seconds / cores:.2f}" if cores else ""
        lines.append(
            f"| {one.stage.name} | {one.stage.jobs} | {jobs} | {one.core_seconds:.0f} | {cores:.0f} | "
            f"{ratio} | {duration(seconds)} |"
        )
    ratio = f"{planned / spent:.2f}" if spent else ""
    lines.append(f"| together | | | {planned:.0f} | {spent:.0f} | {ratio} | |")
    return "\n".join(lines)


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
