"""What a job reads of the configuration.

Options that decide results travel as Snakemake params, so that a changed one makes the job run again. The other options
(`rounding`, `speed`, `observation`) are read from the configuration when the job runs; they never redo anything.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from wildrayzer.config import ModelConfig, RunConfig
from wildrayzer.config.base import Effect, Section, effect_of
from wildrayzer.run.expected import expected_scores

S = TypeVar("S", bound=Section)
_MISSING = object()


def deciding_options(section: Section | None) -> dict[str, Any] | None:
    """The options of a section that decide results, as nested plain data, without those at their defaults.

    Defaults are left out so that a new option of a later version, which does by default what was done before, changes
    no params; a changed default needs a new stage version instead. None stays None.
    """
    return None if section is None else _chosen(section, _MISSING, {"result"})


def completed(options: Mapping[str, Any], section: S) -> S:
    """A section with the given deciding options; the other options are those of `section`.

    Deciding options that are not given take their defaults, whatever `section` says: a job reads no deciding option
    that is not among its params.

    Raises:
        pydantic.ValidationError: an option without default is not given.
    """
    other = _chosen(section, _MISSING, {"rounding", "speed", "observation"})
    return type(section).model_validate(_merged(other, options))


def _chosen(section: Section, default: Any, effects: set[Effect]) -> dict[str, Any]:
    plain = section.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        usual = getattr(default, name, _MISSING)
        if usual is _MISSING and not field.is_required():
            usual = field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            inner = _chosen(value, usual if type(usual) is type(value) else _MISSING, effects)
            # a section in place of None counts even where all of its options are at their defaults
            if inner or ("result" in effects and usual is None):
                chosen[name] = inner
        elif isinstance(value, dict) and any(isinstance(one, Section) for one in value.values()):
            chosen[name] = {key: _chosen(one, _MISSING, effects) for key, one in value.items()}
        elif effect_of(type(section), name) in effects and value != usual:
            chosen[name] = plain[name]
    return chosen


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, that of `other`."""
    merged = dict(one)
    for name, value in other.items():
        here = merged.get(name)
        merged[name] = _merged(here, value) if isinstance(here, Mapping) and isinstance(value, Mapping) else value
    return merged


def run_config(raw: Mapping[str, Any]) -> RunConfig:
    """The checked configuration of a job, with the changes of the ablation that it belongs to.

    Args:
        raw: `config` of the workflow or of an ablation's module.
    """
    _, scores = expected_scores(raw)
    return scores.config


def training_sections(config: RunConfig, recipe: str) -> dict[str, Section]:
    """The sections that a training stage reads, by the names under which a `TrainingJob` takes them."""
    stage = config.stage(recipe)
    if stage is None:
        raise ValueError(f"{recipe} is null in the configuration, so there is no job to train it")
    sections: dict[str, Section] = {"stage": stage, "model": config.model, "perceptual": config.perceptual}
    if recipe in ("distill", "masked", "joint"):
        sections["features"] = config.features
    if recipe == "joint" or stage.paste_share:
        sections["paste"] = config.paste
    if recipe in ("pretrain", "unmasked"):
        sections["model"] = ungated(config.model)
    return sections


def ungated(model: ModelConfig) -> ModelConfig:
    """The network without the threshold of the motion head's gate, for jobs that do not gate."""
    if model.motion_head is None:
        return model
    usual = type(model.motion_head).model_fields["threshold"].default
    return model.model_copy(update={"motion_head": model.motion_head.model_copy(update={"threshold": usual})})
