"""The whole configuration of a run, and what its sections owe each other."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from wildrayzer.config.base import Section
from wildrayzer.config.sections.ablations import BUILT_IN, AblationConfig
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.data import DataConfig
from wildrayzer.config.sections.features import FeaturesConfig, PerceptualConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.config.sections.training import PasteConfig, StageConfig
from wildrayzer.config.sections.watch import WatchConfig

TRAINING_STAGES = ("pretrain", "distill", "masked", "joint")
PAPER_DISTILL_SHARE = 0.5
"""Share of dynamic clips in the paper's distillation."""


class ComputeConfig(Section):
    """Where jobs run. Cluster names (partition, account) live in slurm/config.yaml alone."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a CUDA device where there is one."""
    threads: int = Field(2, ge=1)
    """CPU threads of a job."""
    gpus: int = Field(8, ge=0)
    """GPUs of a training job; 0 trains on the CPU. The paper used 4, the release 8. More than `gpus_per_node` take
    several whole nodes."""
    gpus_per_node: int = Field(8, ge=1)
    """GPUs of a node."""
    gpu_model: str = "h100"
    """GPU model asked of the cluster, by its name in Slurm's GRES; empty takes any."""
    processes: int = Field(1, ge=1)
    """Training processes when `gpus` is 0 (gloo); with GPUs it is one a GPU."""
    processes_per_node: int | None = Field(None, ge=1)
    """Training processes of a node when `gpus` is 0; null keeps all on one node."""
    compile: bool = False
    """Compile the transformer blocks of training jobs with torch.compile; needs a C++ or CUDA compiler."""
    activation_gb: float | None = Field(None, gt=0.0)
    """Memory for activations of a training process, in 10⁹ bytes: as few blocks are recomputed as fit it, in place of
    `model.checkpoint_every`. Null leaves that."""

    @field_validator("gpu_model")
    @classmethod
    def _model_can_be_asked_for(cls, model: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.]*", model):
            raise ValueError(
                f"compute.gpu_model = {model!r}: Snakemake's Slurm executor takes letters, digits, '_' and '.' alone; "
                'leave it empty ("") and name the nodes by `constraint` in slurm/config.yaml'
            )
        return model

    @model_validator(mode="after")
    def _whole_nodes(self) -> "ComputeConfig":
        for total, share in (("gpus", "gpus_per_node"), ("processes", "processes_per_node")):
            count, per_node = getattr(self, total), getattr(self, share)
            if per_node is not None and count > per_node and count % per_node:
                raise ValueError(
                    f"compute.{total} = {count} is more than compute.{share} = {per_node} and no multiple of it; a "
                    "training job on several nodes takes whole ones, choose a multiple"
                )
        return self

    @property
    def world_size(self) -> int:
        """Training processes of a job."""
        return self.gpus or self.processes

    @property
    def nodes(self) -> int:
        """Nodes of a training job."""
        per_node = self.gpus_per_node if self.gpus else self.processes_per_node
        return 1 if per_node is None else max(1, self.world_size // per_node)


class RunConfig(Section):
    """Everything a run needs."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; results go to results/NAME."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights and of all sampling."""
    rounds: int = Field(1, ge=1, le=9)
    """How often residuals to joint training are repeated."""
    pretrained: str | None = None
    """Checkpoint folder of a static renderer that takes the place of pretraining; its sizes must be `model`'s. One
    without motion head is given a new one."""
    compute: ComputeConfig = ComputeConfig()
    """Devices and processes."""
    data: DataConfig
    """Data sets."""
    model: ModelConfig = ModelConfig()
    """Network."""
    features: FeaturesConfig = FeaturesConfig()
    """Feature backbone."""
    perceptual: PerceptualConfig = PerceptualConfig()
    """Perceptual loss."""
    pretrain: StageConfig = StageConfig()
    """Stage 1: the static renderer."""
    residuals: ResidualsConfig = ResidualsConfig()
    """Stage 2: rendering and residual maps."""
    pseudo_masks: PseudoMasksConfig = PseudoMasksConfig()
    """Stage 2: fusion and voting."""
    refine: RefineConfig = RefineConfig()
    """Stage 2: pixel masks."""
    distill: StageConfig = StageConfig()
    """Stage 3: the motion head."""
    masked: StageConfig | None = None
    """Stage 4: masked reconstruction; null leaves it out (ablation)."""
    joint: StageConfig = StageConfig()
    """Stage 5: joint training."""
    paste: PasteConfig = PasteConfig()
    """Copy-paste augmentation."""
    benchmark: BenchmarkConfig = BenchmarkConfig()
    """Scoring and tables."""
    watch: WatchConfig = WatchConfig()
    """Where training figures go, and health checks."""
    ablations: dict[str, AblationConfig] = Field(default_factory=dict)
    """Ablations beside the built-in ones (docs/benchmarks.md), each a target `ablation_NAME`."""

    @model_validator(mode="after")
    def _sections_agree(self) -> "RunConfig":
        if self.pseudo_masks.absolute_test != "off" and not self.data.of(use="calibration"):
            raise ValueError(
                f"pseudo_masks.absolute_test: {self.pseudo_masks.absolute_test} needs a static split with "
                "use: calibration in data.splits; add one or set absolute_test: off"
            )
        if self.model.motion_head is None:
            raise ValueError("model.motion_head is null, but the workflow trains it; drop the line")
        if self.residuals.ssim_size > self.model.image_size:
            raise ValueError(
                f"residuals.ssim_size = {self.residuals.ssim_size} is more than model.image_size = "
                f"{self.model.image_size}; choose a smaller window"
            )
        self._check_benchmark()
        for stage in TRAINING_STAGES:
            section: StageConfig | None = getattr(self, stage)
            if section is not None:
                self._check_stage(stage, section)
        if self.data.embedded is not None:
            self._check_clip_length(self.data.embedded.frames)
        if self.pretrain.dynamic_share:
            raise ValueError("pretrain.dynamic_share must be 0: the static renderer learns from static clips")
        return self

    def _check_benchmark(self) -> None:
        splits, benchmark = self.data.splits, self.benchmark
        sets = {*splits, *benchmark.sets}
        named = {
            "benchmark.index": (benchmark.index, splits),
            "benchmark.pictures": (benchmark.pictures, splits),
            "benchmark.sets": ([one.split for one in benchmark.sets.values()], splits),
            "benchmark.masks": ([name for one in benchmark.masks.values() for name in one.folders], splits),
            "benchmark.renderings": ([name for one in benchmark.renderings.values() for name in one.folders], sets),
            "ablations": ([name for one in self.ablations.values() for name in one.splits], splits),
        }
        for option, (names, known) in named.items():
            for name in names:
                if name not in known:
                    raise ValueError(f"{option} names the unknown split {name!r}; known: {sorted(known)}")
        for name in benchmark.sets:
            if name in splits:
                raise ValueError(f"benchmark.sets.{name} has the name of a split; rename the set")
        for name in benchmark.ablations:
            if name not in {**BUILT_IN, **self.ablations}:
                raise ValueError(
                    f"benchmark.ablations names the unknown ablation {name!r}; known: "
                    f"{', '.join({**BUILT_IN, **self.ablations})}"
                )
        counts = {count for name in (*self.data.of(use="test"), *benchmark.sets) for count in benchmark.inputs_of(name)}
        untrained = sorted(counts - set(self.pretrain.views.inputs))
        if untrained and self.pretrained is None and not benchmark.force_inputs:
            raise ValueError(
                f"benchmark.inputs: {untrained} input views are scored, but pretrain.views.inputs = "
                f"{list(self.pretrain.views.inputs)}; train with them, leave them out, or set benchmark.force_inputs: "
                "true and have the tables flag them"
            )

    def _check_stage(self, name: str, stage: StageConfig) -> None:
        world = self.world_size
        if stage.batch % world:
            raise ValueError(
                f"{name}.batch = {stage.batch} does not divide over {world} processes "
                "(compute.gpus, or compute.processes on the CPU); choose a multiple"
            )
        share = stage.batch // world
        if share % min(stage.micro_batch, share):
            raise ValueError(
                f"{name}.micro_batch = {stage.micro_batch} does not divide the {share} samples a process gets "
                f"from {name}.batch = {stage.batch}; choose a divisor"
            )

    def _check_clip_length(self, frames: int) -> None:
        for name in TRAINING_STAGES:
            stage: StageConfig | None = getattr(self, name)
            if stage is None:
                continue
            for views in filter(None, (stage.views, stage.dynamic_views)):
                needed = max(max(views.inputs) + views.targets, views.min_distance + 1)
                if needed > frames:
                    raise ValueError(
                        f"{name}.views needs clips of {needed} frames, but data.embedded.frames = {frames}; "
                        "lower views.targets, views.inputs or views.min_distance, or make longer clips"
                    )
        needed = max(self.benchmark.inputs) + self.benchmark.targets
        if needed > frames:
            raise ValueError(
                f"benchmark needs clips of {needed} frames (inputs + targets), but data.embedded.frames = {frames}; "
                "lower benchmark.targets or make longer clips"
            )

    @property
    def world_size(self) -> int:
        """Training processes of a job."""
        return self.compute.world_size

    @property
    def deviations(self) -> tuple[str, ...]:
        """Everything in this run that differs from the paper, by option."""
        found = list(self.model.deviations)
        if self.features.backbone != "dinov3":
            found.append(f"features.backbone: {self.features.backbone}")
        if self.perceptual.kind != "vgg19":
            found.append(f"perceptual.kind: {self.perceptual.kind}")
        if self.pseudo_masks.absolute_test != "off":
            found.append(f"pseudo_masks.absolute_test: {self.pseudo_masks.absolute_test}")
        for name in TRAINING_STAGES:
            stage: StageConfig | None = getattr(self, name)
            if stage is None:
                continue
            if stage.crop_pretext.steps:
                found.append(f"{name}.crop_pretext.steps: {stage.crop_pretext.steps}")
            if stage.views.flip or stage.views.permute_colours:
                found.append(f"{name}.views: flip and colour permutation")
        if self.distill.dynamic_share != PAPER_DISTILL_SHARE:
            found.append(f"distill.dynamic_share: {self.distill.dynamic_share}")
        return tuple(found)
