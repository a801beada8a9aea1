"""What a configuration's choices save in GPU-hours: the plan with each at the value that costs most."""

from collections.abc import Iterator
from typing import Any

from wildrayzer.config import RunConfig
from wildrayzer.tools.planning.forecast import Rates, forecast
from wildrayzer.tools.planning.jobs import planned_stages
from wildrayzer.tools.planning.split_sizes import SplitSize

COSTLIEST: dict[str, Any] = {
    "residuals.precision": "float32",
    "benchmark.precision": "float32",
    "benchmark.mask_splits": None,
}
"""Options of stages that train nothing, and the value of each that costs most."""


def saving_lines(config: RunConfig, sizes: dict[str, SplitSize], rates: Rates) -> Iterator[str]:
    """One line per option of `COSTLIEST` that the configuration sets to another value, then all of them together.

    Args:
        config: of a run on GPUs.
        sizes: of its splits.
        rates: of its GPUs.
    """
    now, changed = _gpu_hours(config, sizes, rates), {}
    for option, costliest in COSTLIEST.items():
        section, _, name = option.partition(".")
        value = getattr(getattr(config, section), name)
        if value != costliest:
            changed[option] = costliest
            shown = ", ".join(value) if isinstance(value, tuple) else value
            hours = _gpu_hours(_with(config, {option: costliest}), sizes, rates)
            yield f"- {option}: {shown} saves {hours - now:.1f} GPU-hours against {_text(costliest)}"
    if changed:
        without = _gpu_hours(_with(config, changed), sizes, rates)
        yield f"- without all of these: {without:.1f} GPU-hours; with them {now:.1f}"


def _text(value: Any) -> str:
    return "all test and control splits" if value is None else str(value)


def _with(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    for option, value in changes.items():
        section, _, name = option.partition(".")
        changed = getattr(config, section).model_copy(update={name: value})
        config = config.model_copy(update={section: changed})
    return config


def _gpu_hours(config: RunConfig, sizes: dict[str, SplitSize], rates: Rates) -> float:
    return sum(one.gpu_hours for one in forecast(planned_stages(config, sizes), rates))
