"""A planned stage, and the constants of what is no matrix product."""

from dataclasses import dataclass, field

CORE_SECONDS = {
    "sources": 0.6,
    "frames": 0.2,
    "residuals": 1.7,
    "pseudo_masks": 0.3,
    "refine": 1.8,
    "scores": 1.0,
}
"""Core-seconds of what is no matrix product, a megapixel of frames (`refine`: as enlarged for GrabCut): assumed, of the
size that the demo takes."""
START_SECONDS = 3.0
"""Core-seconds until a job's packages are imported; assumed."""
STORED = 0.65
"""Bytes on disk of a byte of losslessly stored frames; assumed."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage of the workflow."""

    name: str
    jobs: int
    gpus: int = 0
    """GPUs of one job."""
    threads: int = 1
    """CPU threads of one job."""
    operations: dict[str, float] = field(default_factory=dict)
    """Matrix products and convolutions of all jobs, by precision, recomputation included."""
    core_seconds: float = 0.0
    """Everything else, of all jobs."""
    disk: float = 0.0
    """Bytes that stay."""
    samples: float = 0.0
    """Samples that training draws."""


def core_seconds(stage: str, pixels: float | int, jobs: int) -> float:
    """Core-seconds beside matrix products of jobs that go through so many pixels together."""
    return CORE_SECONDS[stage] * pixels / 1e6 + START_SECONDS * jobs
