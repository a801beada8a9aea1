"""Which blocks of a training job are recomputed: as few as its memory for activations asks."""

import logging

from wildrayzer.config import StageConfig
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import Workload
from wildrayzer.models.cost.memory import checkpoint_every_within
from wildrayzer.models.transformer import set_checkpointing
from wildrayzer.training.objective import StageRecipe

logger = logging.getLogger(__name__)


def workload(recipe: StageRecipe, stage: StageConfig, *, batch: int, inputs: int | None = None) -> Workload:
    """What a pass of a stage over `batch` samples computes; `inputs` None takes the most that the stage mixes."""
    return Workload(
        batch=batch,
        inputs=max(stage.views.inputs) if inputs is None else inputs,
        targets=stage.views.targets,
        motion=recipe.uses_motion,
        gate_only=recipe.gates_only(stage),
        renders=recipe.trains_renderer,
        trains_renderer=recipe.trains_renderer,
        trains_motion=recipe.trains_motion,
    )


def fit_activations(
    model: WildRayZer, recipe: StageRecipe, stage: StageConfig, *, processes: int, budget: float
) -> int:
    """Set a model's checkpoint policy so that a micro-batch's activations fit `budget` bytes; returns the policy.

    Raises:
        ValueError: not even recomputing every block fits.
    """
    batch = min(stage.micro_batch, stage.batch // processes)
    every = checkpoint_every_within(
        model.config, workload(recipe, stage, batch=batch), budget=budget, precision=stage.precision
    )
    logger.info(
        "activations within %g GB: %s", budget / 1e9, f"recompute every n-th block, n = {every}" if every else "kept"
    )
    set_checkpointing(model, every)
    return every
