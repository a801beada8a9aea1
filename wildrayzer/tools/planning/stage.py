"""A stage of the forecast, and the cost of everything that is not a matrix product."""

from dataclasses import dataclass, field

CORE_SECONDS = {
    "sources": 0.6,
    "frames": 0.2,
    "residuals": 1.7,
    "pseudo_masks": 0.3,
    "refine": 1.8,
    "scores": 1.0,
}
"""Core-seconds per megapixel of frames (`refine`: enlarged as for GrabCut) besides matrix products; assumed, of the
order of magnitude measured on the demo."""
HOST_SECONDS = 0.05
"""The same of a GPU job, which measures on its GPU (`work.py`): frames read, launches, results written. Assumed,
several times what it takes one core to read a stored frame of 256 px."""
LOADED = 1e9
"""Bytes per second at which a GPU job reads a backbone's weights, once for their digest and once to load; assumed."""
START_SECONDS = 3.0
"""Core-seconds per job to import its packages; assumed."""
STORED = {"zstd": 0.65, "jpeg": 0.25}
"""Bytes on disk per byte of stored frames, by codec; assumed, for JPEG at quality 98 (docs/frame-store.md#codecs)."""


@dataclass(frozen=True)
class PlannedStage:
    """Jobs of a stage of the workflow and what they need."""

    name: str
    jobs: int
    gpus: int = 0
    """GPUs of one job."""
    threads: int = 1
    """CPU threads of one job."""
    operations: dict[str, float] = field(default_factory=dict)
    """Operations of matrix products and convolutions of all jobs, by precision; recomputation is included."""
    core_seconds: float = 0.0
    """Core-seconds of everything else, of all jobs."""
    disk: float = 0.0
    """Bytes that stay on disk."""
    samples: float = 0.0
    """Samples that training draws, of all jobs."""


def core_seconds(stage: str, pixels: float | int, jobs: int, *, gpus: int = 0) -> float:
    """Core-seconds besides matrix products, of jobs that process `pixels` pixels together."""
    return (HOST_SECONDS if gpus else CORE_SECONDS[stage]) * pixels / 1e6 + START_SECONDS * jobs
