"""The optimiser's side of a training step: clipping, skipped updates, broken numbers; the device never waits for it.

Whether a gradient is fit is decided on the device: the fused kernel itself leaves out an update whose norm is not
finite or over the limit. The host reads what happened one step later, when the work of the next step is queued already.
On a CPU there is nothing to wait for, and it reads at once.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from wildrayzer.config import StageConfig
from wildrayzer.training.batch import Batch
from wildrayzer.training.distributed import World
from wildrayzer.training.schedule import learning_rate, parameter_groups


class BrokenNumberError(Exception):
    """A gradient norm that is not finite; its update was left out."""

    def __init__(self, step: int, norm: float, parts: list[Batch]) -> None:
        super().__init__(f"gradient norm {norm} at step {step}")
        self.step, self.norm, self.parts = step, norm, parts


@dataclass(frozen=True)
class _Outcome:
    """What a step came to, on its way to the host."""

    step: int
    parts: list[Batch]
    figures: torch.Tensor
    """The gradient norm, and how many processes were asked to leave."""
    arrived: torch.cuda.Event | None
    """When `figures` can be read; None on a CPU, where they always can."""

    def read(self) -> tuple[float, float]:
        """Norm and askers; waits for this step alone, not for what was queued after it."""
        if self.arrived is not None:
            self.arrived.synchronize()
        norm, asked = self.figures.tolist()
        return norm, asked


class Updates:
    """AdamW over a stage's parameters.

    Args:
        parameters: what the stage trains.
        stage: rates, clipping and the limit of the gradient norm.
        world: this process among all.
        lags: read outcomes one step late; None does so on GPUs.
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
        """Updates left out because their gradient norm was over the limit, as far as they are known."""
        self.leaving = False
        """Whether a process was asked to leave, as far as it is known; the same in all processes."""
        self._running: _Outcome | None = None

    def begin(self, step: int) -> None:
        """Set the learning rate of a step and forget the gradients of the one before."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.stage)
        self.optimizer.zero_grad(set_to_none=True)

    def end(self, step: int, parts: list[Batch], *, asked_to_leave: bool) -> torch.Tensor:
        """Clip the gradients, which are the same in all processes, and update the weights.

        Returns:
            The gradient norm before clipping, on the device.

        Raises:
            BrokenNumberError: of this step, or of the one before.
        """
        self.settle()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.stage.clip).detach()
        limit = math.inf if self.stage.skip_norm is None else self.stage.skip_norm
        # read by the fused kernel: where it is 1, weights, moments and step count stay as they are
        self.optimizer.found_inf = (~(norm.isfinite() & (norm <= limit))).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        asked = self.world.sum(torch.full((), float(asked_to_leave), device=self.world.device))
        self._running = _outcome(step, parts, torch.stack([norm, asked]))
        if not self.lags:
            self.settle()
        return norm

    def settle(self) -> None:
        """Read the outcome of the last step, if it has not been read.

        Raises:
            BrokenNumberError: its gradient norm was not finite.
        """
        outcome, self._running = self._running, None
        if outcome is None:
            return
        norm, asked = outcome.read()
        if not math.isfinite(norm):
            raise BrokenNumberError(outcome.step, norm, outcome.parts)
        if self.stage.skip_norm is not None and norm > self.stage.skip_norm:
            self.skipped += 1
        self.leaving = asked > 0


def _outcome(step: int, parts: list[Batch], figures: torch.Tensor) -> _Outcome:
    if figures.device.type != "cuda":
        return _Outcome(step, parts, figures, None)
    host = torch.empty(figures.shape, dtype=figures.dtype, pin_memory=True).copy_(figures, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return _Outcome(step, parts, host, arrived)
