"""A training job: pretrain, distill, masked, joint, or the unmasked control. One process, or several under torchrun."""

import json
import logging
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from wildrayzer.checkpoint import load_checkpoint, read_manifest, save_checkpoint, write_checkpoint
from wildrayzer.config import FeaturesConfig, ModelConfig, PasteConfig, PerceptualConfig, StageConfig, WatchConfig
from wildrayzer.config.base import Section
from wildrayzer.config.model import MotionHeadConfig
from wildrayzer.data.paste import CutoutLibrary, paste
from wildrayzer.data.sampling import SampleSource
from wildrayzer.data.store import FrameStore
from wildrayzer.losses import build_perceptual
from wildrayzer.models import WildRayZer
from wildrayzer.models.transformer import compile_blocks
from wildrayzer.motion.backbones import build_backbone
from wildrayzer.motion.features import FeatureBackbone
from wildrayzer.provenance import digest_file, digest_json, write_bytes_atomic
from wildrayzer.training.batch import BatchBuilder
from wildrayzer.training.distributed import World, join_world
from wildrayzer.training.health import HealthCheck
from wildrayzer.training.labels import PseudoLabels
from wildrayzer.training.launch import end_with_parent, run_processes
from wildrayzer.training.loop import Trainer
from wildrayzer.training.objective import RECIPES, Objective
from wildrayzer.training.plan import BatchPlan
from wildrayzer.training.policy import fit_activations
from wildrayzer.training.sinks import open_sinks
from wildrayzer.training.stopping import StopRequest
from wildrayzer.training.validation import Validation

logger = logging.getLogger(__name__)

STAGE_VERSION = 3
"""Raised when a change of code changes what training gives."""


class TrainingJob(Section):
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


def train(job: TrainingJob) -> None:
    """Run a job to its end, in this process or under torchrun.

    Raises:
        ValueError: the job is for several nodes and this is no Slurm job of so many.
        StoppedEarlyError: walltime or pre-emption; run it again to go on.
        subprocess.CalledProcessError: a process of a torchrun job failed.
    """
    if job.processes == 1:
        _train_here(job)
        return
    path = Path(job.state).with_suffix(".job.json")
    write_bytes_atomic(path, job.model_dump_json(indent=2).encode())
    run_processes(
        "wildrayzer.stages.train",
        str(path),
        processes=job.processes // job.nodes,
        nodes=job.nodes,
        threads=job.threads,
    )


def _train_here(job: TrainingJob) -> None:
    with join_world(job.device, threads=job.threads) as world:
        model = _initial_model(job).to(world.device)
        backbone = _backbone(job, world)
        perceptual = build_perceptual(job.perceptual, device=world.device)
        recipe = RECIPES[job.recipe]
        objective = Objective(
            model=model,
            recipe=recipe,
            stage=job.stage,
            perceptual=perceptual,
            perceptual_weight=job.perceptual.weight,
            backbone=backbone,
        ).to(world.device)
        if job.activation_gb is not None:
            fit_activations(model, recipe, job.stage, processes=job.processes, budget=job.activation_gb * 1e9)
        if job.compile:
            compile_blocks(model)
        trainer = Trainer(
            objective=objective,
            stage=job.stage,
            builder=_builder(job),
            world=world,
            folder=Path(job.state),
            identity=identity(job),
            validate=_validation(job, model, world),
            stop=StopRequest(leave_at=job.leave_at),
            health=HealthCheck(job.watch.health, stage=job.recipe, steps=job.stage.steps),
            sinks=open_sinks(job.watch, Path(job.state), name=Path(job.state).name) if world.is_main else (),
        )
        summary = trainer.run()
        if world.is_main:
            _write_outputs(job, model, summary, backbone, perceptual.name)
        world.wait()


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


def adopt_pretrained(source: str, out: str, *, model: ModelConfig) -> None:
    """Copy the checkpoint of a static renderer into a run, after checking that it is whole and of the run's sizes.

    A renderer without motion head is given the run's, drawn anew and always alike, and keeps its other weights.

    Raises:
        ValueError: a broken checkpoint, or one of other sizes.
    """
    renderer, manifest = load_checkpoint(source, device="cpu")
    if renderer.config.motion_head is not None or model.motion_head is None:
        check_options(renderer.config, model, source)
        shutil.copytree(source, out, dirs_exist_ok=True)
        return
    check_options(renderer.config.model_copy(update={"motion_head": model.motion_head}), model, source)
    renewed = _with_new_head(renderer, model.motion_head, seed=0)
    about = manifest.model_dump(exclude={"stage", "model", "parent", "weights_digest", "versions"})
    parent = manifest.weights_digest
    write_checkpoint(out, renewed.state_dict(), stage="pretrain", model=renewed.config, parent=parent, **about)


def check_options(found: ModelConfig, wanted: ModelConfig, path: str) -> None:
    """Refuse a checkpoint of another network.

    Raises:
        ValueError: naming the options that differ.
    """
    ours, theirs = wanted.model_dump(), found.model_copy(update=_free(found, wanted)).model_dump()
    wrong = [
        f"model.{name} is {theirs[name]}, this run has {ours[name]}" for name in ours if ours[name] != theirs[name]
    ]
    if wrong:
        raise ValueError(
            f"{path} holds another network: {'; '.join(wrong)}; train from the stage before again, or set the "
            "`model` section as in its manifest.json"
        )


