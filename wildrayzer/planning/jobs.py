"""What each stage of a run computes, in operations, core-seconds and bytes that stay on disk."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from wildrayzer.config import RunConfig, StageConfig, control_stage
from wildrayzer.models.describe import parameter_counts
from wildrayzer.models.flops import Workload, model_cost, total
from wildrayzer.planning.data import SplitSize
from wildrayzer.planning.work import backbone_cost, backbone_sizes, vgg19_cost
from wildrayzer.training.objective import RECIPES
from wildrayzer.training.policy import workload

CORE_SECONDS = {
    "sources": 0.6,
    "frames": 0.2,
    "residuals": 1.7,
    "pseudo_masks": 0.3,
    "refine": 2.0,
    "scores": 1.0,
}
"""Core-seconds of what is no matrix product, a megapixel of frames: assumed, of the size that the demo takes."""
START_SECONDS = 3.0
"""Core-seconds until a job's packages are imported; assumed."""
STORED = 0.65
"""Bytes on disk of a byte of losslessly stored frames; assumed."""
RESUME_STATES = 2
"""Resume states that are kept."""


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


def planned_stages(config: RunConfig, sizes: dict[str, SplitSize]) -> list[PlannedStage]:
    """All stages in the order of the data; the later ones once for every round."""
    return [*_data(config, sizes), *_training(config), *_masks(config, sizes), *_scores(config, sizes)]


