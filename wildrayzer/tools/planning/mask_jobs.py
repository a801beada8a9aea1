"""Forecast of the stages from residuals to scores, which train nothing."""

from collections.abc import Iterator

from wildrayzer.config import RunConfig
from wildrayzer.datasets.table import load_table
from wildrayzer.models.cost.flops import Workload, model_cost, total
from wildrayzer.run.expected import ExpectedScores
from wildrayzer.run.row_specs import row_spec, takes_cameras
from wildrayzer.tools.planning.split_sizes import SplitSize
from wildrayzer.tools.planning.stage import START_SECONDS, PlannedStage, core_seconds
from wildrayzer.tools.planning.work import (
    DESCRIPTOR_WIDTH,
    backbone_cost,
    backbone_sizes,
    clustering_cost,
    load_seconds,
    lpips_cost,
    ssim_cost,
)

MaskJobs = list[tuple[str, str]]
"""(split, predictor), once for every round that makes them."""


def made_masks(expected: ExpectedScores) -> MaskJobs:
    """All pseudo-masks of a run: for training in every round, for scores in the last one."""
    trained = expected.cached_masks()[:1]
    return [*expected.cached_masks(), *trained * (expected.config.rounds - 1)]


def calibrations(expected: ExpectedScores) -> list[tuple[str, str]]:
    """(number of the round, predictor) of every calibration of the absolute test."""
    if not expected.config.learns_motion or expected.config.pseudo_masks.absolute_test == "off":
        return []
    rounds = expected.config.rounds
    last = {predictor for _, predictor in expected.cached_masks()}
    earlier = [(str(number), "renderer") for number in range(1, rounds)]
    return [*earlier, *((str(rounds), predictor) for predictor in sorted(last))]


def mask_stages(expected: ExpectedScores, sizes: dict[str, SplitSize]) -> Iterator[PlannedStage]:
    """Residuals, voting and refinement; none in a run of the static renderer alone."""
    config = expected.config
    if not config.learns_motion:
        return
    masks, calibrated = made_masks(expected), calibrations(expected)
    static = config.data.of(purpose="calibration")
    predicted = [*masks, *((split, predictor) for _, predictor in calibrated for split in static)]
    yield _residuals(config, predicted, sizes)
    pixels, patches = config.model.image_size**2, config.model.grid**2
    voted = sum(sizes[split].frames for split, _ in masks)
    yield PlannedStage(
        "pseudo_masks",
        jobs=len(masks) + len(calibrated),
        core_seconds=core_seconds("pseudo_masks", voted * pixels, len(masks) + len(calibrated)),
        disk=0.3 * voted * patches,
    )
    yield _refinement(config, [split for split, predictor in masks if predictor == "renderer"], sizes)


def _residuals(config: RunConfig, predicted: MaskJobs, sizes: dict[str, SplitSize]) -> PlannedStage:
    """Renderings, two passes of the backbone per frame, and on a GPU SSIM and clustering."""
    model, options, gpus = config.model, config.residuals, min(1, config.compute.gpus)
    frames = sum(sizes[split].frames for split, _ in predicted)
    rendered = sum(sizes[split].frames for split, predictor in predicted if predictor == "renderer")
    window = Workload(options.batch, options.inputs, options.targets, trains_renderer=False)
    render = rendered * total(model_cost(model, window)).forward / (options.batch * options.targets)
    operations: dict[str, float] = {options.precision: render}
    jobs = 2 * len(predicted) + config.rounds * (options.shards - 1)
    seconds = core_seconds("residuals", frames * model.image_size**2, jobs, gpus=gpus)
    backbone = backbone_sizes(config.features)
    if backbone is not None:
        _add(operations, config.features.precision, 2.0 * frames * backbone_cost(backbone, 1, model.grid**2).forward)
        seconds += (jobs - len(predicted)) * load_seconds(backbone, gpus)
    if gpus:
        width = DESCRIPTOR_WIDTH if backbone is None else backbone.width
        clusters = clustering_cost(options, model.grid**2, width).forward / options.targets
        _add(operations, "float32", frames * (clusters + ssim_cost(1, model.image_size).forward))
    return PlannedStage(
        "residuals",
        jobs=jobs,
        gpus=gpus,
        operations=operations,
        core_seconds=seconds,
        disk=5.0 * frames * model.grid**2,
    )


