"""Does the loader keep up? Cores that drawing samples takes, against the speed of the steps."""

from collections.abc import Iterator, Sequence

from wildrayzer.config import TRAINING_STAGES, RunConfig
from wildrayzer.tools.planning.forecast import LOADER_MEGAPIXELS, Forecast


def loader_line(config: RunConfig, forecasts: Sequence[Forecast]) -> Iterator[str]:
    """A line for every training stage: samples a second it consumes, and cores of each process that takes."""
    stages = {name: config.stage(name) for name in (*TRAINING_STAGES, "unmasked")}
    for one in forecasts:
        stage = stages.get(one.stage.name)
        if stage is None or not one.stage.samples:
            continue
        speed = one.stage.samples / (one.stage.jobs * one.job_seconds)
        views = max(stage.views.inputs) + stage.views.targets
        pixels = views * config.model.image_size**2 / 1e6
        cores = speed * pixels / LOADER_MEGAPIXELS / config.world_size
        verdict = "" if cores <= max(stage.workers, 1) else f"; starves: raise {one.stage.name}.workers"
        yield (
            f"- loader of {one.stage.name}: {speed:.1f} samples/s of {views} views take {cores:.2f} cores a process, "
            f"{stage.workers} worker(s) configured{verdict}"
        )