def training_operations(config: RunConfig, recipe_name: str, stage: StageConfig) -> float:
    """Operations of a training stage: network, perceptual loss, features and pretext."""
    recipe, model = RECIPES[recipe_name], config.model
    micro = min(stage.micro_batch, stage.batch // config.world_size)
    sizes = backbone_sizes(config.features) if recipe.uses_motion else None
    passes = stage.steps * stage.batch / micro
    operations = 0.0
    for inputs in stage.views.inputs:
        work = workload(recipe, stage, batch=micro, inputs=inputs)
        step = total(model_cost(model, work)).total
        if recipe.trains_renderer and config.perceptual.kind == "vgg19":
            step += vgg19_cost(micro * stage.views.targets, model.image_size).total
        head = model.motion_head
        if sizes is not None and head is not None and head.use_features:
            step += backbone_cost(sizes, micro * work.views, model.grid**2).forward
        operations += step / len(stage.views.inputs)
    pair = model_cost(model, Workload(batch=micro, inputs=1, targets=1))
    pretext = total({part: pair[part] for part in ("image tokenizer", "camera encoder", "camera head")}).total
    return passes * operations + pretext * min(stage.crop_pretext.steps, stage.steps) * stage.batch / micro


def _data(config: RunConfig, sizes: dict[str, SplitSize]) -> Iterator[PlannedStage]:
    pixels = config.model.image_size**2
    embedded = [name for name, split in config.data.splits.items() if split.layout == "embedded"]
    if embedded:
        made = sum(sizes[name].frames for name in embedded) * pixels
        yield PlannedStage(
            "sources", jobs=len(embedded) + 1, threads=config.compute.threads, disk=1.0 * made,
            core_seconds=_core_seconds("sources", made, len(embedded) + 1),
        )  # fmt: skip
    kept = sum(size.frames for size in sizes.values()) * pixels
    yield PlannedStage(
        "frames",
        jobs=2 * len(sizes),
        disk=3.0 * STORED * kept,
        core_seconds=_core_seconds("frames", kept, 2 * len(sizes)),
    )


def _training(config: RunConfig) -> Iterator[PlannedStage]:
    stages = {"pretrain": config.pretrain, "distill": config.distill, "masked": config.masked, "joint": config.joint}
    if "unmasked" in config.benchmark.methods:
        stages["unmasked"] = control_stage(config.masked, config.joint)
    counts = parameter_counts(config.model)
    everything, head = sum(counts.values()), counts.get("motion head", 0)
    for name, stage in stages.items():
        if stage is None:
            continue
        if name == "pretrain" and config.pretrained is not None:
            yield PlannedStage(name, jobs=1, core_seconds=START_SECONDS, disk=4.0 * everything)
            continue
        trained = (everything - head) * RECIPES[name].trains_renderer + head * RECIPES[name].trains_motion
        rounds = 1 if name == "pretrain" else config.rounds
        yield PlannedStage(
            name,
            jobs=rounds,
            gpus=config.compute.gpus,
            threads=stage.threads or config.compute.threads,
            operations={stage.precision: rounds * training_operations(config, name, stage)},
            core_seconds=rounds * START_SECONDS,
            disk=rounds * 4.0 * (everything + RESUME_STATES * (everything + 2 * trained)),
            samples=1.0 * rounds * stage.steps * stage.batch,
        )


def _mask_frames(config: RunConfig, sizes: dict[str, SplitSize]) -> list[tuple[int, bool]]:
    """Frames of every residual job, and whether they are rendered: training, calibration, and splits with truth."""
    found = [(sizes[config.data.dynamic_train].frames, True)]
    for name, split in config.data.splits.items():
        if split.use not in ("test", "control") and not (split.use == "calibration" and _calibrates(config)):
            continue
        for source in config.benchmark.mask_sources:
            if source == "renderer" or split.role == "dynamic" or split.use == "calibration":
                found.append((sizes[name].frames, source == "renderer"))
    return found


def _calibrates(config: RunConfig) -> bool:
    return config.pseudo_masks.absolute_test != "off"


def _masks(config: RunConfig, sizes: dict[str, SplitSize]) -> Iterator[PlannedStage]:
    model, options, rounds = config.model, config.residuals, config.rounds
    frames = _mask_frames(config, sizes)
    every, rendered = sum(count for count, _ in frames), sum(count for count, renders in frames if renders)
    window = Workload(options.batch, options.inputs, options.targets, trains_renderer=False)
    render = total(model_cost(model, window)).forward / (options.batch * options.targets)
    backbone = backbone_sizes(config.features)
    features = 0.0 if backbone is None else 2.0 * backbone_cost(backbone, 1, model.grid**2).forward
    pixels, patches = model.image_size**2, model.grid**2
    jobs = len(frames) + options.shards - 1
    yield PlannedStage(
        "residuals",
        jobs=rounds * (jobs + len(frames)),
        gpus=min(1, config.compute.gpus),
        operations={"float32": rounds * rendered * render, config.features.precision: rounds * every * features}
        if config.features.precision != "float32"
        else {"float32": rounds * (rendered * render + every * features)},
        core_seconds=rounds * _core_seconds("residuals", every * pixels, jobs + len(frames)),
        disk=rounds * 5.0 * every * patches,
    )
    yield PlannedStage(
        "pseudo_masks",
        jobs=rounds * len(frames),
        core_seconds=rounds * _core_seconds("pseudo_masks", every * pixels, len(frames)),
        disk=0.3 * rounds * every * patches,
    )
    yield PlannedStage(
        "refine",
        jobs=rounds * len(frames),
        threads=config.compute.threads,
        core_seconds=rounds * _core_seconds("refine", every * pixels * config.refine.grabcut_scale**2 / 4, len(frames)),
        disk=0.05 * rounds * every * pixels,
    )


def _scores(config: RunConfig, sizes: dict[str, SplitSize]) -> Iterator[PlannedStage]:
    benchmark, model = config.benchmark, config.model
    backbone = backbone_sizes(config.features)
    operations = {"float32": 0.0}
    jobs, scored = 0, 0
    for name, inputs in product(config.data.of(use="test"), benchmark.inputs):
        windows = len(benchmark.methods) * sizes[name].clips
        work = Workload(1, inputs, benchmark.targets, motion=True, trains_renderer=False)
        operations["float32"] += windows * total(model_cost(model, work)).forward
        if backbone is not None:
            features = backbone_cost(backbone, work.views, model.grid**2).forward
            precision = config.features.precision
            operations[precision] = operations.get(precision, 0.0) + windows * features
        jobs += len(benchmark.methods)
        scored += windows * benchmark.targets
    shown = [name for name, split in config.data.splits.items() if split.use in ("test", "control")]
    jobs += len(shown) * (len(benchmark.mask_sources) + 2) + 1
    yield PlannedStage(
        "scores",
        jobs=jobs,
        gpus=min(1, config.compute.gpus),
        operations=operations,
        core_seconds=_core_seconds("scores", scored * model.image_size**2, jobs),
        disk=200.0 * scored,
    )
    yield PlannedStage("tables", jobs=2, core_seconds=2 * START_SECONDS, disk=5e6)


def _core_seconds(stage: str, pixels: float | int, jobs: int) -> float:
    return CORE_SECONDS[stage] * pixels / 1e6 + START_SECONDS * jobs
