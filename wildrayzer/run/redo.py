"""What a call of the workflow would make again although it is finished, because of which options, and at what cost.

Every job records its params beside its log when it ends. Compared with the params of the next call, the record says
which options have changed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from wildrayzer.config import RunConfig
from wildrayzer.config.base import effect_of
from wildrayzer.config.walk import options
from wildrayzer.io.files import write_json
from wildrayzer.io.validated import read_validated

STAGES = (
    "frames", "pretrain", "residuals", "pseudo_masks", "refine", "distill", "masked", "joint", "unmasked", "scores",
    "benchmark_tables", "report",
)  # fmt: skip
"""Names that `redo=` takes, in the order of the workflow."""

_RULES = {
    "make_embedded": "frames", "make_cutouts": "frames", "prepare_split": "frames", "plan_windows": "frames",
    "train_pretrain": "pretrain", "adopt_pretrained": "pretrain",
    "residual_part": "residuals", "list_residuals": "residuals",
    "calibrate_threshold": "pseudo_masks", "vote_masks": "pseudo_masks",
    "refine_masks": "refine", "refine_part": "refine",
    "train_distill": "distill", "train_masked": "masked", "train_joint": "joint", "train_unmasked": "unmasked",
    "score_views": "scores", "score_masks": "scores", "score_input_masks": "scores", "score_renderer": "scores",
    "import_released": "scores", "write_index": "scores", "write_tables": "benchmark_tables", "write_report": "report",
}  # fmt: skip
"""Stage of every rule that computes something."""

LONG_SECONDS = 3600.0
"""A finished stage that took longer is made again only where the call names it."""


@dataclass(frozen=True)
class RepeatedJob:
    """A finished job that is to run again."""

    stage: str
    """One of `STAGES`, in an ablation with its name behind it."""
    changes: tuple[str, ...]
    """Options that have changed since the job finished, such as `pretrain.steps: 6 → 8`."""
    seconds: float
    """How long the job took; 0 where that is not known."""
    forced: bool
    """Whether the call names the job, as `--forcerun` does."""

    @property
    def name(self) -> str:
        """Stage without the ablation."""
        return self.stage.partition(" ")[0]


def record_job(log: str | Path, params: Mapping[str, Any], outputs: Iterable[str]) -> None:
    """Record the params of a job that has finished, and the size of its outputs, beside its log."""
    write_json(_record(log), {"params": dict(params), "outputs": {path: _extent(path) for path in outputs}})


def damaged_outputs(folder: str | Path) -> list[str]:
    """Outputs below a run's folder that are not as large as when their jobs finished, one line each.

    Outputs that are gone as a whole are not named: their jobs run again when something needs them.
    """
    lines = []
    for file in sorted(Path(folder).glob("**/logs/**/*.params.json")):
        for path, extent in _read(file)["outputs"].items():
            if Path(path).exists() and _extent(path) != extent:
                lines.append(
                    f"{path} has {_shown(_extent(path))}, but {_shown(extent)} when its job finished: it was copied in "
                    "part or changed; copy it again, or delete it and have it made again"
                )
    return lines


def repeated_jobs(dag: Any) -> list[RepeatedJob]:
    """Finished jobs that Snakemake is about to run again.

    Args:
        dag: Snakemake's graph of jobs, evaluated.
    """
    found = []
    for job in dag.needrun_jobs():
        _, rule = _split_rule(job.rule.name)
        if rule is None or not _finished(job):
            continue
        changes = changed_options(recorded_params(job), dict(job.params.items()), rule, job.wildcards_dict)
        found.append(
            RepeatedJob(stage_of(job.rule.name), tuple(changes), _seconds(job.benchmark), bool(dag.reason(job).forced))
        )
    return sorted(found, key=lambda one: STAGES.index(one.name))


@dataclass(frozen=True)
class FinishedJob:
    """A job of the workflow whose outputs are there."""

    log: str
    params: dict[str, Any]
    outputs: tuple[str, ...]
    differences: tuple[str, ...]
    """Where the record of the job differs from the configuration, or that it has none."""


def finished_jobs(dag: Any) -> list[FinishedJob]:
    """All finished jobs in Snakemake's graph, up to date or not."""
    found = []
    for job in dag.jobs:
        _, rule = _split_rule(job.rule.name)
        outputs = tuple(str(path) for path in job.output if Path(path).exists())
        if rule is None or not outputs:
            continue
        before, params = recorded_params(job), dict(job.params.items())
        missing = () if before is not None else (f"{outputs[0]}: its options were not recorded (earlier version)",)
        changes = changed_options(before, params, rule, job.wildcards_dict)
        found.append(FinishedJob(str(job.log[0]), params, outputs, (*missing, *changes)))
    return found


