"""Training stages: optimiser, schedule, data mix and view sampling. One loop serves all of them."""

from typing import Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import Section


class ViewsConfig(Section):
    """How the views of a training sample are drawn (`two_frame`)."""

    inputs: tuple[int, ...] = (2,)
    """Numbers of input views, mixed evenly over steps."""
    targets: int = Field(6, ge=1)
    """Target views."""
    min_distance: int = Field(25, ge=1)
    """Least distance of the two end frames."""
    max_distance: int = Field(192, ge=1)
    """Largest distance of the two end frames; clipped to the clip."""
    shuffle: bool = True
    """Random direction of the end frames and random order of the frames between: removes the shortcut of
    reading a view's place off its number."""
    mirror: bool = False
    """Mirror a sample left to right at random."""
    flip: bool = False
    """Turn a sample upside down at random. Differs from the paper."""
    permute_colours: bool = False
    """Permute the colour channels of a sample at random. Differs from the paper."""

    @model_validator(mode="after")
    def _enough_frames(self) -> "ViewsConfig":
        if not self.inputs or min(self.inputs) < 2:
            raise ValueError(f"views.inputs = {list(self.inputs)}: a sample needs at least 2 input views")
        if self.max_distance < self.min_distance:
            raise ValueError(
                f"views.max_distance = {self.max_distance} is below views.min_distance = {self.min_distance}"
            )
        between = max(self.inputs) - 2 + self.targets
        if self.max_distance - 1 < between:
            raise ValueError(
                f"views.max_distance = {self.max_distance} leaves {self.max_distance - 1} frames between the ends, "
                f"but max(views.inputs) - 2 + views.targets = {between} distinct ones are needed; "
                "raise max_distance or lower targets"
            )
        return self


class CropPretextConfig(Section):
    """Warm-up of the pose head on two crops of one frame with known offset. Label-free; differs from the paper."""

    steps: int = Field(0, ge=0)
    """Optimiser steps with the pretext; 0 switches it off."""
    weight: float = Field(0.5, ge=0.0)
    """Weight of the pretext loss, fading to zero over the second half of its steps."""
    max_offset: float = Field(0.35, gt=0.0, lt=1.0)
    """Largest offset of a crop, as a share of half the frame."""
    zoom: float = Field(0.65, gt=0.0, lt=1.0)
    """Side of a crop as a share of the frame."""


