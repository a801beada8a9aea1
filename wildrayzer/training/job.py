"""A training job: its options and files, the digest of what decides its weights, and what may grow in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import FeaturesConfig, ModelConfig, PasteConfig, PerceptualConfig, StageConfig, WatchConfig
from wildrayzer.config.base import Record, Section
from wildrayzer.config.effects import deciding_options, rounding_options
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["train"]
_FIX = "a run continues only with more steps or parts; leave {name} out of `continue` to train it again"


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
    continues: bool = False
    """Whether states of fewer steps or parts of the data are continued; otherwise the stage starts again."""
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
    return _digest(job, data, [deciding_options(section) for section in sections(job)])


def former_identity(job: TrainingJob, data: list[str]) -> str:
    """The identity that version 0.1 gave the same job, whose resume states are taken up."""
    return _digest(job, data, [section.model_dump(mode="json") if section else None for section in sections(job)])


def sections(job: TrainingJob) -> tuple[Section | None, ...]:
    """The sections of the configuration that a job reads, its stage first."""
    return job.stage, job.model, job.features, job.perceptual, job.paste


def _digest(job: TrainingJob, data: list[str], options: list[dict[str, Any] | None]) -> str:
    parent = read_manifest(job.parent).weights_digest if job.parent else None
    cutouts = digest_file(job.cutout_annotations) if job.cutout_annotations else None
    return digest_json([STAGE_VERSION, job.recipe, job.seed, options, data, parent, cutouts])


def rounding(job: TrainingJob) -> dict[str, Any]:
    """Options of a job that change its weights only by the order of sums, by full name: a run continues with others."""
    sections = {"model": job.model, "features": job.features, "perceptual": job.perceptual, "paste": job.paste}
    plain = {name: rounding_options(section) for name, section in sections.items() if section is not None}
    options = {
        **rounding_options(job.stage),
        **{f"{section}.{name}": value for section, own in plain.items() for name, value in own.items()},
        "threads": job.threads,
    }
    compute = ("device", "processes", "nodes", "compile", "activation_gb")
    return {**options, **{f"compute.{name}": getattr(job, name) for name in compute}}


class Origin(BaseModel):
    """What decides the weights of a run, apart from its parent: a continued run keeps its own weights."""

    options: str
    """Digest of recipe, seed and all options that decide results, except `steps`; also of the cut-outs."""
    steps: int
    """Optimiser steps of the stage in total."""
    parts: dict[str, list[str]]
    """Keys of the parts of its data: `static`, `dynamic`, `residuals`, `pixel_masks`."""

    @classmethod
    def of(cls, job: TrainingJob, parts: dict[str, list[str]]) -> "Origin":
        """The origin of a job.

        Args:
            job: the job.
            parts: keys of the parts of its stores and labels (`open_data`).
        """
        stage, *others = (deciding_options(section) for section in sections(job))
        options = [{name: value for name, value in (stage or {}).items() if name != "steps"}, *others]
        cutouts = digest_file(job.cutout_annotations) if job.cutout_annotations else None
        digest = digest_json([STAGE_VERSION, job.recipe, job.seed, options, cutouts])
        return cls(options=digest, steps=job.stage.steps, parts=parts)

    def growth(self, before: "Origin", *, name: str) -> dict[str, Any]:
        """What this run has more than it had before: `steps`, and `new_parts`, the number of parts by source.

        Args:
            before: the origin of its states.
            name: of the run, for messages.

        Raises:
            ValueError: other options have changed, or parts that the run has learned from are gone.
        """
        fix = _FIX.format(name=name)
        if self.options != before.options:
            raise ValueError(f"{name}: options other than `steps` have changed since its states were saved; {fix}")
        if self.steps < before.steps:
            raise ValueError(f"{name}: steps is {self.steps}, it was {before.steps}; {fix}")
        new = {}
        for source in {**before.parts, **self.parts}:
            now = self.parts.get(source, [])
            if lost := before.lost_parts(source, now, name=name):
                raise ValueError(lost)
            new[source] = len(set(now) - set(before.parts.get(source, [])))
        return {"steps": self.steps, "new_parts": new}

    def lost_parts(self, source: str, now: Iterable[str | None], *, name: str) -> str | None:
        """Why a run with this origin cannot continue with the parts of now; None where it can.

        Args:
            source: key of `parts`.
            now: keys of the parts of this source.
            name: of the run.
        """
        old = self.parts.get(source, [])
        lost = len(set(old).difference(now))
        return (
            f"{name}: {lost} of the {len(old)} parts of {source} that it has learned from were removed or made again; "
            + _FIX.format(name=name)
            if lost
            else None
        )
