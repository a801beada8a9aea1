"""Scoring, tables and report."""

from typing import Literal

from pydantic import Field

from wildrayzer.config.base import Section

Method = Literal["nearest", "blend", "static", "static_true_masks", "static_clean", "distilled", "joint",
                 "joint_true_masks", "joint_clean", "unmasked"]  # fmt: skip
MaskSource = Literal["renderer", "nearest", "blurred"]


class BenchmarkConfig(Section):
    """What is scored on what."""

    methods: tuple[Method, ...] = ("nearest", "blend", "static", "joint")
    """Rows of the view-synthesis tables. `nearest`, `blend`: image-only controls. `static`: pretrained renderer.
    `distilled`: the same with the motion head's masks. `joint`: the full method. `*_true_masks`, `*_clean`: bounds.
    `unmasked`: trained on the same data as long as `joint`, without masks."""
    inputs: tuple[int, ...] = (2, 3, 4)
    """Numbers of input views."""
    targets: int = Field(6, ge=1)
    """Target views."""
    min_distance: int = Field(8, ge=1)
    """Least distance of the end frames in an evaluation window drawn without an index file."""
    index: dict[str, str] = Field(default_factory=dict)
    """Frozen index file for a split: {scene: {"context": [...], "target": [...]} or null}."""
    mask_sources: tuple[MaskSource, ...] = ("renderer", "nearest")
    """What stands in for the rendering in the mask table: `nearest` copies the nearest input view and `blurred` blurs
    the target: controls that tell motion from texture."""
    mask_threshold: float = Field(0.5, gt=0.0, lt=1.0)
    """Threshold on the motion probability for IoU and recall."""
    lpips_weights: str | None = None
    """VGG-16 backbone file for LPIPS; null leaves LPIPS out, with the reason stated in the tables."""
    bootstrap: int = Field(1000, ge=100)
    """Bootstrap resamples over scenes for 95% intervals."""
    panels: int = Field(6, ge=0)
    """Scenes shown as pictures."""
    seed: int = 0
    """Seed of evaluation windows and bootstrap."""
