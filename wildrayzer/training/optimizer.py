"""One optimiser step: learning rate, clipping, skipped updates, non-finite gradients; no device waits for the host.

The device itself decides whether a gradient is usable: the fused AdamW kernel leaves out an update whose norm is not
finite or over the limit. The host reads that outcome one step later, when the work of the next step is queued already.
On a CPU there is nothing to wait for, and it is read at once.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from wildrayzer.config import StageConfig
from wildrayzer.training.batch import Batch
from wildrayzer.training.distributed import World


class NonFiniteGradientError(RuntimeError):
    """A gradient norm became NaN or infinite; its update was left out."""

    def __init__(self, step: int, norm: float, micro_batches: list[Batch], *, advice: str = "") -> None:
        super().__init__(f"gradient norm {norm} at step {step}{advice}")
        self.step, self.norm, self.micro_batches = step, norm, micro_batches


def learning_rate(step: int, stage: StageConfig) -> float:
    """Rate of step 0, 1, …: linear warm-up to `learning_rate`, then constant or half a cosine to a share of it."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    if stage.schedule == "constant":
        return stage.learning_rate
    progress = (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    return stage.learning_rate * (stage.final_share + (1.0 - stage.final_share) * cosine)


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Two AdamW groups: parameters with two or more axes decay, gains and biases do not."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in parameters:
        (decayed if parameter.ndim > 1 else plain).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class _Outcome:
    """The outcome of a step, on its way from the device to the host."""

    step: int
    micro_batches: list[Batch]
    numbers: torch.Tensor
    """The gradient norm, and how many processes want to stop."""
    arrived: torch.cuda.Event | None
    """When `numbers` can be read; None on a CPU, where they always can."""

    def read(self) -> tuple[float, float]:
        """Gradient norm and number of processes that want to stop; waits for this step only, not for later ones."""
        if self.arrived is not None:
            self.arrived.synchronize()
        norm, stopping = self.numbers.tolist()
        return norm, stopping


class OptimizerStep:
    """AdamW over a stage's parameters, one step at a time: `begin`, gradients, `finish`.

    Args:
        parameters: those that the stage trains.
        stage: rates, clipping and the limit of the gradient norm.
        world: this process among all.
        lags: read outcomes one step late; None does so on GPUs only.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, stage: StageConfig, world: World, lags: bool | None = None
    ) -> None:
        self.parameters = list(parameters)
        self.stage, self.world = stage, world
        self.lags = world.device.type != "cpu" if lags is None else lags
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.parameters, stage.weight_decay), lr=stage.learning_rate, betas=stage.betas, fused=True
        )
        self.skipped = 0
        """Updates left out because their gradient norm was over the limit, as far as outcomes were read."""
        self.stop_requested = False
        """Whether any process was asked to stop, as far as outcomes were read; the same in all processes."""
        self._pending: _Outcome | None = None

    def begin(self, step: int) -> None:
        """Set the learning rate of a step and drop the gradients of the one before."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.stage)
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self, step: int, micro_batches: list[Batch], *, stop_requested: bool) -> torch.Tensor:
        """Clip the gradients, which are the same in all processes, and update the weights.

        Returns:
            The gradient norm before clipping, on the device.

        Raises:
            NonFiniteGradientError: of this step, or of the one before.
        """
        # The outcome of the step before: its work is done by now, so that reading it holds nothing up.
        self.sync_outcome()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.stage.clip).detach()
        limit = math.inf if self.stage.skip_norm is None else self.stage.skip_norm
        # The fused kernel reads `found_inf`: where it is 1, weights, moments and step count stay as they are.
        self.optimizer.found_inf = (~(norm.isfinite() & (norm <= limit))).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        stopping = self.world.sum(torch.full((), float(stop_requested), device=self.world.device))
        self._pending = _outcome(step, micro_batches, torch.stack([norm, stopping]))
        if not self.lags:
            self.sync_outcome()
        return norm

    def sync_outcome(self) -> None:
        """Wait for the outcome of the last step, unless it was read already.

        Raises:
            NonFiniteGradientError: its gradient norm was not finite.
        """
        outcome, self._pending = self._pending, None
        if outcome is None:
            return
        norm, stopping = outcome.read()
        if not math.isfinite(norm):
            raise NonFiniteGradientError(outcome.step, norm, outcome.micro_batches)
        if self.stage.skip_norm is not None and norm > self.stage.skip_norm:
            self.skipped += 1
        self.stop_requested = stopping > 0


def _outcome(step: int, micro_batches: list[Batch], numbers: torch.Tensor) -> _Outcome:
    if numbers.device.type != "cuda":
        return _Outcome(step, micro_batches, numbers, None)
    host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True).copy_(numbers, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return _Outcome(step, micro_batches, host, arrived)
