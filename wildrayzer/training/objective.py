"""The loss of a training step: one module for all stages, which differ in trained parts, gates and weights."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wildrayzer.config import StageConfig
from wildrayzer.losses import PerceptualLoss, gated_mse, motion_bce
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import Workload
from wildrayzer.models.cost.memory import checkpoint_every_within
from wildrayzer.models.motion_head import ConvolutionalHead
from wildrayzer.models.transformer import set_checkpointing
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.cross_residuals import cross_residuals_of
from wildrayzer.training.augmentation import crop_pretext_loss
from wildrayzer.training.batch import Batch
from wildrayzer.training.distributed import World

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageRecipe:
    """What a stage trains and how its losses are wired; sizes and rates are in its `StageConfig`."""

    name: str
    trains_renderer: bool
    trains_motion: bool
    gates_tokens: bool
    """Whether the motion head's prediction replaces input tokens."""

    @property
    def uses_motion(self) -> bool:
        """Whether the stage runs the motion head at all."""
        return self.trains_motion or self.gates_tokens

    def gates_only(self, stage: StageConfig) -> bool:
        """Whether the head does nothing but replace input tokens: it need not see the targets, nor take a gradient."""
        return self.gates_tokens and not self.trains_motion and stage.motion_gate != "predicted"


RECIPES = {
    "pretrain": StageRecipe("pretrain", trains_renderer=True, trains_motion=False, gates_tokens=False),
    "distill": StageRecipe("distill", trains_renderer=False, trains_motion=True, gates_tokens=False),
    "masked": StageRecipe("masked", trains_renderer=True, trains_motion=False, gates_tokens=True),
    "joint": StageRecipe("joint", trains_renderer=True, trains_motion=True, gates_tokens=True),
    "unmasked": StageRecipe("unmasked", trains_renderer=True, trains_motion=False, gates_tokens=False),
}


