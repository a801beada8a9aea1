"""A training job: pretrain, distill, masked, joint, or the unmasked control. One process, or several under torchrun."""

import contextlib
import json
import logging
import shutil
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wildrayzer.checkpoint import read_manifest, save_checkpoint
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.report import read_report, report_path
from wildrayzer.io.digests import digest_file
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.losses import build_perceptual
from wildrayzer.models import WildRayZer
from wildrayzer.models.transformer import compile_blocks
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.training.data import open_data
from wildrayzer.training.distributed import World, init_distributed
from wildrayzer.training.health import HealthCheck
from wildrayzer.training.job import Origin, TrainingJob, former_identity, identity, rounding
from wildrayzer.training.launch import end_with_parent, run_processes
from wildrayzer.training.logging import open_sinks
from wildrayzer.training.loop import Trainer
from wildrayzer.training.objective import RECIPES, Objective, fit_activations
from wildrayzer.training.resume import ResumeFolder, StoppedEarlyError, StopRequest
from wildrayzer.training.starting_weights import initial_model
from wildrayzer.training.validation import Validation

logger = logging.getLogger(__name__)


def train(job: TrainingJob) -> None:
    """Run a job to its end, in this process or under torchrun.

    Raises:
        ValueError: the job is for several nodes and this is no Slurm job of so many.
        StoppedEarlyError: walltime or pre-emption; run it again to resume.
        subprocess.CalledProcessError: a process of a torchrun job failed.
    """
    if job.processes == 1:
        _train_here(job)
        return
    path = Path(job.state).with_suffix(".job.json")
    write_bytes_atomic(path, job.model_dump_json(indent=2).encode())
    failure = _failure_file(path)
    failure.unlink(missing_ok=True)
    try:
        run_processes(
            "wildrayzer.stages.train",
            str(path),
            processes=job.processes // job.nodes,
            nodes=job.nodes,
            threads=job.threads,
        )
    except subprocess.CalledProcessError as error:
        if failure.exists():  # not if the process was killed
            error.add_note(f"The process that failed first:\n{failure.read_text(encoding='utf-8')}")
        raise


def _failure_file(job_file: Path) -> Path:
    """Where the first of several processes that fails says why: their output goes to the terminal or to Slurm's log."""
    return job_file.with_suffix(".failure.txt")


def _train_here(job: TrainingJob) -> None:
    with init_distributed(job.device, threads=job.threads) as world:
        batches, digests, parts = open_data(job)
        data_sets = _data_sets(job)  # read first: a damaged report must not end a training that is done
        job_identity = identity(job, digests)
        model = initial_model(job).to(world.device)
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
            builder=batches,
            world=world,
            folder=Path(job.state),
            identity=job_identity,
            former_identity=former_identity(job, digests),
            rounding=rounding(job),
            origin=Origin.of(job, parts),
            continues=job.continues,
            validate=_validation(job, model, world),
            stop=StopRequest(deadline=job.deadline),
            health=HealthCheck(job.watch.health, stage=job.recipe, steps=job.stage.steps),
            sinks=open_sinks(job.watch, Path(job.state), name=Path(job.state).name) if world.is_main else (),
        )
        summary = trainer.run()
        if world.is_main:
            _write_outputs(job, model, summary, backbone, perceptual.name, trainer.resume, data_sets)
        world.barrier()


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


def _validation(job: TrainingJob, model: WildRayZer, world: World) -> partial[dict[str, float]] | None:
    if job.validation_store is None or not world.is_main or not RECIPES[job.recipe].trains_renderer:
        return None
    views = job.stage.views
    check = Validation(
        FrameStore(job.validation_store),
        inputs=min(views.inputs),
        targets=views.targets,
        min_distance=views.min_distance,
        at_once=job.stage.micro_batch,
        pictures=Path(job.state) / "pictures",
        device=world.device,
    )
    return partial(check, model)


def _data_sets(job: TrainingJob) -> list[dict[str, Any]]:
    """What the job trained on, for the manifest: splits, their sizes and digests, and where they come from.

    Absolute paths are left out: manifests are uploaded to hubs.
    """
    found = []
    for path in filter(None, (job.static_store, job.dynamic_store if job.uses_dynamic else None)):
        store, report = FrameStore(path), report_path(path)
        origin: dict[str, Any] = {}
        if report.is_file():
            origin = read_report(report).model_dump(include={"layout", "path"}, exclude_unset=True)
        if Path(origin.get("path", "")).is_absolute():
            del origin["path"]
        found.append(
            {
                "split": Path(path).stem,
                "clips": len(store),
                "frames": store.num_frames,
                "digest": store.digest,
                **origin,
            }
        )
    return found


def _write_outputs(
    job: TrainingJob,
    model: WildRayZer,
    summary: dict[str, object],
    backbone: FeatureBackbone | None,
    perceptual: str,
    resume: ResumeFolder,
    data_sets: list[dict[str, Any]],
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
        config_digest=resume.digest,
        parent=parent.weights_digest if parent else None,
        extra={
            "seed": job.seed,
            "features": backbone.name if backbone else None,
            "features_digest": backbone.digest if backbone else None,
            "perceptual": perceptual,
            "rounding": resume.history,
            **({"continued": resume.continued} if resume.continued else {}),
            "deviations": list(job.model.deviations),
            "data": data_sets,
            "summary": summary,
            "metrics_digest": digest_file(job.metrics),
        },
        dtype=torch.bfloat16 if job.stage.precision == "bfloat16" else None,
    )
    logger.info("%s: %s", job.recipe, json.dumps(summary))


if __name__ == "__main__":
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    job_file = Path(sys.argv[1])
    try:
        _train_here(TrainingJob.load(sys.argv[1]))
    except StoppedEarlyError:
        raise
    except Exception:
        with contextlib.suppress(FileExistsError), _failure_file(job_file).open("x", encoding="utf-8") as stream:
            traceback.print_exc(file=stream)
        raise
