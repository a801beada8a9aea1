"""The whole configuration of a run, and what its sections owe each other."""

from pydantic import Field, model_validator

from wildrayzer.config.agreement import check_cameras, check_motion
from wildrayzer.config.base import FilePath, Section
from wildrayzer.config.effects import deviations
from wildrayzer.config.sections.ablations import BUILT_IN, AblationConfig
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.compute import ComputeConfig
from wildrayzer.config.sections.data import DataConfig
from wildrayzer.config.sections.features import FeaturesConfig, PerceptualConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.config.sections.released import ReleasedConfig
from wildrayzer.config.sections.stages import (
    TRAINING_STAGES,
    DistillConfig,
    JointConfig,
    MaskedConfig,
    PretrainConfig,
    StageConfig,
    control_stage,
    stage_options,
)
from wildrayzer.config.sections.watch import WatchConfig


class RunConfig(Section):
    """Everything a run needs."""

    affects = "result"

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; results go to results/NAME."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights and of all sampling."""
    rounds: int = Field(1, ge=1, le=9)
    """How often residuals to joint training are repeated."""
    pretrained: FilePath | None = None
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
    pretrain: PretrainConfig = PretrainConfig()
    """Stage 1: the static renderer."""
    residuals: ResidualsConfig = ResidualsConfig()
    """Stage 2: rendering and residual maps."""
    pseudo_masks: PseudoMasksConfig = PseudoMasksConfig()
    """Stage 2: fusion and voting."""
    refine: RefineConfig = RefineConfig()
    """Stage 2: pixel masks."""
    distill: DistillConfig = DistillConfig()
    """Stage 3: the motion head."""
    masked: MaskedConfig | None = None
    """Stage 4: masked reconstruction; null leaves it out (ablation)."""
    joint: JointConfig = JointConfig()
    """Stage 5: joint training."""
    paste: PasteConfig = PasteConfig()
    """Copy-paste augmentation."""
    benchmark: BenchmarkConfig = BenchmarkConfig()
    """Scoring and tables."""
    released: ReleasedConfig | None = None
    """A public checkpoint to compare with its published figures."""
    watch: WatchConfig = WatchConfig()
    """Where training metrics go, and health checks."""
    ablations: dict[str, AblationConfig] = Field(default_factory=dict)
    """Ablations beside the built-in ones (docs/benchmarks.md), each a target `ablation_NAME`."""

    @model_validator(mode="after")
    def _sections_agree(self) -> "RunConfig":
        stages = {name: self.stage(name) for name in self.training_stages}
        check_motion(self.model, self.data, self.benchmark, ablations=tuple(self.ablations))
        check_cameras(self.model, self.data, self.benchmark, stages)
        if self.learns_motion and self.pseudo_masks.absolute_test != "off" and not self.data.of(purpose="calibration"):
            raise ValueError(
                f"pseudo_masks.absolute_test: {self.pseudo_masks.absolute_test} needs a static split with "
                "purpose: calibration in data.splits; add one or set absolute_test: off"
            )
        if self.benchmark.leave_one_out and not self.data.of(purpose="calibration"):
            raise ValueError(
                "benchmark.leave_one_out needs thresholds from a static split with purpose: calibration in "
                "data.splits; add one or set leave_one_out: false"
            )
        if self.residuals.ssim_size > self.model.image_size:
            raise ValueError(
                f"residuals.ssim_size = {self.residuals.ssim_size} is more than model.image_size = "
                f"{self.model.image_size}; choose a smaller window"
            )
        self._check_benchmark()
        for name, stage in stages.items():
            if stage is not None:
                self._check_stage(name, stage)
        if self.data.embedded is not None:
            self._check_clip_length(self.data.embedded.frames)
        return self

    def _check_benchmark(self) -> None:
        splits, benchmark = self.data.splits, self.benchmark
        sets = {*splits, *benchmark.sets}
        named = {
            "benchmark.index": (benchmark.index, splits),
            "benchmark.pictures": (benchmark.pictures, splits),
            "benchmark.mask_splits": (
                benchmark.mask_splits or (),
                [*self.data.of(purpose="test"), *self.data.of(purpose="control")],
            ),
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
        if self.released is not None and self.released.row not in benchmark.checkpoints:
            raise ValueError(f"released.row = {self.released.row!r} is no entry of benchmark.checkpoints; add it there")
        for name in benchmark.ablations:
            if name not in {**BUILT_IN, **self.ablations}:
                raise ValueError(
                    f"benchmark.ablations names the unknown ablation {name!r}; known: "
                    f"{', '.join({**BUILT_IN, **self.ablations})}"
                )
        counts = {
            count for name in (*self.data.of(purpose="test"), *benchmark.sets) for count in benchmark.inputs_of(name)
        }
        untrained = sorted(counts - set(self.pretrain.views.inputs))
        if untrained and self.trains and self.pretrained is None and not benchmark.force_inputs:
            raise ValueError(
                f"benchmark.inputs: {untrained} input views are scored, but pretrain.views.inputs = "
                f"{list(self.pretrain.views.inputs)}; train with them, leave them out, or set benchmark.force_inputs: "
                "true and have the tables flag them"
            )

    def _check_stage(self, name: str, stage: StageConfig) -> None:
        head = self.model.motion_head
        if name != "pretrain" and head is not None and head.cross_residual and min(stage.views.inputs) < 2:
            raise ValueError(
                f"{name}.views.inputs = {list(stage.views.inputs)}: model.motion_head.cross_residual predicts each "
                "input from the others and needs at least 2 input views; leave 1 out, or switch cross_residual off"
            )
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
        for name in self.training_stages:
            stage = self.stage(name)
            if stage is None:
                continue
            for views in filter(None, (stage.views, stage.dynamic_views)):
                needed = max(max(views.inputs) + views.targets, views.least_distance + 1)
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
    def trains(self) -> bool:
        """Whether the run trains anything; one without `data.static_train` only scores what comes from elsewhere."""
        return self.data.static_train is not None

    @property
    def learns_motion(self) -> bool:
        """Whether the run has stages after pretraining; one without motion head trains only the static renderer."""
        return self.trains and self.model.motion_head is not None

    @property
    def imported(self) -> str | None:
        """Checkpoint folder that the public checkpoint is imported to; None without one."""
        return None if self.released is None else self.benchmark.checkpoints[self.released.row].path

    @property
    def training_stages(self) -> tuple[str, ...]:
        """Names of the training stages that the run has, if they are not null."""
        if not self.trains:
            return ()
        return TRAINING_STAGES if self.learns_motion else TRAINING_STAGES[:1]

    def stage(self, name: str) -> StageConfig | None:
        """Options of a training stage, or of the control `unmasked`, as the loop takes them; None if it is left out."""
        if name == "unmasked":
            return control_stage(self.masked, self.joint)
        section = getattr(self, name)
        return None if section is None else stage_options(section)

    @property
    def deviations(self) -> tuple[str, ...]:
        """Everything in this run that differs from the paper, by option; of the stages that it has."""
        later = () if self.learns_motion else tuple(f"{name}." for name in TRAINING_STAGES[1:])
        return tuple(one for one in deviations(self) if not one.startswith(later))