class Objective(nn.Module):
    """`(batch, step) -> (loss, metrics)`; the loss is a mean over samples, so that micro-batches add up.

    Args:
        model: trained in place; gradients reach only the parts that the recipe trains.
        recipe: the stage.
        stage: its options.
        perceptual: perceptual loss of rendered targets.
        perceptual_weight: its weight.
        backbone: features for the motion head; needed where the recipe uses it.
    """

    def __init__(
        self,
        *,
        model: WildRayZer,
        recipe: StageRecipe,
        stage: StageConfig,
        perceptual: PerceptualLoss,
        perceptual_weight: float,
        backbone: FeatureBackbone | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.perceptual = perceptual
        self.recipe = recipe
        self.stage = stage
        self.perceptual_weight = perceptual_weight
        self.backbone = backbone
        self.compare = cross_residuals_of(model.config, backbone)
        for parameter in model.renderer_parameters():
            parameter.requires_grad_(recipe.trains_renderer)
        for parameter in model.frozen_parameters():
            parameter.requires_grad_(False)
        for parameter in model.motion_head_parameters():
            parameter.requires_grad_(recipe.trains_motion)
        noise = model.scene_encoder.noise_token
        if noise is not None and not recipe.gates_tokens and stage.token_mask_share == 0.0:
            noise.requires_grad_(False)  # no token is replaced, so that it would never get a gradient

    def trained_parameters(self) -> list[nn.Parameter]:
        """Parameters that the stage trains."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def forward(self, batch: Batch, step: int) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of a micro-batch.

        Args:
            batch: on the model's device.
            step: optimiser step; the crop pretext fades with it.
        """
        if not self.recipe.trains_renderer:
            return self._distill(batch)
        loss, metrics = self._reconstruct(batch)
        pretext = self.stage.crop_pretext
        # The pretext keeps its full weight over the first half of its steps, then fades linearly to zero.
        if batch.crop_views is not None and batch.crop_offsets is not None:
            fade = min(1.0, 2.0 * (1.0 - step / pretext.steps))
            crops = crop_pretext_loss(self.model, batch.images, batch.crop_views, batch.crop_offsets, zoom=pretext.zoom)
            loss = loss + pretext.weight * fade * crops
            metrics["crop_pretext"] = crops.detach()
        return loss, metrics

    @torch.no_grad()
    def standardise_head(self, batches: Iterable[Batch], world: World) -> None:
        """Measure the constants of a convolutional head that is about to be trained for the first time.

        Args:
            batches: this process's share of the first samples; they decide the constants, how they are divided into
                batches and processes does not.
            world: the processes.
        """
        head = self.model.motion_head
        if self.recipe.trains_renderer or not isinstance(head, ConvolutionalHead) or head.standardised:
            return
        sums = torch.zeros(3, len(head.input_mean), dtype=torch.float64, device=world.device)
        for batch in batches:
            x = head.inputs(*self._head_inputs(batch.to(world.device))).double()
            sums += torch.stack([torch.ones_like(x), x, x * x]).sum(dim=(1, 3, 4))
        count, total, squares = world.sum(sums)
        mean = total / count
        variance = squares / count - mean * mean
        # what is left of a channel that never changes is the rounding of its squares
        constant = variance <= 1e-9 * squares / count
        head.standardise(mean.float(), torch.where(constant, 0.0, variance).sqrt().float())

    def _distill(self, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Only the motion head: the frozen renderer gives tokens and rays, no target is rendered."""
        logits = self.model.motion_logits(*self._head_inputs(batch))
        motion = motion_bce(logits, batch.motion, batch.supervised)
        return self.stage.motion_weight * motion.value, self._motion_metrics(batch, logits, motion.value)

    @torch.no_grad()
    def _head_inputs(self, batch: Batch) -> tuple[Tensor | None, Tensor, Tensor, Tensor | None]:
        """Features, tokens, ray tokens and leave-one-out maps of all views, from the frozen renderer."""
        model, inputs = self.model, batch.num_inputs
        tokens = model.tokenize(batch.images)
        cameras = model.predict_cameras(batch.images, tokens, num_inputs=inputs)
        rays = torch.cat(
            [
                model.ray_tokens(cameras.select(slice(None, inputs)), for_targets=False),
                model.ray_tokens(cameras.select(slice(inputs, None)), for_targets=True),
            ],
            dim=1,
        )
        features = self._features(batch)
        maps = model.cross_residuals(
            batch.images, tokens, cameras, inputs,
            views=batch.images.shape[1], features=features, compare=self.compare,
        )  # fmt: skip
        return features, tokens, rays, maps

    def _reconstruct(self, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        uses_motion, gate_only = self.recipe.uses_motion, self.recipe.gates_only(self.stage)
        result = self.model(
            batch.images,
            batch.num_inputs,
            features=self._features(batch, batch.num_inputs if gate_only else None) if uses_motion else None,
            motion=uses_motion,
            gate_only=gate_only,
            token_mask=None if self.recipe.gates_tokens and self.stage.token_gate else self._no_tokens(batch),
            extra_token_mask=batch.token_mask,
            cameras=batch.cameras,
            normalised=True,
            compare=self.compare,
        )
        # Moving pixels of dynamic targets stay out of both losses: nothing in the inputs tells where things went.
        gate = self._gate(batch, result.motion_logits)
        photometric = gated_mse(result.render, batch.truth, gate)
        flat_gate = None if gate is None else gate.flatten(0, 1)
        perceptual = self.perceptual(result.render.flatten(0, 1), batch.truth.flatten(0, 1), flat_gate)
        loss = photometric.value + self.perceptual_weight * perceptual
        metrics = {"mse": photometric.value.detach(), "perceptual": perceptual.detach()}
        if result.token_mask is not None:
            metrics["masked_tokens"] = result.token_mask.float().mean()
        if self.recipe.trains_motion:
            assert result.motion_logits is not None
            motion = motion_bce(result.motion_logits, batch.motion, batch.supervised)
            loss = loss + self.stage.motion_weight * motion.value
            metrics |= self._motion_metrics(batch, result.motion_logits, motion.value)
        return loss, metrics

    def _features(self, batch: Batch, views: int | None = None) -> Float[Tensor, "b v fh fw c"] | None:
        """Backbone features of the first `views`, all by default, in the backbone's own arithmetic."""
        head = self.model.config.motion_head
        if head is None or not head.use_features:
            return None
        assert self.backbone is not None
        images = batch.images[:, :views]
        with torch.autocast(images.device.type, enabled=False):
            return self.backbone(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    def _gate(self, batch: Batch, logits: Tensor | None) -> Float[Tensor, "b t 1 h w"] | None:
        if self.stage.motion_gate == "none":
            return None
        if self.stage.motion_gate == "pseudo" or logits is None:
            return batch.gate
        moving = (logits[:, batch.num_inputs :].detach() > 0.0).float()
        return moving * batch.dynamic[:, None, None, None, None]

    def _no_tokens(self, batch: Batch) -> Bool[Tensor, "b k n"] | None:
        """An empty mask overrides the head's own; without the head there is nothing to override."""
        if not self.recipe.uses_motion:
            return None
        shape = (len(batch.images), batch.num_inputs, self.model.config.grid**2)
        return torch.zeros(shape, dtype=torch.bool, device=batch.images.device)

    def _motion_metrics(self, batch: Batch, logits: Tensor, value: Tensor) -> dict[str, Tensor]:
        """Cross-entropy, IoU with the labels, and the two numbers whose agreement says that the head is calibrated.

        The IoU is that of the mask which the gate would take: probabilities over the head's threshold.
        """
        head = self.model.config.motion_head
        assert head is not None
        with torch.no_grad():
            # masks in place of indices, which would make the host wait for how many there are
            chosen = (batch.supervised > 0)[:, :, None, None, None].expand_as(batch.motion)
            probability, label = logits.float().sigmoid(), (batch.motion > 0.5) & chosen
            predicted = (probability > head.threshold) & chosen
            pixels = chosen.sum().clamp(min=1)
            return {
                "bce": value.detach(),
                "label_iou": (predicted & label).sum() / (predicted | label).sum().clamp(min=1),
                "mean_probability": torch.where(chosen, probability, 0.0).sum() / pixels,
                "mean_label": label.sum() / pixels,
                "supervised_views": chosen.float().mean(),
            }


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