def _refinement(config: RunConfig, splits: list[str], sizes: dict[str, SplitSize]) -> PlannedStage:
    """With several shards that many jobs refine the training split before another one lists its masks."""
    shards = config.refine.shards
    jobs = len(splits) + (config.rounds * shards if shards > 1 else 0)
    pixels = sum(sizes[split].frames for split in splits) * config.model.image_size**2
    return PlannedStage(
        "refine",
        jobs=jobs,
        threads=config.compute.threads,
        core_seconds=core_seconds("refine", pixels * config.refine.grabcut_scale**2, jobs),
        disk=0.05 * pixels,
    )


def score_stages(expected: ExpectedScores, sizes: dict[str, SplitSize]) -> Iterator[PlannedStage]:
    """Scores of renderings and masks, tables and report; a clip counts as one window, as far as a published index has
    that many."""
    config, benchmark, model = expected.config, expected.config.benchmark, expected.config.model
    backbone, gpus = backbone_sizes(config.features), min(1, config.compute.gpus)
    operations: dict[str, float] = {}
    scored = loads = 0
    views = [*expected.view_jobs(), *expected.view_jobs(pictures=True)]
    for row, name, inputs in views:
        own, spec = benchmark.set_of(name), row_spec(row, benchmark)
        targets, windows = own.targets or benchmark.targets, _windows(config, name, inputs, sizes[own.split].clips)
        scored += windows * targets
        if spec.stage is None:
            continue
        work = Workload(1, inputs, targets, motion=spec.gate == "own", gate_only=True, trains_renderer=False)
        rendered = windows * _renderings(config, row, own.split)
        _add(operations, benchmark.precision, rendered * total(model_cost(model, work)).forward)
        if backbone is not None and spec.gate in ("own", "coseg"):
            head = model.motion_head
            passes = 1 + (spec.gate == "own" and head is not None and head.cross_residual)
            features = backbone_cost(backbone, passes * work.head_views, model.grid**2).forward
            _add(operations, config.features.precision, windows * features)
            loads += 1
    for name, split in expected.input_mask_jobs():
        if name in benchmark.masks:
            continue
        inputs = benchmark.inputs_of(split, name)[0]
        windows = _windows(config, split, inputs, sizes[split].clips)
        if name != "coseg":
            work = Workload(1, inputs, benchmark.targets, motion=True, gate_only=True, trains_renderer=False)
            _add(operations, "float32", windows * total(model_cost(model, work)).forward)
        if backbone is not None:
            features = backbone_cost(backbone, inputs, model.grid**2).forward
            _add(operations, config.features.precision, windows * features)
            loads += 1
    if gpus:
        # SSIM is in float64 here and counts as two of float32.
        _add(operations, "float32", scored * 2 * ssim_cost(1, model.image_size).forward)
        if benchmark.lpips_weights is not None:
            _add(operations, "float32", scored * lpips_cost(1, model.image_size).forward)
    jobs = (config.released is not None) + len(views) + len(expected.mask_jobs()) + len(expected.input_mask_jobs())
    jobs += len(expected.health_scores())
    seconds = core_seconds("scores", scored * model.image_size**2, jobs, gpus=gpus)
    yield PlannedStage(
        "scores",
        jobs=jobs,
        gpus=gpus,
        threads=1 if config.trains else config.compute.threads,
        operations=operations,
        core_seconds=seconds + loads * load_seconds(backbone, gpus),
        disk=200.0 * scored,
    )
    jobs = 1 + config.trains + len(expected.drawn_windows())
    yield PlannedStage("tables", jobs=jobs, core_seconds=jobs * START_SECONDS, disk=5e6)


def _renderings(config: RunConfig, row: str, split: str) -> int:
    """How often a row renders a window: with cameras that targets cannot leak into and with those of a twin as well."""
    if takes_cameras(row, config.benchmark):
        return 1
    return 1 + (config.model.camera_encoder != "pairwise") + (config.data.twin_of(split) is not None)


def _windows(config: RunConfig, name: str, inputs: int, clips: int) -> int:
    """Evaluation windows of a set: one per clip, or as many scenes as its index is published with."""
    table, index = load_table(config.data.sources), config.benchmark.set_of(name).index_file(inputs)
    at = None if index is None else table.at(index)
    scenes = None if at is None else table.source(at[0]).parts[at[1]].scenes
    return clips if scenes is None else min(clips, scenes)


def _add(operations: dict[str, float], precision: str, count: float) -> None:
    operations[precision] = operations.get(precision, 0.0) + count
