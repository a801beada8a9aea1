"""The one training loop: accumulation, clipping, resume, metrics, validation; stages differ by what they hand it."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from wildrayzer.config import StageConfig
from wildrayzer.training.batch import Batch, BatchBuilder
from wildrayzer.training.distributed import World
from wildrayzer.training.metrics_log import MetricsLog
from wildrayzer.training.objective import Objective
from wildrayzer.training.progress import StageProgress
from wildrayzer.training.schedule import learning_rate, parameter_groups
from wildrayzer.training.state import ResumeFolder
from wildrayzer.training.stopping import StoppedEarlyError, StopRequest

logger = logging.getLogger(__name__)
Validate = Callable[[int], dict[str, float]]


class NonFiniteError(RuntimeError):
    """A loss or gradient became NaN or infinite; the offending batch was written and the last good state kept."""


class _Steps(Dataset[list[Batch]]):
    """Micro-batches of this process by step, for loader workers."""

    def __init__(self, builder: BatchBuilder, world: World) -> None:
        self.builder, self.rank, self.size = builder, world.rank, world.size

    def __getitem__(self, step: int) -> list[Batch]:
        return self.builder.build(step, rank=self.rank, world=self.size)


class Trainer:
    """Runs a stage from its newest state to its last step.

    Args:
        objective: model and loss; on the world's device.
        stage: the stage's options.
        builder: batches by step.
        world: this process among all.
        folder: resume states and metrics.
        identity: digest of everything that decides the result.
        validate: `step -> figures`, for the main process alone; called every `validate_every` steps and at the end.
        stop: asks the loop to leave early.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        stage: StageConfig,
        builder: BatchBuilder,
        world: World,
        folder: Path,
        identity: str,
        validate: Validate | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self.objective = objective
        self.stage = stage
        self.builder = builder
        self.world = world
        self.resume = ResumeFolder(folder, identity=identity)
        self.metrics = MetricsLog(folder / "metrics.jsonl") if world.is_main else None
        self.validate = validate
        self.stop = stop or StopRequest()
        self.parameters = objective.trained_parameters()
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.parameters, stage.weight_decay),
            lr=stage.learning_rate,
            betas=stage.betas,
            fused=True,
        )
        # a step may leave parts unused: the noise token without a masked token, the head's features in an ablation
        self.module: nn.Module = (
            DistributedDataParallel(objective, find_unused_parameters=True) if world.size > 1 else objective
        )
        self.skipped = 0

    def run(self) -> dict[str, Any]:
        """Train to the last step.

        Returns:
            `steps`, `resumed_from`, `skipped_updates`, `seconds` of this run and `samples_per_second`.

        Raises:
            StoppedEarlyError: walltime or a signal; the state is saved.
            NonFiniteError: NaN or infinity.
        """
        start = self._restore()
        loader = DataLoader(
            _Steps(self.builder, self.world),
            batch_size=None,
            sampler=range(start, self.stage.steps),
            num_workers=self.stage.workers,
            persistent_workers=False,
        )
        self.objective.train()
        begun = time.monotonic()
        description = self.objective.recipe.name
        with (
            self.stop.listening(),
            StageProgress(description, start, self.stage.steps, shown=self.world.is_main) as bar,
        ):
            for step, parts in zip(range(start, self.stage.steps), loader, strict=True):
                figures = self._step(step, parts)
                bar.advance(figures)
                self._after_step(step + 1, figures)
        elapsed = time.monotonic() - begun
        return {
            "steps": self.stage.steps,
            "resumed_from": start,
            "skipped_updates": self.skipped,
            "seconds": round(elapsed, 1),
            "samples_per_second": round((self.stage.steps - start) * self.stage.batch / max(elapsed, 1e-9), 2),
        }

    def _step(self, step: int, parts: list[Batch]) -> dict[str, torch.Tensor]:
        rate = learning_rate(step, self.stage)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, torch.Tensor] = {}
        for number, part in enumerate(parts):
            batch = part.to(self.world.device)
            last = number == len(parts) - 1
            # gradients meet once a step: both passes of the earlier parts stay out of the exchange
            quiet = self.module.no_sync() if self.world.size > 1 and not last else nullcontext()  # type: ignore[operator]
            with quiet:
                with self._autocast():
                    loss, figures = self.module(batch, step, number * self.world.size + self.world.rank)
                (loss / len(parts)).backward()
            for name, value in {"loss": loss.detach(), **figures}.items():
                sums[name] = sums.get(name, 0.0) + value.float() / len(parts)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.stage.clip)
        self._check_finite(step, norm, parts)
        if self.stage.skip_norm is not None and norm.item() > self.stage.skip_norm:
            self.skipped += 1
        else:
            self.optimizer.step()
        return sums | {"gradient_norm": norm.detach(), "learning_rate": torch.tensor(rate)}

    def _autocast(self) -> Any:
        enabled = self.stage.precision == "bfloat16"
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=enabled)

    def _check_finite(self, step: int, norm: torch.Tensor, parts: list[Batch]) -> None:
        if not self.world.any(not math.isfinite(norm.item())):
            return
        path = self.resume.folder / f"non-finite-step-{step}-rank-{self.world.rank}.pt"
        torch.save([vars(part) for part in parts], path)
        raise NonFiniteError(
            f"{self.objective.recipe.name}: gradient norm {norm.item()} at step {step}; the batch is in {path} and the "
            "last good state is kept. Lower learning_rate or set skip_norm, or look at the batch for broken frames"
        )

    def _after_step(self, done: int, figures: dict[str, torch.Tensor]) -> None:
        finished = done == self.stage.steps
        if done % self.stage.log_every == 0 or finished:
            values = {
                name: (self.world.sum(v.to(self.world.device)) / self.world.size).item() for name, v in figures.items()
            }
            if self.metrics is not None:
                self.metrics.write("train", done, {**values, "skipped_updates": self.skipped})
        if done % self.stage.validate_every == 0 or finished:
            if self.validate is not None:
                assert self.metrics is not None
                self.objective.eval()
                self.metrics.write("validation", done, self.validate(done))
                self.objective.train()
            self.world.wait()
        leaving = self.world.any(self.stop.reason is not None) if not finished else False
        if done % self.stage.save_every == 0 or finished or leaving:
            self._save(done)
        if leaving:
            raise StoppedEarlyError(
                f"{self.objective.recipe.name} left after step {done} of {self.stage.steps} "
                f"({self.stop.reason or 'another process was asked to'}); run the same command again to go on"
            )

    def _save(self, done: int) -> None:
        if self.world.is_main:
            state = {
                "model": self.objective.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "torch_rng": torch.get_rng_state(),
                "skipped": self.skipped,
            }
            self.resume.save(done, state)
        self.world.wait()

    def _restore(self) -> int:
        if self.world.is_main:
            self.resume.claim()
        self.world.wait()
        state = self.resume.load()
        if state is None:
            if self.metrics is not None:
                self.metrics.truncate(0)
            return 0
        self.objective.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        self.skipped = state["skipped"]
        if self.metrics is not None:
            self.metrics.truncate(state["step"])
        logger.info("%s goes on after step %d", self.objective.recipe.name, state["step"])
        return int(state["step"])
