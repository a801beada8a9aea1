"""Forecast of each stage of a run: operations, core-seconds and bytes that stay on disk."""

from collections.abc import Iterator

from wildrayzer.config import RunConfig, StageConfig
from wildrayzer.models.cost.flops import Workload, model_cost, total
from wildrayzer.models.cost.parameters import parameter_counts
from wildrayzer.run.expected import ExpectedScores
from wildrayzer.run.layout import RunLayout
from wildrayzer.tools.planning.mask_jobs import calibrations, made_masks, mask_stages, score_stages
from wildrayzer.tools.planning.split_sizes import SplitSize
from wildrayzer.tools.planning.stage import START_SECONDS, STORED, PlannedStage, core_seconds
from wildrayzer.tools.planning.work import backbone_cost, backbone_sizes, load_seconds, vgg19_cost
from wildrayzer.training.objective import RECIPES, workload

_POSES = ("image tokenizer", "camera encoder", "camera head")
"""Parts of the network that the crop pretext runs; with given cameras there are none."""
RESUME_STATES = 2
"""Number of resume states that are kept."""


def planned_stages(config: RunConfig, sizes: dict[str, SplitSize]) -> list[PlannedStage]:
    """All stages in the order of the data, without those of ablations."""
    expected = ExpectedScores(config, RunLayout(config.name))
    return [*_data(expected, sizes), *_training(config), *mask_stages(expected, sizes), *score_stages(expected, sizes)]


def training_operations(config: RunConfig, recipe_name: str, stage: StageConfig) -> float:
    """Operations of a training stage: network, perceptual loss, features and crop pretext."""
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
            looks = 1 + head.cross_residual  # of the views, and of what the other views predict of them
            step += backbone_cost(sizes, micro * looks * work.head_views, model.grid**2).forward
        operations += step / len(stage.views.inputs)
    pair = model_cost(model, Workload(batch=micro, inputs=1, targets=1))
    pretext = total({part: pair[part] for part in _POSES if part in pair}).total
    return passes * operations + pretext * min(stage.crop_pretext.steps, stage.steps) * stage.batch / micro


def _data(expected: ExpectedScores, sizes: dict[str, SplitSize]) -> Iterator[PlannedStage]:
    config = expected.config
    pixels = config.model.image_size**2
    embedded = [name for name, split in config.data.splits.items() if split.layout == "embedded"]
    if embedded:
        made = sum(sizes[name].frames for name in embedded) * pixels
        jobs = len(embedded) + (config.data.coco.annotations is None)
        yield PlannedStage(
            "sources", jobs=jobs, threads=config.compute.threads, disk=1.0 * made,
            core_seconds=core_seconds("sources", made, jobs),
        )  # fmt: skip
    kept = sum(size.frames for size in sizes.values()) * pixels
    windows = {split for split, _ in made_masks(expected)}
    if calibrations(expected):
        windows |= set(config.data.of(purpose="calibration"))
    jobs = len(sizes) + len(windows)
    store, splits = config.data.store, config.data.splits
    stored = sum(size.frames * STORED[store.codec(splits[name].purpose)] for name, size in sizes.items()) * pixels
    yield PlannedStage("frames", jobs=jobs, disk=3.0 * stored, core_seconds=core_seconds("frames", kept, jobs))


def _training(config: RunConfig) -> Iterator[PlannedStage]:
    stages = {name: config.stage(name) for name in config.training_stages}
    if "unmasked" in config.benchmark.methods:
        stages["unmasked"] = config.stage("unmasked")
    counts = parameter_counts(config.model)
    everything, head = sum(counts.values()), counts.get("motion head", 0)
    for name, stage in stages.items():
        if stage is None:
            continue
        if name == "pretrain" and config.pretrained is not None:
            yield PlannedStage(name, jobs=1, core_seconds=START_SECONDS, disk=4.0 * everything)
            continue
        trained = (everything - head) * RECIPES[name].trains_renderer + head * RECIPES[name].trains_motion
        rounds = 1 if name in ("pretrain", "unmasked") else config.rounds
        backbone = backbone_sizes(config.features) if RECIPES[name].uses_motion else None
        waits = load_seconds(backbone, config.compute.gpus)
        yield PlannedStage(
            name,
            jobs=rounds,
            gpus=config.compute.gpus,
            threads=stage.threads or config.compute.threads,
            operations={stage.precision: rounds * training_operations(config, name, stage)},
            core_seconds=rounds * (START_SECONDS + waits),
            disk=rounds * 4.0 * (everything + RESUME_STATES * (everything + 2 * trained)),
            samples=1.0 * rounds * stage.steps * stage.batch,
        )
