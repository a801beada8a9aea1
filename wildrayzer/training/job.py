"""A training job: its options and files, and the digest of what decides its weights."""

from pathlib import Path

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import FeaturesConfig, ModelConfig, PasteConfig, PerceptualConfig, StageConfig, WatchConfig
from wildrayzer.config.base import Record
from wildrayzer.io.digests import digest_file, digest_json

STAGE_VERSION = 3
"""Raised when a change of code changes trained weights."""


class TrainingJob(Record):
    """Options and files of a training job; paths are strings so that it can be written as JSON."""

    recipe: str
    seed: int
    stage: StageConfig
    model: ModelConfig
    perceptual: PerceptualConfig
    features: FeaturesConfig | None = None
    """Feature backbone; needed where the motion head runs."""
    paste: PasteConfig | None = None
    """Copy-paste; needed where the stage pastes."""
    device: str
    threads: int
    processes: int
    """Training processes, of all nodes together."""
    nodes: int = 1
    """Nodes that share the processes evenly."""
    preload_mb: int
    parent: str | None = None
    """Checkpoint to start from; null starts from random weights."""
    static_store: str
    dynamic_store: str | None = None
    masks: str | None = None
    """Pseudo-mask cache of the dynamic split."""
    residuals: str | None = None
    """Residual maps of the dynamic split; null takes those of `masks`."""
    cutout_annotations: str | None = None
    cutout_images: str | None = None
    validation_store: str | None = None
    state: str
    """Folder of resume states; no declared output."""
    checkpoint: str
    metrics: str
    deadline: float | None = None
    """When the job saves its state and stops, in Unix seconds; null has no limit."""
    compile: bool = False
    """Compile the transformer blocks."""
    activation_gb: float | None = None
    """Memory for activations, in 10⁹ bytes; null leaves the model's checkpoint policy."""
    watch: WatchConfig = WatchConfig()
    """Where metrics go beside the metrics file, and health checks."""

    @property
    def uses_dynamic(self) -> bool:
        """Whether the stage draws dynamic clips."""
        return self.stage.dynamic_share > 0.0

    @classmethod
    def load(cls, path: str) -> "TrainingJob":
        """Read a job file."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))


def identity(job: TrainingJob, data: list[str]) -> str:
    """Digest of everything that decides the trained weights: options, seed, parent and data; not how many processes.

    Args:
        job: the job.
        data: digests of its stores and labels (`open_data`).
    """
    sections = (job.stage, job.model, job.features, job.perceptual, job.paste)
    options = [section.model_dump(mode="json") if section else None for section in sections]
    parent = read_manifest(job.parent).weights_digest if job.parent else None
    cutouts = digest_file(job.cutout_annotations) if job.cutout_annotations else None
    return digest_json([STAGE_VERSION, job.recipe, job.seed, options, data, parent, cutouts])
