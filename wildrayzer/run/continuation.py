"""Training stages that a call continues from their newest state with more data: which ones, what is left to do, and why
not. The call names them with `--config continue=STAGE`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrayzer.config import RunConfig
from wildrayzer.run.redo import RepeatedJob, duration, repeated_jobs, stage_of

CONTINUED = ("distill", "masked", "joint", "unmasked")
"""Stages that can be continued. All masks follow from pretraining, which therefore cannot."""


@dataclass(frozen=True)
class ContinuedStage:
    """A training stage that is to run, and has a state to continue from."""

    name: str
    """One of `CONTINUED`, in an ablation with its name behind it."""
    done: int
    """Steps of the newest state."""
    steps: int
    """Steps of the stage in total."""
    finished: bool
    """Whether its outputs are there: a stage that was stopped may have done all of its steps."""
    changes: tuple[str, ...] = ()
    """Options that have changed since the stage finished, other than `steps`."""
    seconds: float = 0.0
    """How long the steps that are done took; 0 where that is not known."""


def continued_names(value: Any) -> frozenset[str]:
    """Stages that a call continues: those that `continue` names and all later ones.

    Args:
        value: a name, several with commas between, or a list of names; None continues none.

    Raises:
        ValueError: a name that is no stage which can be continued.
    """
    given = [] if value is None else value if isinstance(value, (list, tuple)) else str(value).split(",")
    names = [str(name).strip() for name in given]
    for name in names:
        if name not in CONTINUED:
            raise ValueError(f"--config continue={name}: no stage that can be continued; known: {', '.join(CONTINUED)}")
    return frozenset(CONTINUED[min((CONTINUED.index(name) for name in names), default=len(CONTINUED)) :])


def continued_stages(dag: Any, config: RunConfig, value: Any) -> list[ContinuedStage]:
    """Stages of Snakemake's graph that a call is about to continue; those without a state start from the beginning.

    Args:
        dag: Snakemake's graph of jobs, evaluated.
        config: of the run.
        value: see `continued_names`.
    """
    names = continued_names(value)
    before = {one.stage: one for one in repeated_jobs(dag)}
    found = []
    for job in dag.needrun_jobs() if names else ():
        stage, recipe = stage_of(job.rule.name), job.params.get("recipe")
        states = sorted(Path(job.params["state"]).glob("step-*.pt")) if recipe in names else []
        if not states:
            continue
        done, own = int(states[-1].stem.removeprefix("step-")), before.get(stage)
        section = config.stage(recipe)
        assert section is not None
        steps = job.params["options"]["stage"].get("steps", type(section).model_fields["steps"].default)
        changes = () if own is None else own.changes
        changes = tuple(one for one in changes if not one.startswith(f"{recipe}.steps:"))
        found.append(ContinuedStage(stage, done, steps, own is not None, changes, own.seconds if own else 0.0))
    return sorted(found, key=lambda one: CONTINUED.index(one.name.partition(" ")[0]))


def continuation_lines(stages: Iterable[ContinuedStage]) -> list[str]:
    """One line per stage: steps that are left, and about how long they take."""
    return [
        f"continued: {one.name} from step {one.done} to {one.steps}, with the parts of the data that are new"
        + (f" (about {duration(one.seconds * (one.steps - one.done) / one.done)})" if one.seconds and one.done else "")
        for one in stages
    ]


def continuation_faults(stages: Sequence[ContinuedStage], again: Iterable[RepeatedJob], *, rounds: int) -> list[str]:
    """Why a call must not continue stages, found before anything is deleted.

    Args:
        stages: to be continued.
        again: everything that is made again.
        rounds: of the run.
    """
    if not stages:
        return []
    faults = []
    if rounds > 1:
        faults.append(
            f"rounds is {rounds}: masks of later rounds follow from the renderer that is continued, so that all of "
            "them are made again; use `redo` instead of `continue`"
        )
    for stage in stages:
        if stage.changes:
            faults.append(
                f"{stage.name} cannot be continued: {'; '.join(stage.changes)}; take the change back, or leave it out "
                "of `continue` to train it again"
            )
        if stage.finished and stage.done >= stage.steps:
            name = stage.name.partition(" ")[0]
            option = "masked.steps or joint.steps" if name == "unmasked" else f"{name}.steps"
            faults.append(
                f"{stage.name} has done its {stage.steps} steps; raise {option}, which counts all steps, to train on "
                "with more data"
            )
    for job in again:
        if job.name == "pretrain" or (job.changes and job.name in ("residuals", "pseudo_masks", "refine")):
            cause = "; ".join(job.changes) or "it is made again"
            faults.append(
                f"{stages[0].name} cannot be continued: {job.stage} gives other masks of all clips ({cause}); take the "
                "change back, or use `redo` instead of `continue`"
            )
    return faults