def allowed_stages(redo: Any) -> frozenset[str]:
    """Stages that a call may make again: those named by `redo` and all later ones, which follow from them.

    Args:
        redo: a name, several with commas between, or a list of names; None allows none.

    Raises:
        ValueError: a name that is no stage.
    """
    given = [] if redo is None else redo if isinstance(redo, (list, tuple)) else str(redo).split(",")
    names = [str(name).strip() for name in given]
    wrong = [name for name in names if name not in STAGES]
    if wrong:
        raise ValueError(f"--config redo={wrong[0]}: no stage of this name; known: {', '.join(STAGES)}")
    first = min((STAGES.index(name) for name in names), default=len(STAGES))
    return frozenset(STAGES[first:])


def refusals(jobs: Sequence[RepeatedJob], *, redo: Any) -> list[str]:
    """Why a call must not start: finished stages of more than an hour that it would make again and does not name."""
    forced = {job.name for job in jobs if job.forced}
    allowed = allowed_stages(redo) | allowed_stages(sorted(forced))
    totals = _by_stage(jobs)
    long = [stage for stage, own in totals.items() if sum(job.seconds for job in own) > LONG_SECONDS]
    refused = [stage for stage in long if stage.partition(" ")[0] not in allowed]
    if not refused:
        return []
    first = refused[0].partition(" ")[0]
    return [
        *report_lines(jobs),
        f"{', '.join(refused)} took more than an hour and would be made again; if that is meant, add `--config "
        f"redo={first}` (or to your other --config options), else take the change back; "
        "`wildrayzer run diff CONFIG` shows all of it. Where only data were added, `--config continue=STAGE` trains on",
    ]


def report_lines(jobs: Iterable[RepeatedJob]) -> list[str]:
    """One line per stage that is made again: jobs, time that they took, and the options that cause it."""
    lines = []
    for stage, own in _by_stage(jobs).items():
        seconds = sum(job.seconds for job in own)
        changes = list(dict.fromkeys(change for job in own for change in job.changes))
        shown = "; ".join(changes[:6]) + (f"; and {len(changes) - 6} more" if len(changes) > 6 else "")
        cause = shown or ("the call asks for it" if any(job.forced for job in own) else "follows from what precedes it")
        jobs_text = f"{len(own)} job{'s' if len(own) > 1 else ''}"
        lines.append(f"made again: {stage} ({jobs_text}, {duration(seconds)} when last run): {cause}")
    return lines


def changed_options(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], rule: str, wildcards: Mapping[str, str]
) -> list[str]:
    """Options whose value differs, as `name: before → now`; `default` stands for a value that is not recorded.

    Args:
        before: params that the job recorded, None where it recorded none.
        now: params of the job.
        rule: its rule.
        wildcards: of the job.
    """
    if before is None:
        return []
    old, new = _flat(before), _flat(json.loads(json.dumps(dict(now), default=str)))
    lines = []
    for name in {**old, **new}:
        option, was, value = _option(name, rule, wildcards), old.get(name, "default"), new.get(name, "default")
        if name in old and name not in new and option in _undeciding_options():
            lines.append(f"{option}: recorded as {was}, but this version says that it does not decide results")
        elif was != value:
            lines.append(f"{option}: {was} → {value}")
    return lines


@cache
def _undeciding_options() -> frozenset[str]:
    """Full names of all options that do not decide results."""
    return frozenset(one.path for one in options(RunConfig) if effect_of(one.section, one.name) != "result")


