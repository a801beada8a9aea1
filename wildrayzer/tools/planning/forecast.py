"""From operations to time: rates of the machine, time of every job, and cores that the loader needs."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from wildrayzer.config import TRAINING_STAGES, RunConfig
from wildrayzer.config.sections.stages import stage_options
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.losses import gated_mse
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import model_cost, total
from wildrayzer.tools.planning.machine import gpu_specs, matmul_rate
from wildrayzer.tools.planning.stage import CORE_SECONDS, HOST_SECONDS, LOADED, START_SECONDS, STORED, PlannedStage
from wildrayzer.training.objective import RECIPES, workload

STATED_SHARE = 0.4
"""Share of a GPU's data-sheet rate that is assumed unless it was measured."""
LOADER_MEGAPIXELS = 25.0
"""Megapixels per second that one core reads, augments and collates; assumed, `benchmarks/loader.py` measures it."""


@dataclass(frozen=True)
class Rates:
    """Operations per second that jobs reach.

    Args:
        gpu: of one GPU by precision; None on a CPU run.
        cpu: of a job on the CPU by threads.
        assumptions: origin of the rates, one line each.
    """

    gpu: dict[str, float] | None
    cpu: dict[int, float]
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """Time of a stage's jobs."""

    stage: PlannedStage
    job_seconds: float
    """Mean walltime of a job."""
    core_seconds: float
    """Core-seconds of all jobs; of a GPU job without matrix products."""

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all jobs."""
        return self.stage.jobs * self.stage.gpus * self.job_seconds / 3600.0


def gpu_rates(config: RunConfig, *, share: float | None, rate: float | None) -> Rates:
    """Rates on the GPU model that the configuration names.

    Args:
        config: for `compute.gpu_model`.
        share: share of the data-sheet rate that jobs reach; None assumes `STATED_SHARE`.
        rate: operations per second that a GPU reaches in bfloat16, in place of data sheet and share.
    """
    reached = STATED_SHARE if share is None else share
    if rate is None:
        rate = gpu_specs(config.compute.gpu_model).bfloat16 * reached
        origin = f"{reached:.0%} ({'assumed' if share is None else 'given'}) of its stated dense bfloat16 rate"
    else:
        origin = "as given with --rate"
    lines = (
        f"{config.compute.gpu_model}: {rate / 1e12:.0f} TFLOP/s in bfloat16, {origin}",
        "TF32: half of that; float32 without TF32 (clusters, SSIM, LPIPS, options at `float32`): 1/15 of that; assumed",
        f"residuals and scores on a GPU: {HOST_SECONDS:g} core-seconds per megapixel for what stays on the host; a job "
        f"reads the backbone's weights twice at {LOADED / 1e9:g} GB/s; assumed",
        *_shared_lines(),
    )
    return Rates({"bfloat16": rate, "tf32": rate / 2.0, "float32": rate / 15.0}, {}, lines)


def _shared_lines() -> Iterator[str]:
    """Assumptions of every forecast, on CPUs and GPUs."""
    seconds = ", ".join(f"{name} {value:g}" for name, value in CORE_SECONDS.items())
    yield f"CPU jobs, core-seconds per megapixel besides matrix products: {seconds}; assumed, of the demo's magnitude"
    shares = ", ".join(f"{share:.0%} with {codec}" for codec, share in STORED.items())
    yield f"{START_SECONDS:g} core-seconds to start a job; stored frames take {shares} of their bytes; assumed"
    yield "scores: a clip counts as one window; ablations are left out"
    yield f"loader: a core reads {LOADER_MEGAPIXELS:g} megapixels per second; assumed (see benchmarks/loader.py)"


def cpu_rates(config: RunConfig, stages: list[PlannedStage]) -> Rates:
    """Rates measured on this machine: of a matrix product, and the share of it that a pretraining step reaches."""
    lines: list[str] = []
    rates: dict[int, float] = {}
    before = torch.get_num_threads()
    for threads in sorted({stage.threads for stage in stages if stage.operations}):
        torch.set_num_threads(threads)
        product = matmul_rate(cpu_time=True)
        # without training, a step would be timed for nothing: the share is that of the data sheets
        share = min(1.0, measured_step_rate(config) / product) if config.trains else STATED_SHARE
        rates[threads] = product * share
        reached = "a pretraining step reaches" if config.trains else "jobs are assumed to reach"
        lines.append(
            f"{threads} CPU thread(s): matrix products {product / 1e9:.0f} GFLOP/s, of which {reached} {share:.0%}; "
            "measured on this machine, in CPU time"
        )
    torch.set_num_threads(before)
    return Rates(None, rates, (*lines, *_shared_lines()))


def measured_step_rate(config: RunConfig, *, steps: int = 5) -> float:
    """Operations per second of a pretraining step on this CPU: the median of `steps` steps after one to warm up.

    Times are CPU times divided by threads, the time on a machine without other processes.
    """
    stage, model = stage_options(config.pretrain), WildRayZer(config.model)
    batch = min(stage.micro_batch, stage.batch)
    inputs = min(stage.views.inputs)
    views = inputs + stage.views.targets
    images = torch.rand(batch, views, 3, config.model.image_size, config.model.image_size)
    cameras = None
    if config.model.cameras == "given":
        cameras = Cameras(torch.eye(4).expand(batch, views, 4, 4), torch.full((batch, views, 4), 0.5))
    optimizer = torch.optim.AdamW(model.renderer_parameters(), lr=1e-4, fused=True)
    times = []
    for _ in range(steps + 1):
        start = time.process_time()
        gated_mse(model(images, inputs, cameras=cameras).render, images[:, inputs:]).value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append((time.process_time() - start) / torch.get_num_threads())
    work = workload(RECIPES["pretrain"], stage, batch=batch, inputs=inputs)
    return total(model_cost(config.model, work)).total / statistics.median(times[1:])


def forecast(stages: list[PlannedStage], rates: Rates) -> list[Forecast]:
    """Time of every stage; work of a GPU job besides matrix products runs on one core of its host and is added."""
    forecasts = []
    for stage in stages:
        if stage.gpus and rates.gpu is not None:
            busy = sum(count / rates.gpu[precision] for precision, count in stage.operations.items()) / stage.gpus
            job = (busy + stage.core_seconds) / stage.jobs
            forecasts.append(Forecast(stage, job, stage.core_seconds))
            continue
        busy = sum(stage.operations.values()) / rates.cpu[stage.threads] if stage.operations else 0.0
        core_seconds = busy * stage.threads + stage.core_seconds
        forecasts.append(Forecast(stage, core_seconds / stage.threads / stage.jobs, core_seconds))
    return forecasts


def loader_lines(config: RunConfig, forecasts: Sequence[Forecast]) -> Iterator[str]:
    """One line per training stage: the samples per second that it consumes and the cores that loading them takes."""
    stages = {name: config.stage(name) for name in (*TRAINING_STAGES, "unmasked")}
    for one in forecasts:
        stage = stages.get(one.stage.name)
        if stage is None or not one.stage.samples:
            continue
        speed = one.stage.samples / (one.stage.jobs * one.job_seconds)
        views = max(stage.views.inputs) + stage.views.targets
        pixels = views * config.model.image_size**2 / 1e6
        cores = speed * pixels / LOADER_MEGAPIXELS / config.world_size
        verdict = "" if cores <= max(stage.workers, 1) else f"; too few: raise {one.stage.name}.workers"
        yield (
            f"- loader of {one.stage.name}: {speed:.1f} samples/s of {views} views take {cores:.2f} cores per process, "
            f"{stage.workers} worker(s) configured{verdict}"
        )
