"""What a training job is told, and the digest of what decides its weights."""

from pathlib import Path

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import FeaturesConfig, ModelConfig, PasteConfig, PerceptualConfig, StageConfig, WatchConfig
from wildrayzer.config.base import Record
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.training.labels import PseudoLabels

STAGE_VERSION = 3
"""Raised when a change of code changes what training gives."""


class TrainingJob(Record):
    """Everything a training job is told; paths are strings so that it travels as JSON."""

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
    leave_at: float | None = None
    """When the job saves and leaves, in Unix seconds; null has no limit."""
    compile: bool = False
    """Compile the transformer blocks."""
    activation_gb: float | None = None
    """Memory for activations, in 10⁹ bytes; null leaves the model's checkpoint policy."""
    watch: WatchConfig = WatchConfig()
    """Where figures go beside the metrics file, and health checks."""

    @property
    def uses_dynamic(self) -> bool:
        """Whether the stage draws dynamic clips."""
        return self.stage.dynamic_share > 0.0

    @classmethod
    def load(cls, path: str) -> "TrainingJob":
        """Read a job file."""
        return cls.model_validate_json(Path(path).read_text())


def identity(job: TrainingJob) -> str:
    """Digest of everything that decides the trained weights: options, seed, parent, data; not how many processes."""
    sections = (job.stage, job.model, job.features, job.perceptual, job.paste)
    parts = [section.model_dump(mode="json") if section else None for section in sections]
    stores = [FrameStore(path) for path in (job.static_store, job.dynamic_store) if path]
    data = [store.digest for store in stores]
    if job.masks:
        data.append(PseudoLabels(job.masks, frames=stores[-1].num_frames, residuals=job.residuals).digest)
    parent = read_manifest(job.parent).weights_digest if job.parent else None
    cutouts = digest_file(job.cutout_annotations) if job.cutout_annotations else None
    return digest_json([STAGE_VERSION, job.recipe, job.seed, parts, data, parent, cutouts])
