"""One section per training stage, with the options that this stage reads; the loop takes each as `StageConfig`."""

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

from wildrayzer.config.base import RELEASE, SUPPLEMENT_A, Paper
from wildrayzer.config.sections.training import (
    DynamicOptions,
    GatingOptions,
    MotionOptions,
    PretextOptions,
    TrainingOptions,
)

TrainingStage = Literal["pretrain", "distill", "masked", "joint"]
TRAINING_STAGES: tuple[str, ...] = get_args(TrainingStage)
"""Training stages with a section, in order; the control `unmasked` has none of its own."""


def _sizes(source: str, **values: int | float) -> dict[str, Paper]:
    return {name: Paper(source, value, listed=False) for name, value in values.items()}


class PretrainConfig(PretextOptions, TrainingOptions):
    """Stage 1: the static renderer learns from static clips."""

    paper: ClassVar[Mapping[str, Paper]] = _sizes(
        SUPPLEMENT_A, steps=100_000, batch=64, learning_rate=4e-4, weight_decay=0.05, warmup=6_000
    )


class DistillConfig(MotionOptions, DynamicOptions):
    """Stage 3: the motion head learns from the pseudo-masks; the renderer is frozen."""

    paper: ClassVar[Mapping[str, Paper]] = {
        **_sizes(SUPPLEMENT_A, batch=32, learning_rate=1e-4, weight_decay=0.01),
        **_sizes(RELEASE, steps=10_000, warmup=1_000),
        "dynamic_share": Paper(SUPPLEMENT_A, 0.5),
    }


class MaskedConfig(PretextOptions, GatingOptions, DynamicOptions):
    """Stage 4: the renderer learns to render from what the motion head leaves, with further tokens masked."""

    paper: ClassVar[Mapping[str, Paper]] = {
        "token_mask_share": Paper(SUPPLEMENT_A, 0.1),
        "motion_gate": Paper(SUPPLEMENT_A, "none"),
    }


class StageConfig(PretextOptions, GatingOptions, MotionOptions, DynamicOptions):
    """All options of a training job; those that a stage does not read have defaults that change nothing there."""


class JointConfig(StageConfig):
    """Stage 5: renderer and motion head learn together, with pasted objects."""

    paper: ClassVar[Mapping[str, Paper]] = {
        **_sizes(RELEASE, steps=20_000, learning_rate=2e-4),
        "paste_share": Paper(SUPPLEMENT_A, 0.5),
        "motion_gate": Paper(SUPPLEMENT_A, "pseudo"),
    }


def stage_options(section: TrainingOptions) -> StageConfig:
    """A stage's section as the training loop takes it."""
    return StageConfig(**dict(section))


def control_stage(masked: TrainingOptions | None, joint: StageConfig) -> StageConfig:
    """The control: the renderer on the same data as long as masked and joint training, without masks.

    It has no motion head to run and takes as many threads as masked reconstruction, so that both can run side by side.
    """
    return stage_options(joint).model_copy(
        update={
            "steps": joint.steps + (masked.steps if masked else 0),
            "threads": (masked or joint).threads,
            "motion_gate": "none",
            "token_gate": False,
            "paste_share": 0.0,
            "token_mask_share": 0.0,
        }
    )
