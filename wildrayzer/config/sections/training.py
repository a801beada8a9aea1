"""Options that training stages share, in small sections; `stages.py` composes them into one section per stage."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import PAPER, RELEASE, SUPPLEMENT_A, Observation, Paper, Rounding, Section, Speed
from wildrayzer.config.sections.views import ViewsConfig


class CropPretextConfig(Section):
    """Warm-up of the pose head on two crops of one frame with known offset. Label-free; differs from the paper."""

    affects = "result"

    steps: Annotated[int, Paper(PAPER)] = Field(0, ge=0)
    """Optimiser steps with the pretext, which shows two crops of one frame with known offset; 0 switches it off."""
    weight: float = Field(0.5, ge=0.0)
    """Weight of the pretext loss, fading to zero over the second half of its steps."""
    max_offset: float = Field(0.35, gt=0.0, lt=1.0)
    """Largest offset of a crop, as a share of half the frame."""
    zoom: float = Field(0.65, gt=0.0, lt=1.0)
    """Side of a crop as a share of the frame."""


class TrainingOptions(Section):
    """What every training stage reads: optimiser, schedule, views of static clips, logging and loading."""

    affects = "result"

    steps: int = Field(100_000, ge=1)
    """Optimiser steps."""
    batch: int = Field(64, ge=1)
    """Global batch in samples, whatever the number of processes."""
    micro_batch: Rounding[int] = Field(8, ge=1)
    """Most samples a process holds at once; accumulation follows from it and from the number of processes."""
    learning_rate: float = Field(4e-4, gt=0.0)
    """Peak learning rate of AdamW."""
    weight_decay: float = Field(0.05, ge=0.0)
    """Weight decay; parameters with one axis have none."""
    betas: Annotated[tuple[float, float], Paper(SUPPLEMENT_A)] = (0.9, 0.95)
    """AdamW's β1 and β2."""
    warmup: int = Field(6_000, ge=0)
    """Linear warm-up in steps."""
    schedule: Annotated[Literal["cosine", "constant"], Paper(RELEASE)] = "cosine"
    """Learning rate after the warm-up."""
    final_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of the peak learning rate that `cosine` ends at."""
    clip: Annotated[float, Paper(SUPPLEMENT_A, listed=False)] = Field(1.0, gt=0.0)
    """Largest gradient norm."""
    skip_norm: float | None = Field(None, gt=0.0)
    """Skip the update when the gradient norm before clipping exceeds this; skips are counted."""
    precision: Annotated[Literal["float32", "bfloat16"], Paper(SUPPLEMENT_A, listed=False)] = "bfloat16"
    """Autocast arithmetic; weights and optimiser stay float32."""
    views: ViewsConfig = ViewsConfig()
    """View sampling on static clips."""
    save_every: Observation[int] = Field(1_000, ge=1)
    """Steps between resume states."""
    log_every: Observation[int] = Field(50, ge=1)
    """Steps between lines of the metrics file."""
    validate_every: Observation[int] = Field(5_000, ge=1)
    """Steps between validations on held-out clips and health checks."""
    threads: Rounding[int | None] = Field(None, ge=1)
    """CPU threads of the job; null takes `compute.threads`. Small models gain more from two jobs side by side."""
    workers: Speed[int] = Field(0, ge=0)
    """Loader processes for each training process; 0 loads in the training process."""

    @model_validator(mode="after")
    def _batch_divides(self) -> "TrainingOptions":
        if self.batch % min(self.micro_batch, self.batch):
            raise ValueError(
                f"batch = {self.batch} is no multiple of micro_batch = {self.micro_batch}; "
                "choose a micro-batch that divides the global batch"
            )
        return self

    @model_validator(mode="after")
    def _curriculum_ends(self) -> "TrainingOptions":
        for name in ("views", "dynamic_views"):
            views = getattr(self, name, None)
            if views is not None and views.curriculum is not None and views.curriculum.steps > self.steps:
                raise ValueError(
                    f"{name}.curriculum.steps = {views.curriculum.steps} is more than steps = {self.steps}, so that "
                    "the views would never reach their final range; choose fewer"
                )
        return self


class PretextOptions(Section):
    """For stages that train the renderer: the pose head's warm-up."""

    affects = "result"

    crop_pretext: CropPretextConfig = CropPretextConfig()
    """Pose warm-up; off in the paper."""


class DynamicOptions(TrainingOptions):
    """For stages that draw dynamic clips beside static ones."""

    affects = "result"

    dynamic_views: ViewsConfig | None = None
    """View sampling on dynamic clips; null uses `views`."""
    dynamic_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of samples from the dynamic set; in the paper half of those of distillation."""

    @model_validator(mode="after")
    def _same_views(self) -> "DynamicOptions":
        dynamic = self.dynamic_views
        if dynamic is not None and (dynamic.inputs, dynamic.targets) != (self.views.inputs, self.views.targets):
            raise ValueError(
                f"dynamic_views has inputs {list(dynamic.inputs)} and {dynamic.targets} targets, views has "
                f"{list(self.views.inputs)} and {self.views.targets}; a batch mixes both, make them the same"
            )
        return self


class MotionOptions(Section):
    """For stages that train the motion head."""

    affects = "result"

    psnr_filter: Annotated[float, Paper(SUPPLEMENT_A, listed=False)] = 17.0
    """Dynamic views supervise the motion head only where the frozen rendering's PSNR (dB) exceeds this."""
    pseudo_masks: Annotated[bool, Paper(PAPER)] = True
    """Supervise the motion head with pseudo-masks on dynamic samples; false is the copy-paste-only ablation."""
    paste_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of static samples that get pasted objects."""
    motion_weight: Annotated[float, Paper(SUPPLEMENT_A)] = Field(1.0, ge=0.0)
    """Weight λ of the motion head's cross-entropy."""


class GatingOptions(Section):
    """For stages in which the motion head's prediction replaces input tokens of a trained renderer."""

    affects = "result"

    token_mask_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of input tokens masked on top of the predicted motion."""
    token_mask: Annotated[Literal["clustered", "random"], Paper(SUPPLEMENT_A)] = "clustered"
    """Masked tokens as rectangular blocks (paper) or one by one (ablation)."""
    motion_gate: Literal["pseudo", "predicted", "none"] = "pseudo"
    """Which mask keeps moving pixels out of the photometric loss of dynamic samples; `none` is a control."""
    token_gate: Annotated[bool, Paper(PAPER)] = True
    """Replace moving input tokens by the noise token; false is a control."""
