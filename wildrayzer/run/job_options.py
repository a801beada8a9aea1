"""What a job reads of the configuration.

Options that decide results travel as Snakemake params, so that a changed one makes the job run again. The other options
(`rounding`, `speed`, `observation`) are read from the configuration when the job runs; they never redo anything.
"""

from collections.abc import Mapping
from typing import Any

from wildrayzer.config import ModelConfig, RunConfig
from wildrayzer.config.base import Section
from wildrayzer.run.expected import expected_scores


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