class StageConfig(Section):
    """One training stage."""

    steps: int = Field(100_000, ge=1)
    """Optimiser steps."""
    batch: int = Field(64, ge=1)
    """Global batch in samples, whatever the number of processes."""
    micro_batch: int = Field(8, ge=1)
    """Most samples a process holds at once; accumulation follows from it and from the number of processes."""
    learning_rate: float = Field(4e-4, gt=0.0)
    """Peak learning rate of AdamW."""
    weight_decay: float = Field(0.05, ge=0.0)
    """Weight decay; parameters with one axis have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's β1 and β2."""
    warmup: int = Field(6_000, ge=0)
    """Linear warm-up in steps."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up."""
    final_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of the peak learning rate that `cosine` ends at."""
    clip: float = Field(1.0, gt=0.0)
    """Largest gradient norm."""
    skip_norm: float | None = Field(None, gt=0.0)
    """Skip the update when the gradient norm before clipping exceeds this; skips are counted."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Autocast arithmetic; weights and optimiser stay float32."""
    views: ViewsConfig = ViewsConfig()
    """View sampling on static clips."""
    dynamic_views: ViewsConfig | None = None
    """View sampling on dynamic clips; null uses `views`."""
    dynamic_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of samples from the dynamic set; in the paper half of those of distillation."""
    psnr_filter: float = 17.0
    """Dynamic views supervise the motion head only where the frozen rendering's PSNR (dB) exceeds this."""
    token_mask_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of input tokens masked on top of the predicted motion."""
    token_mask: Literal["clustered", "random"] = "clustered"
    """Masked tokens as rectangular blocks (paper) or one by one (ablation)."""
    paste_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of static samples that get pasted objects."""
    pseudo_masks: bool = True
    """Supervise the motion head with pseudo-masks on dynamic samples; false is the copy-paste-only ablation."""
    motion_gate: Literal["pseudo", "predicted", "none"] = "pseudo"
    """Which mask keeps moving pixels out of the photometric loss of dynamic samples; `none` is a control."""
    token_gate: bool = True
    """Replace moving input tokens by the noise token; false is a control."""
    motion_weight: float = Field(1.0, ge=0.0)
    """Weight λ of the motion head's cross-entropy."""
    crop_pretext: CropPretextConfig = CropPretextConfig()
    """Pose warm-up; off in the paper."""
    save_every: int = Field(1_000, ge=1)
    """Steps between resume states."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of the metrics file."""
    validate_every: int = Field(5_000, ge=1)
    """Steps between validations on held-out clips."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of the job; null takes `compute.threads`. Small models gain more from two jobs side by side."""
    workers: int = Field(0, ge=0)
    """Loader processes for each training process; 0 loads in the training process."""

    @model_validator(mode="after")
    def _same_views(self) -> "StageConfig":
        dynamic = self.dynamic_views
        if dynamic is not None and (dynamic.inputs, dynamic.targets) != (self.views.inputs, self.views.targets):
            raise ValueError(
                f"dynamic_views has inputs {list(dynamic.inputs)} and {dynamic.targets} targets, views has "
                f"{list(self.views.inputs)} and {self.views.targets}; a batch mixes both, make them the same"
            )
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> "StageConfig":
        if self.batch % min(self.micro_batch, self.batch):
            raise ValueError(
                f"batch = {self.batch} is no multiple of micro_batch = {self.micro_batch}; "
                "choose a micro-batch that divides the global batch"
            )
        return self


class PasteConfig(Section):
    """Copy-paste augmentation with COCO cut-outs (docs/method.md#copy-paste)."""

    min_objects: int = Field(1, ge=1)
    """Fewest objects pasted on a view."""
    max_objects: int = Field(2, ge=1)
    """Most objects pasted on a view."""
    min_area: float = Field(0.25, gt=0.0, lt=1.0)
    """Least share of the image covered by an object's box."""
    max_area: float = Field(0.35, gt=0.0, lt=1.0)
    """Largest share of the image covered by an object's box."""
    edge_sigma: float = Field(3.0, ge=0.0)
    """σ in pixels of the Gaussian that blends the edge; 0 pastes hard (release)."""
    margin: float = Field(0.15, ge=0.0, lt=0.5)
    """Share of the image's side kept free of object centres at each border."""
    per_view: float = Field(0.8, ge=0.0, le=1.0)
    """Share of samples with other objects in every view; the rest paste the same object in all views."""
    categories: tuple[str, ...] = ("animal", "vehicle", "person")
    """COCO supercategories to cut out."""

    @model_validator(mode="after")
    def _ordered(self) -> "PasteConfig":
        for low, high in (("min_objects", "max_objects"), ("min_area", "max_area")):
            if getattr(self, high) < getattr(self, low):
                raise ValueError(f"paste.{high} = {getattr(self, high)} is below paste.{low} = {getattr(self, low)}")
        return self


def control_stage(masked: StageConfig | None, joint: StageConfig) -> StageConfig:
    """The control: the renderer on the same data as long as masked and joint training, without masks.

    It has no motion head to run and takes as many threads as masked reconstruction, so that both can run side by side.
    """
    return joint.model_copy(
        update={
            "steps": joint.steps + (masked.steps if masked else 0),
            "threads": (masked or joint).threads,
            "motion_gate": "none",
            "token_gate": False,
            "paste_share": 0.0,
            "token_mask_share": 0.0,
        }
    )
