"""The one training loop: accumulation, clipping, resume, metrics, validation; stages differ by what they hand it."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from wildrayzer.config import StageConfig
from wildrayzer.training.batch import Batch, BatchBuilder
from wildrayzer.training.distributed import World
from wildrayzer.training.health import HealthCheck, derived_figures
from wildrayzer.training.metrics_log import MetricsLog
from wildrayzer.training.objective import Objective
from wildrayzer.training.progress import StageProgress
from wildrayzer.training.sinks import Sink
from wildrayzer.training.state import ResumeFolder
from wildrayzer.training.stopping import StoppedEarlyError, StopRequest
from wildrayzer.training.update import BrokenNumberError, Updates

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


def _outlive_requests(_worker: int) -> None:
    """Leave requests to stop to the main process: a cluster sends them to all, and a state needs the workers."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


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
        health: judges the figures of the main process.
        sinks: what gets figures and pictures beside the metrics file.
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
        health: HealthCheck | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.objective = objective
        self.stage = stage
        self.builder = builder
        self.world = world
        self.resume = ResumeFolder(folder, identity=identity)
        self.metrics = MetricsLog(folder / "metrics.jsonl", sinks=sinks) if world.is_main else None
        self.health = health
        self.validate = validate
        self.stop = stop or StopRequest()
        self.updates = Updates(objective.trained_parameters(), stage=stage, world=world)
        # a step may leave parts unused, such as the head's features in an ablation; buffers are constants
        self.module: nn.Module = (
            DistributedDataParallel(objective, find_unused_parameters=True, broadcast_buffers=False)
            if world.size > 1
            else objective
        )

    def run(self) -> dict[str, Any]:
        """Train to the last step.

        Returns:
            `steps`, `resumed_from`, `skipped_updates`, `seconds` of this run and `samples_per_second`.

        Raises:
            StoppedEarlyError: walltime or a signal; the state is saved.
            NonFiniteError: NaN or infinity.
            UnhealthyError: the health check fails and asks to stop.
        """
        start = self._restore()
        loader = self.loader(start)
        self.objective.train()
        begun = time.monotonic()
        description = self.objective.recipe.name
        with (
            self.stop.listening(),
            nullcontext() if self.metrics is None else closing(self.metrics),
            StageProgress(description, start, self.stage.steps, shown=self.world.is_main) as bar,
        ):
            for step, parts in zip(range(start, self.stage.steps), loader, strict=True):
                try:
                    figures = self._step(step, parts)
                    bar.advance(figures)
                    self._after_step(step + 1, figures)
                except BrokenNumberError as broken:
                    raise self._non_finite(broken) from None
        elapsed = time.monotonic() - begun
        return {
            "steps": self.stage.steps,
            "resumed_from": start,
            "skipped_updates": self.updates.skipped,
            "seconds": round(elapsed, 1),
            "samples_per_second": round((self.stage.steps - start) * self.stage.batch / max(elapsed, 1e-9), 2),
        }

    def loader(self, start: int) -> DataLoader[list[Batch]]:
        """Micro-batches of this process from step `start` on."""
        return DataLoader(
            _Steps(self.builder, self.world),
            batch_size=None,
            sampler=range(start, self.stage.steps),
            num_workers=self.stage.workers,
            persistent_workers=False,
            pin_memory=self.world.device.type == "cuda",
            worker_init_fn=_outlive_requests,
        )

    def _step(self, step: int, parts: list[Batch]) -> dict[str, torch.Tensor]:
        self.updates.begin(step)
        sums: dict[str, torch.Tensor] = {}
        for number, part in enumerate(parts):
            batch = part.to(self.world.device)
            last = number == len(parts) - 1
            # gradients meet once a step: both passes of the earlier parts stay out of the exchange
            quiet = self.module.no_sync() if self.world.size > 1 and not last else nullcontext()  # type: ignore[operator]
            with quiet:
                with self._autocast():
                    loss, figures = self.module(batch, step)
                (loss / len(parts)).backward()
            if self.objective.recipe.trains_motion and self.stage.dynamic_share:
                figures |= part.filter_figures()
            for name, value in {"loss": loss.detach(), **figures}.items():
                sums[name] = sums.get(name, 0.0) + value.float() / len(parts)
        norm = self.updates.end(step, parts, asked_to_leave=self.stop.reason is not None)
        rate = torch.tensor(self.updates.optimizer.param_groups[0]["lr"])
        return sums | {"gradient_norm": norm, "learning_rate": rate}

    def _autocast(self) -> Any:
        enabled = self.stage.precision == "bfloat16"
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=enabled)

    def _non_finite(self, broken: BrokenNumberError) -> NonFiniteError:
        path = self.resume.folder / f"non-finite-step-{broken.step}-rank-{self.world.rank}.pt"
        torch.save([vars(part) for part in broken.parts], path)
        return NonFiniteError(
            f"{self.objective.recipe.name}: {broken}; the batch is in {path} and the last good state is kept. Lower "
            "learning_rate or set skip_norm, or look at the batch for broken frames"
        )

    def _after_step(self, done: int, figures: dict[str, torch.Tensor]) -> None:
        finished = done == self.stage.steps
        logs, validates, saves = (
            finished or done % every == 0
            for every in (self.stage.log_every, self.stage.validate_every, self.stage.save_every)
        )
        if logs or validates or saves or self.updates.leaving:
            self.updates.settle()
        if logs:
            self._log(done, figures)
        if validates:
            self._validate(done)
        leaving = self.updates.leaving and not finished
        if saves or leaving:
            self._save(done)
        if leaving:
            raise StoppedEarlyError(
                f"{self.objective.recipe.name} left after step {done} of {self.stage.steps} "
                f"({self.stop.reason or 'another process was asked to'}); run the same command again to go on"
            )

    def _log(self, done: int, figures: dict[str, torch.Tensor]) -> None:
        values = {
            name: (self.world.sum(v.to(self.world.device)) / self.world.size).item() for name, v in figures.items()
        }
        if self.metrics is not None:
            values = derived_figures({**values, "skipped_updates": float(self.updates.skipped)})
            written = self.metrics.write("train", done, values)
            if self.health is not None:
                self.health.see("train", written)

    def _validate(self, done: int) -> None:
        """Validate and judge; nothing is saved after a failed check that stops, so that a rerun meets it again."""
        failures: dict[str, float] = {}
        if self.metrics is not None:
            if self.validate is not None:
                self.objective.eval()
                values = self.validate(done)
                self.objective.train()
                written = self.metrics.write("validation", done, values)
                self.metrics.pictures(done)
                if self.health is not None:
                    self.health.see("validation", written)
            if self.health is not None and (failures := self.health.failures(done)):
                self.metrics.write("health", done, failures)
        if self.health is not None and self.health.config.stop and self.world.any(bool(failures)):
            raise self.health.error(done, failures)
        self.world.wait()

    def _save(self, done: int) -> None:
        if self.world.is_main:
            state = {
                "model": self.objective.model.state_dict(),
                "optimizer": self.updates.optimizer.state_dict(),
                "torch_rng": torch.get_rng_state(),
                "skipped": self.updates.skipped,
            }
            self.resume.save(done, state)
        self.world.wait()

    def _restore(self) -> int:
        """Take up the state that the main process chooses: nothing compares the processes' weights afterwards."""
        state = None
        if self.world.is_main:
            self.resume.claim()
            state = self.resume.load()
        step = self.world.from_main(-1 if state is None else int(state["step"]))
        if state is None and step >= 0:
            state = self.resume.load_step(step)
        if state is None:
            if self.metrics is not None:
                self.metrics.truncate(0)
            return 0
        self.objective.model.load_state_dict(state["model"])
        self.updates.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        self.updates.skipped = state["skipped"]
        if self.metrics is not None:
            before = self.metrics.truncate(step)
            if self.health is not None:
                self.health.recall(before)
        logger.info("%s goes on after step %d", self.objective.recipe.name, step)
        return step
