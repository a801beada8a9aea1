"""The one training loop: accumulation, clipping, resume, metrics, validation. Stages differ in what they pass to it."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wildrayzer.config import StageConfig
from wildrayzer.training.batch import Batch
from wildrayzer.training.data import BatchBuilder
from wildrayzer.training.distributed import World
from wildrayzer.training.health import HealthCheck, derived_metrics
from wildrayzer.training.job import Origin
from wildrayzer.training.loader import load_batches
from wildrayzer.training.logging import MetricsLog, Sink, StageProgress
from wildrayzer.training.objective import Objective
from wildrayzer.training.optimizer import NonFiniteGradientError, OptimizerStep
from wildrayzer.training.resume import ResumeFolder, StoppedEarlyError, StopRequest

logger = logging.getLogger(__name__)
Validate = Callable[[int], dict[str, float]]

_STANDARDISED_BY = 256
"""Samples whose motion-head inputs give the constants of a convolutional head."""


class Trainer:
    """Runs a stage from its newest state to its last step.

    Args:
        objective: model and loss; on the world's device.
        stage: the stage's options.
        builder: batches by step.
        world: this process among all.
        folder: resume states and metrics.
        identity: digest of everything that decides the result.
        former_identity: the identity that an earlier version gave the same job.
        rounding: options that change the result only by the order of sums, for the record.
        origin: what the stage learns from.
        continues: whether states of fewer steps or parts are continued.
        validate: `step -> metrics`, in the main process only; called every `validate_every` steps and at the end.
        stop: asks the loop to stop early.
        health: judges the metrics of the main process.
        sinks: what receives metrics and pictures beside the metrics file.
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
        former_identity: str = "",
        rounding: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
        continues: bool = False,
        validate: Validate | None = None,
        stop: StopRequest | None = None,
        health: HealthCheck | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.objective = objective
        self.stage = stage
        self.builder = builder
        self.world = world
        self.resume = ResumeFolder(
            folder, identity=identity, former=former_identity, rounding=rounding, origin=origin, continues=continues
        )
        self.metrics = MetricsLog(folder / "metrics.jsonl", sinks=sinks) if world.is_main else None
        self.health = health
        self.validate = validate
        self.stop = stop or StopRequest()
        self.optimizer_step = OptimizerStep(objective.trained_parameters(), stage=stage, world=world)
        # A step may leave parameters unused, such as the head's features in an ablation; buffers never change.
        self.module: nn.Module = (
            DistributedDataParallel(
                objective, find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
            )
            if world.size > 1
            else objective
        )

    def run(self) -> dict[str, Any]:
        """Train to the last step.

        Returns:
            `steps`, `resumed_from`, `skipped_updates`, `seconds` of this run and `samples_per_second`.

        Raises:
            StoppedEarlyError: walltime or a signal; the state is saved.
            NonFiniteGradientError: NaN or infinity; the batch was written, and the last good state is kept.
            UnhealthyError: the health check fails and asks to stop.
        """
        start = self._restore()
        if start == 0:
            self._standardise_head()
        batches = load_batches(
            self.builder,
            self.world,
            steps=range(start, self.stage.steps),
            workers=self.stage.workers,
            stop_requested=lambda: self.stop.reason is not None,
        )
        self.objective.train()
        started = time.monotonic()
        with (
            self.stop.listening(),
            closing(batches),
            nullcontext() if self.metrics is None else closing(self.metrics),
            StageProgress(self.objective.recipe.name, start, self.stage.steps, shown=self.world.is_main) as bar,
        ):
            for step in range(start, self.stage.steps):
                micro_batches = next(batches, None)
                if micro_batches is None:
                    raise self._stopped_waiting(step)
                try:
                    metrics = self._step(step, micro_batches)
                    bar.advance(metrics)
                    self._after_step(step + 1, metrics)
                except NonFiniteGradientError as error:
                    raise self._with_batch(error) from None
        elapsed = time.monotonic() - started
        return {
            "steps": self.stage.steps,
            "resumed_from": start,
            "skipped_updates": self.optimizer_step.skipped,
            "seconds": round(elapsed, 1),
            "samples_per_second": round((self.stage.steps - start) * self.stage.batch / max(elapsed, 1e-9), 2),
        }

    def _standardise_head(self) -> None:
        """Constants of the motion head's inputs, from the first samples."""
        steps = range(min(self.stage.steps, math.ceil(_STANDARDISED_BY / self.stage.batch)))
        own = (self.builder.build(step, rank=self.world.rank, world=self.world.size) for step in steps)
        self.objective.standardise_head(itertools.chain.from_iterable(own), self.world)

    def _step(self, step: int, micro_batches: list[Batch]) -> dict[str, torch.Tensor]:
        """One optimiser step over accumulated micro-batches; returns its metrics, still on the device."""
        self.optimizer_step.begin(step)
        sums: dict[str, torch.Tensor] = {}
        for number, micro_batch in enumerate(micro_batches):
            batch = micro_batch.to(self.world.device)
            last = number == len(micro_batches) - 1
            # Processes exchange gradients once per step: in both passes of the last micro-batch only.
            no_exchange = self.module.no_sync() if self.world.size > 1 and not last else nullcontext()  # type: ignore[operator]
            with no_exchange:
                with self._autocast():
                    loss, metrics = self.module(batch, step)
                (loss / len(micro_batches)).backward()
            if self.objective.recipe.trains_motion and self.stage.dynamic_share:
                metrics |= micro_batch.filter_metrics()
            for name, value in {"loss": loss.detach(), **metrics}.items():
                sums[name] = sums.get(name, 0.0) + value.float() / len(micro_batches)
        norm = self.optimizer_step.finish(step, micro_batches, stop_requested=self.stop.reason is not None)
        rate = torch.tensor(self.optimizer_step.optimizer.param_groups[0]["lr"])
        return sums | {"gradient_norm": norm, "learning_rate": rate}

    def _autocast(self) -> Any:
        enabled = self.stage.precision == "bfloat16"
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=enabled)

    def _with_batch(self, error: NonFiniteGradientError) -> NonFiniteGradientError:
        """Write the batch of a failed step, and say where it is and what to do."""
        path = self.resume.folder / f"non-finite-step-{error.step}-rank-{self.world.rank}.pt"
        torch.save([vars(micro_batch) for micro_batch in error.micro_batches], path)
        advice = (
            f" of {self.objective.recipe.name}; the batch is in {path} and the last good state is kept. Lower "
            "learning_rate or set skip_norm, or look at the batch for broken frames"
        )
        return NonFiniteGradientError(error.step, error.norm, error.micro_batches, advice=advice)

    def _after_step(self, done: int, metrics: dict[str, torch.Tensor]) -> None:
        """Log, validate, save and stop, whatever is due after `done` steps; all processes decide alike."""
        finished = done == self.stage.steps
        logs, validates, saves = (
            finished or done % every == 0
            for every in (self.stage.log_every, self.stage.validate_every, self.stage.save_every)
        )
        if logs or validates or saves or self.optimizer_step.stop_requested:
            self.optimizer_step.sync_outcome()
        if logs:
            self._log(done, metrics)
        if validates:
            self._validate(done)
        stops = self.optimizer_step.stop_requested and not finished
        if saves or stops:
            self._save(done)
        if stops:
            raise self._stopped_early(done)

    def _stopped_early(self, done: int) -> StoppedEarlyError:
        return StoppedEarlyError(
            f"{self.objective.recipe.name} stopped after step {done} of {self.stage.steps} "
            f"({self.stop.reason or 'another process was asked to'}); run the same command again to resume"
        )

    def _stopped_waiting(self, done: int) -> StoppedEarlyError:
        """Save the state of one process that was asked to stop while no batch came.

        Several processes keep the last saved state: those that have their batch wait for this one and cannot agree.
        """
        if self.world.size == 1:
            self.optimizer_step.sync_outcome()
            self._save(done)
        return self._stopped_early(done)

    def _log(self, done: int, metrics: dict[str, torch.Tensor]) -> None:
        """Write the metrics of a step, as their mean over processes."""
        values = {
            name: (self.world.sum(v.to(self.world.device)) / self.world.size).item() for name, v in metrics.items()
        }
        if self.metrics is not None:
            values = derived_metrics({**values, "skipped_updates": float(self.optimizer_step.skipped)})
            written = self.metrics.write("train", done, values)
            if self.health is not None:
                self.health.see("train", written)

    def _validate(self, done: int) -> None:
        """Validate and judge; a failed check stops before the state is saved, so that a rerun fails it again."""
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
        self.world.barrier()

    def _save(self, done: int) -> None:
        if self.world.is_main:
            state = {
                "model": self.objective.model.state_dict(),
                "optimizer": self.optimizer_step.optimizer.state_dict(),
                "torch_rng": torch.get_rng_state(),
                "skipped": self.optimizer_step.skipped,
                "metrics": None if self.metrics is None else self.metrics.mark(),
            }
            self.resume.save(done, state)
        self.world.barrier()

    def _restore(self) -> int:
        """Load the newest state and return its step; 0 without one.

        The main process chooses the state for all: nothing compares the weights of processes afterwards.
        """
        state = None
        if self.world.is_main:
            self.resume.claim()
            state = self.resume.load()
        step = self.world.broadcast(-1 if state is None else int(state["step"]))
        if state is None and step >= 0:
            state = self.resume.load_step(step)
        if self.world.is_main:
            self.resume.begin(max(step, 0))
        if state is None:
            if self.metrics is not None:
                self.metrics.truncate(0)
            return 0
        self.objective.model.load_state_dict(state["model"])
        self.optimizer_step.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        self.optimizer_step.skipped = state["skipped"]
        if self.metrics is not None:
            before = self.metrics.truncate(step, state.get("metrics"))
            if self.health is not None:
                self.health.recall(before)
        logger.info("%s resumes after step %d", self.objective.recipe.name, step)
        return step
