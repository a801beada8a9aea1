"""Whether the data that continued training stages have learned from stay.

This is looked at before any job starts, because Snakemake deletes the checkpoint of a stage before its job begins.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.pseudo_masks.cache.cache import PixelMasks, ResidualMaps
from wildrayzer.run.continuation import continued_names
from wildrayzer.run.redo import changed_options, recorded_params, stage_of
from wildrayzer.training.job import Origin
from wildrayzer.training.resume import recorded_origin

Planned = Callable[[Any], list[str | None]]
"""What `kept_parts` says of a preparation job of the graph."""


def continued_data_faults(dag: Any, config: RunConfig, value: Any, planned: Planned) -> list[str]:
    """Why stages cannot be continued with the data that they would find.

    Parts that a stage has learned from are gone, or this call would remove them or make them again. Or a manifest lists
    a part that is missing. Or the calibration clips change, and with the thresholds the masks of all clips. Other
    causes of new masks are options; `continuation_faults` names them.

    Args:
        dag: Snakemake's graph of jobs, evaluated.
        config: of the run.
        value: see `continued_names`.
        planned: says what a preparation job would find there already.
    """
    names = continued_names(value)
    jobs = list(dag.needrun_jobs()) if names else []
    makers = {str(path): job for job in jobs for path in job.output}
    faults = []
    for job in jobs:
        if job.params.get("recipe") not in names or not any(Path(job.params["state"]).glob("step-*.pt")):
            continue
        try:
            faults += _lost_data(job, makers, planned)
            if config.pseudo_masks.absolute_test != "off" and _input(job, "pixel_masks"):
                calibration = {job.wildcards_dict.get("split"): job for job in makers.values() if _prepares(job)}
                splits = [split for split in config.data.of(purpose="calibration") if split in calibration]
                changed = [split for split in splits if _changes(calibration[split], makers, planned)]
                faults += [_CALIBRATION.format(stage=stage_of(job.rule.name), split=split) for split in changed]
        except ValueError as error:
            faults.append(f"{stage_of(job.rule.name)} cannot be continued: {error}")
    return list(dict.fromkeys(faults))


_CALIBRATION = (
    "{stage} cannot be continued: the clips of {split} change, from which the thresholds are calibrated, and so the "
    "masks of all clips; take the change back, or use `redo` instead of `continue`"
)


def _lost_data(job: Any, makers: Mapping[str, Any], planned: Planned) -> list[str]:
    """One line for each source of a training job that lacks parts which the job has learned from."""
    name, before = stage_of(job.rule.name), recorded_origin(Path(job.params["state"]))
    readers: dict[str, tuple[str, type[FrameStore | ResidualMaps | PixelMasks]]] = {
        "static": ("static_store", FrameStore),
        "dynamic": ("dynamic_store", FrameStore),
        "residuals": ("residuals", ResidualMaps),
        "pixel_masks": ("pixel_masks", PixelMasks),
    }
    lines = []
    for source in before.parts:
        option, reader = readers[source]
        path = _input(job, option)
        if path is None:
            continue
        if path not in makers:
            lines.append(before.lost_parts(source, _keys(reader(path)), name=name))
        elif _prepares(makers[path]):
            lines.append(_lost_by_preparation(before, source, makers[path], makers, planned, name))
        # parts of residuals and masks that are still to be made follow from the frames
    return [line for line in lines if line]


def _keys(opened: FrameStore | ResidualMaps | PixelMasks) -> list[str]:
    if isinstance(opened, FrameStore):
        return [part.key for part in opened.parts]
    return [part.entry.key for part in opened.parts]


def _lost_by_preparation(
    before: Origin, source: str, job: Any, makers: Mapping[str, Any], planned: Planned, name: str
) -> str | None:
    """Why a preparation of this call would take parts from a stage; None where it does not."""
    raw = str(job.input.raw)
    if raw in makers:  # an embedded split: its clips are the same ones as long as only their number grows
        changes = _changed_params(makers[raw], growth=False)
        return f"{name} cannot be continued: {'; '.join(changes)}; take the change back" if changes else None
    lost = before.lost_parts(source, planned(job), name=name)
    return lost and (
        f"{lost}. It would be this call that does so, because clips in {raw} were removed or replaced; where only a "
        "file that several clips share has grown, run the target `frames` first"
    )


def _changes(job: Any, makers: Mapping[str, Any], planned: Planned) -> bool:
    """Whether a preparation changes its split."""
    if not Path(job.output.store).exists():
        return True
    if str(job.input.raw) in makers:
        return bool(_changed_params(makers[str(job.input.raw)]))
    return planned(job) != _keys(FrameStore(job.output.store))


def _prepares(job: Any) -> bool:
    return bool(job.rule.name == "prepare_split")


def _input(job: Any, name: str) -> str | None:
    """An input of a training job, which may be a list of none or one."""
    value = job.input.get(name)
    return value if value is None or isinstance(value, str) else next(iter(value), None)


def _changed_params(job: Any, *, growth: bool = True) -> list[str]:
    """Options of an embedded split that have changed; without `growth` those apart from more clips."""
    if job.rule.name != "make_embedded":
        return []
    before, now = recorded_params(job), dict(job.params.items())
    if before is not None and not growth:
        for name, split in now["embedded"]["splits"].items():
            old = before["embedded"]["splits"].get(name, split)
            old["scenes"] = max(old["scenes"], split["scenes"])
    return changed_options(before, now, job.rule.name, job.wildcards_dict)
