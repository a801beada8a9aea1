"""Watching a training run: where its metrics go, and what a healthy run shows by when. Changes no result."""

from typing import Literal

from pydantic import Field

from wildrayzer.config.base import Section


class HealthConfig(Section):
    """What a healthy stage shows from a stated step on; metrics that a stage does not measure are not judged."""

    affects = "observation"

    by: float | None = Field(0.5, gt=0.0, le=1.0)
    """Share of a stage's steps after which every validation judges its health; null never does."""
    stop: bool = False
    """Stop a stage that fails, before its state is saved; otherwise a failure is only logged as a warning."""
    above_nearest: float = 0.0
    """Least PSNR (dB) above copying the nearest input view; judged after the last step only, because healthy renderers
    pass this shortcut late."""
    above_mean: float = 1.0
    """Least PSNR (dB) above the target's mean colour."""
    pose_use: float = 0.1
    """Least PSNR (dB) lost when target poses are shuffled among targets; near 0 the renderer ignores its poses."""
    camera_spread: float = Field(1e-3, ge=0.0)
    """Least standard deviation of the predicted camera positions; near 0 all scenes get the same cameras."""
    masked_tokens: float = Field(0.9, ge=0.0, le=1.0)
    """Largest share of masked input tokens; above it little is left to render from."""
    past_filter: float = Field(0.05, ge=0.0, le=1.0)
    """Least share of the dynamic views whose rendering passes `psnr_filter`; below it the head has no labels."""
    calibration: float = Field(0.2, ge=0.0, le=1.0)
    """Largest difference of the motion head's mean probability and the mean label."""


class WatchConfig(Section):
    """Where training metrics go beside `metrics.jsonl`, which is always written. A change reruns no finished job."""

    affects = "observation"

    tensorboard: bool = False
    """Write TensorBoard events to results/NAME/state/STAGE/tensorboard; needs the package tensorboard."""
    wandb: Literal["offline", "online"] | None = None
    """Weights & Biases, or null for none; needs the package wandb. `offline` writes to results/NAME/state/STAGE/wandb
    and needs neither key nor network; `wandb sync DIR` uploads each run in it later, and the error reports of
    W&B are turned off. `online` needs WANDB_API_KEY."""
    wandb_project: str = "wildrayzer"
    """Project of the Weights & Biases runs."""
    health: HealthConfig = HealthConfig()
    """Health checks."""