def recorded_params(job: Any) -> dict[str, Any] | None:
    """Params that a job of Snakemake recorded when it finished; None where it recorded none.

    Raises:
        ValueError: the record is damaged.
    """
    return recorded_at(job.log[0])


def recorded_at(log: str | Path) -> dict[str, Any] | None:
    """Params that the job with this log recorded, as `recorded_params`."""
    path = _record(log)
    return _read(path)["params"] if path.is_file() else None


def _option(name: str, rule: str, wildcards: Mapping[str, str]) -> str:
    """Full name of an option, from its place among the params of a rule."""
    first, _, rest = name.partition(".")
    sections = {
        "stage": rule.removeprefix("train_"),
        "embedded": "data.embedded",
        "store": "data.store",
        "split": f"data.splits.{wildcards.get('split', '')}",
    }
    if first in ("options", "config"):
        return _option(rest, rule, wildcards)
    if first == "version":
        return f"version of the stage {_RULES[rule]}"
    return f"{sections.get(first, first)}.{rest}" if rest else first


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            found.update(_flat(inner, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = inner
    return found


def _by_stage(jobs: Iterable[RepeatedJob]) -> dict[str, list[RepeatedJob]]:
    stages: dict[str, list[RepeatedJob]] = {}
    for job in jobs:
        stages.setdefault(job.stage, []).append(job)
    return stages


def _split_rule(name: str) -> tuple[str, str | None]:
    """An ablation's name, empty for the run itself, and the rule; None for a rule that computes nothing."""
    for rule in _RULES:
        if name == rule or name.endswith(f"_{rule}"):
            return name.removesuffix(rule).removesuffix("_"), rule
    return "", None


def stage_of(rule: str) -> str:
    """Stage of a rule, in an ablation with its name behind it; empty for a rule that computes nothing."""
    prefix, own = _split_rule(rule)
    return "" if own is None else _RULES[own] + (f" ({prefix})" if prefix else "")


def _finished(job: Any) -> bool:
    """Whether a job has finished before: its outputs are there, or its record where outputs are removed after use."""
    kept = [Path(path) for path in job.output if not getattr(path, "flags", {}).get("temp")]
    return all(path.exists() for path in kept) if kept else _record(job.log[0]).is_file()


def _record(log: str | Path) -> Path:
    return Path(log).with_suffix(".params.json")


class _JobRecord(BaseModel):
    """Parameters of a job, and number and bytes of the files of each output."""

    params: dict[str, Any]
    outputs: dict[str, list[int]]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """A job's record.

    Raises:
        ValueError: the file is damaged.
    """
    fix = "delete the file, the job's results can stay"
    return read_validated(path, _JobRecord, fix=fix).model_dump()


def _extent(path: str | Path) -> list[int]:
    """Number of files and bytes at a path, those of the parts that a manifest lists included.

    Hidden files, such as Snakemake's time stamps, do not count.
    """
    root = Path(path)
    files = [root, *(file for folder in _folders(root) for file in folder.rglob("*"))]
    sizes = [file.stat().st_size for file in files if file.is_file() and not file.name.startswith(".")]
    return [len(sizes), sum(sizes)]


class _Part(BaseModel):
    key: str


class _Parts(BaseModel):
    """What of a manifest names its parts; other JSON files have none."""

    parts: list[_Part] = Field(default_factory=list)


def _folders(path: Path) -> list[Path]:
    """The output itself, or the parts that it lists; other parts may lie beside those, of a run that was stopped."""
    beside = path.with_suffix("")
    if path.suffix != ".json" or not beside.is_dir():
        return [path]
    parts = read_validated(path, _Parts, fix="delete it and run the stage again").parts
    return [beside / f"{part.key}.zarr" for part in parts]


def _shown(extent: Sequence[int]) -> str:
    return f"{extent[0]} files of {extent[1]} bytes"


def _seconds(benchmark: str | None) -> float:
    """Run time in Snakemake's benchmark file of a job."""
    path = Path(benchmark or "")
    rows = path.read_text(encoding="utf-8").splitlines() if benchmark and path.is_file() else []
    try:
        return sum((float(row.split("\t")[0]) for row in rows[1:]), 0.0)
    except ValueError:
        return 0.0


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
