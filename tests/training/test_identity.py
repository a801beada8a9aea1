"""A training run is another one if, and only if, an option that decides its result is another."""

from pathlib import Path
from typing import Any

import pytest

from tests.workflow.test_reruns import other_values
from wildrayzer.config import load_config
from wildrayzer.config.base import Section, effect_of
from wildrayzer.config.walk import inner_section, options
from wildrayzer.training.job import TrainingJob, identity, rounding

CONFIG = load_config(Path(__file__).parents[1] / "resources" / "tiny.yaml")
JOB = TrainingJob(
    recipe="joint", seed=0, stage=CONFIG.stage("joint"), model=CONFIG.model, features=CONFIG.features,
    perceptual=CONFIG.perceptual, paste=CONFIG.paste, device="cpu", threads=1, processes=1, preload_mb=64,
    static_store="s", state="state", checkpoint="c", metrics="m",
)  # fmt: skip


def replaced(section: Section, path: list[str], value: Any) -> Section:
    """A section with another value of one option, unchecked."""
    name, *rest = path
    return section.model_copy(update={name: replaced(getattr(section, name), rest, value) if rest else value})


@pytest.mark.parametrize("name", ["stage", "model", "features", "perceptual", "paste"])
def test_the_identity_follows_the_effect_of_every_option(name):
    section, seen = getattr(JOB, name), set()
    for option in options(type(section)):
        *parents, last = option.path.split(".")
        holder = section
        for parent in parents:
            holder = holder and getattr(holder, parent)
        if holder is None or inner_section(option.field.annotation)[0] is not None:
            continue
        value = getattr(holder, last)
        other = next(one for one in other_values(value, option.field.annotation) if one != value)
        job = JOB.model_copy(update={name: replaced(section, [*parents, last], other)})
        effect = effect_of(option.section, option.name)
        assert (identity(job, []) != identity(JOB, [])) == (effect == "result"), option.path
        if effect in ("speed", "observation"):
            assert rounding(job) == rounding(JOB), option.path
        seen.add(effect)
    assert "result" in seen


@pytest.mark.parametrize("change", [{"threads": 2}, {"processes": 2}, {"device": "cuda"}, {"compile": True}])
def test_processes_and_devices_are_for_the_record_only(change):
    job = JOB.model_copy(update=change)
    assert identity(job, []) == identity(JOB, [])
    assert rounding(job) != rounding(JOB)
