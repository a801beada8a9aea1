"""A forecast as text, and compared with the measured cost of a finished run."""

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
    "list_residuals": "residuals",
    "join_residuals": "residuals",  # of earlier versions, as join_masks
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
    "import_released": "scores",
    "write_report": "tables",
}
"""Stage of each rule's benchmark files; rules whose names begin with `score_` belong to `scores`."""


def cost_table(forecasts: Sequence[Forecast]) -> str:
    """Markdown table of jobs, GPUs, GPU-hours, core-hours, walltime and disk."""
    header = ("stage", "jobs", "GPUs per job", "GPU-hours", "core-hours", "walltime of a job", "PFLOP", "disk")
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
    rows.append(("total", str(jobs), "", f"{gpu:.1f}", f"{core:.2f}", "", "", size(disk)))
    return markdown(header, rows)


def assumptions(rates: Rates, origins: Mapping[str, str]) -> str:
    """The assumptions of a forecast, as a list; `origins` are those of the split sizes."""
    named = [f"{split}: {origin}" for split, origin in origins.items()]
    return "\n".join(f"- {line}" for line in [*rates.assumptions, *named])


@dataclass(frozen=True)
class MeasuredCost:
    """Measured cost of all jobs of a stage."""

    jobs: int = 0
    seconds: float = 0.0
    """Walltime."""
    core_seconds: float = 0.0
    """CPU time of the jobs' own processes."""

    def __add__(self, other: "MeasuredCost") -> "MeasuredCost":
        return MeasuredCost(
            self.jobs + other.jobs, self.seconds + other.seconds, self.core_seconds + other.core_seconds
        )


def measured(run: str | Path) -> dict[str, MeasuredCost]:
    """Measured cost of each stage of a finished run, from Snakemake's benchmark files; other rules by their own name.

    Raises:
        ValueError: the run has no benchmark files.
    """
    costs: dict[str, MeasuredCost] = {}
    for path in sorted(Path(run).glob("benchmarks/*/*.tsv")):
        rule = path.parent.name
        stage = "scores" if rule.startswith("score_") else RULES.get(rule, rule)
        with path.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        if rows:
            job = MeasuredCost(1, float(rows[0]["s"]), _number(rows[0]["cpu_time"]))
            costs[stage] = costs.get(stage, MeasuredCost()) + job
    if not costs:
        raise ValueError(f"{run}: no benchmark files of Snakemake in benchmarks/; name the folder of a finished run")
    return costs


def comparison(forecasts: Sequence[Forecast], run: str | Path) -> str:
    """Markdown table of forecast and measured cost: core-seconds of the jobs' own processes, or walltime of GPU
    jobs."""
    costs = measured(run)
    header = (
        "stage",
        "jobs forecast",
        "jobs run",
        "seconds of",
        "forecast",
        "measured",
        "forecast / measured",
        "walltime",
    )
    rows, sums = [], {"cores": [0.0, 0.0], "GPU jobs": [0.0, 0.0]}
    for one in forecasts:
        stage, kind = one.stage, "GPU jobs" if one.stage.gpus else "cores"
        expected = stage.jobs * one.job_seconds if stage.gpus else one.core_seconds
        cost = costs.pop(stage.name, None)
        if cost is None:
            rows.append((stage.name, str(stage.jobs), "0", kind, f"{expected:.0f}", "", "", ""))
            continue
        spent = cost.seconds if stage.gpus else cost.core_seconds
        sums[kind] = [sums[kind][0] + expected, sums[kind][1] + spent]
        rows.append((
            stage.name, str(stage.jobs), str(cost.jobs), kind, f"{expected:.0f}", f"{spent:.0f}",
            _ratio(expected, spent), duration(cost.seconds),
        ))  # fmt: skip
    for kind, (expected, spent) in sums.items():
        if spent:
            rows.append(("total", "", "", kind, f"{expected:.0f}", f"{spent:.0f}", _ratio(expected, spent), ""))
    others = [
        f"- not in the forecast: {name}, {one.jobs} job(s), {one.core_seconds:.0f} core-seconds"
        for name, one in costs.items()
    ]
    return "\n".join([markdown(header, rows), *others])


def _ratio(expected: float, spent: float) -> str:
    return f"{expected / spent:.2f}" if spent else ""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as text."""
    sides = ("left", *["right"] * (len(header) - 1))
    return tabulate(rows, headers=header, tablefmt="pipe", disable_numparse=True, colalign=sides)


def _number(text: str) -> float:
    """A number; 0 for the NA or - that Snakemake writes for jobs that were too short to measure."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def duration(seconds: float) -> str:
    """A time as text."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(count: float) -> str:
    """Bytes as text, in powers of ten."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