def _initial_model(job: TrainingJob) -> WildRayZer:
    if job.parent is None:
        torch.manual_seed(job.seed)
        return WildRayZer(job.model)
    model, _ = load_checkpoint(job.parent, device="cpu")
    if job.recipe == "distill" and model.config.motion_head != job.model.motion_head:
        model = _with_new_head(model, job.model.motion_head, seed=job.seed)
    check_options(model.config, job.model, job.parent)
    return _with_options(model, job.model)


def _with_new_head(model: WildRayZer, head: MotionHeadConfig | None, *, seed: int) -> WildRayZer:
    """The same renderer with another motion head, drawn from `seed`: an ablation's, or the first it has."""
    torch.manual_seed(seed)
    renewed = WildRayZer(model.config.model_copy(update={"motion_head": head}))
    renewed.load_state_dict({**renewed.state_dict(), **_renderer_state(model)})
    return renewed


def _renderer_state(model: WildRayZer) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("motion_head.")}


def _free(found: ModelConfig, wanted: ModelConfig) -> dict[str, object]:
    """Options that may differ from the parent's: they change speed, memory or the gate, not what weights there are."""
    free: dict[str, object] = {"attention": wanted.attention, "checkpoint_every": wanted.checkpoint_every}
    if found.motion_head is not None and wanted.motion_head is not None:
        free["motion_head"] = found.motion_head.model_copy(update={"threshold": wanted.motion_head.threshold})
    return free


def _with_options(model: WildRayZer, config: ModelConfig) -> WildRayZer:
    if model.config == config:
        return model
    renewed = WildRayZer(config)
    renewed.load_state_dict(model.state_dict())
    return renewed


def _backbone(job: TrainingJob, world: World) -> FeatureBackbone | None:
    head = job.model.motion_head
    if not RECIPES[job.recipe].uses_motion or head is None or not head.use_features:
        return None
    assert job.features is not None
    backbone = build_backbone(job.features, patch_size=job.model.patch_size, device=world.device)
    if backbone.width != head.feature_width:
        raise ValueError(
            f"model.motion_head.feature_width = {head.feature_width}, but {backbone.name} gives {backbone.width}; "
            f"set it to {backbone.width}"
        )
    return backbone


def _builder(job: TrainingJob) -> BatchBuilder:
    stage = job.stage
    static_store = FrameStore(job.static_store, preload_mb=job.preload_mb)
    static = SampleSource(static_store, stage.views, seed=job.seed)
    scenes = {"static": static.usable}
    dynamic = labels = None
    if job.uses_dynamic:
        assert job.dynamic_store is not None
        dynamic_store = FrameStore(job.dynamic_store, preload_mb=job.preload_mb)
        dynamic = SampleSource(dynamic_store, stage.dynamic_views or stage.views, seed=job.seed + 1)
        if job.masks:
            labels = PseudoLabels(
                job.masks, frames=dynamic_store.num_frames, preload_mb=job.preload_mb, residuals=job.residuals
            )
        scenes["dynamic"] = dynamic.usable
    return BatchBuilder(
        stage=stage,
        plan=BatchPlan(stage, scenes, seed=job.seed),  # type: ignore[arg-type]
        static=static,
        dynamic=dynamic,
        labels=labels,
        paste=_paster(job),
        grid=job.model.grid,
        seed=job.seed,
    )


def _paster(job: TrainingJob) -> partial[tuple[np.ndarray, np.ndarray]] | None:
    if job.stage.paste_share == 0.0:
        return None
    assert job.paste is not None
    assert job.cutout_annotations is not None
    assert job.cutout_images is not None
    library = CutoutLibrary.from_coco(
        job.cutout_annotations, job.cutout_images, config=job.paste, max_size=job.model.image_size
    )
    return partial(paste, library=library, config=job.paste)


def _validation(job: TrainingJob, model: WildRayZer, world: World) -> partial[dict[str, float]] | None:
    if job.validation_store is None or not world.is_main or not RECIPES[job.recipe].trains_renderer:
        return None
    views = job.stage.views
    check = Validation(
        FrameStore(job.validation_store),
        inputs=min(views.inputs),
        targets=views.targets,
        min_distance=views.min_distance,
        pictures=Path(job.state) / "pictures",
        device=world.device,
    )
    return partial(check, model)


def _write_outputs(
    job: TrainingJob, model: WildRayZer, summary: dict[str, object], backbone: FeatureBackbone | None, perceptual: str
) -> None:
    state = Path(job.state)
    Path(job.metrics).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(state / "metrics.jsonl", job.metrics)
    pictures = Path(job.metrics).parent / "pictures"
    if (state / "pictures").exists():
        shutil.copytree(state / "pictures", pictures, dirs_exist_ok=True)
    parent = read_manifest(job.parent) if job.parent else None
    inherited = parent.inputs if parent else ()
    save_checkpoint(
        job.checkpoint,
        model,
        stage=job.recipe,
        step=job.stage.steps,
        inputs=sorted({*inherited, *job.stage.views.inputs}),
        targets=job.stage.views.targets,
        config_digest=identity(job),
        parent=parent.weights_digest if parent else None,
        extra={
            "seed": job.seed,
            "features": backbone.name if backbone else None,
            "features_digest": backbone.digest if backbone else None,
            "perceptual": perceptual,
            "deviations": list(job.model.deviations),
            "summary": summary,
        },
        dtype=torch.bfloat16 if job.stage.precision == "bfloat16" else None,
    )
    logger.info("%s: %s", job.recipe, json.dumps(summary))


if __name__ == "__main__":
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    _train_here(TrainingJob.load(sys.argv[1]))
