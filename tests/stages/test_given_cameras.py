"""A run whose network is given the true cameras: trained, resumed in mid-curriculum, scored, refused without them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config import load_config
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.evaluation.tables.scores import read_scores
from wildrayzer.io.files import read_json
from wildrayzer.run.row_specs import ROW_SPECS
from wildrayzer.stages.score_renderer import score_renderer_health
from wildrayzer.stages.score_views import ViewScoringJob, score_views
from wildrayzer.stages.train import train
from wildrayzer.training.data import open_data
from wildrayzer.training.job import TrainingJob
from wildrayzer.training.loop import Trainer
from wildrayzer.training.resume import StoppedEarlyError, StopRequest
from wildrayzer.training.validation import Validation

CONFIG = load_config(Path(__file__).parents[1] / "resources" / "lvsm.yaml")
pytestmark = pytest.mark.usefixtures("one_thread")


def write_store(path, *, cameras=True):
    rng = np.random.default_rng(0)
    with FrameStoreWriter(path, StoreForm(24, StoreConfig(), cameras=cameras)) as writer:
        for scene in range(4):
            c2w = np.tile(np.eye(4), (9, 1, 1))
            c2w[:, :3, 3] = rng.normal(size=(9, 3))
            posed = {"c2w": c2w, "intrinsics": np.tile([0.9, 1.1, 0.5, 0.5], (9, 1))} if cameras else {}
            writer.add_scene(f"s{scene}", rng.integers(0, 255, (9, 24, 24, 3), dtype=np.uint8), **posed)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores with and without cameras, and a network trained on the first."""
    made = tmp_path_factory.mktemp("given")
    write_store(made / "posed.zarr")
    write_store(made / "bare.zarr", cameras=False)
    train(job(made, made / "run"))
    return made


def job(stores, run, **changes):
    values = {
        "recipe": "pretrain", "seed": 0, "stage": CONFIG.stage("pretrain"), "model": CONFIG.model,
        "perceptual": CONFIG.perceptual, "device": "cpu", "threads": 1, "processes": 1, "preload_mb": 64,
        "static_store": str(stores / "posed.zarr"), "state": str(run / "state"),
        "checkpoint": str(run / "checkpoint"), "metrics": str(run / "metrics.jsonl"),
    }  # fmt: skip
    return TrainingJob(**{**values, **changes})


def test_a_run_stopped_in_mid_curriculum_ends_as_an_uninterrupted_one(folder, tmp_path, monkeypatch):
    after = Trainer._after_step

    def stop_after_two(self, done, metrics):
        if done == 2:
            monkeypatch.setattr(StopRequest, "reason", "the test asks")
        after(self, done, metrics)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_after_step", stop_after_two)
        with pytest.raises(StoppedEarlyError):
            train(job(folder, tmp_path))
    monkeypatch.undo()
    train(job(folder, tmp_path))
    first, second = (load_file(run / "checkpoint" / "model.safetensors") for run in (folder / "run", tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)
    manifest = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text())
    assert 0 < manifest["extra"]["summary"]["resumed_from"] < 4


def test_training_takes_the_true_cameras(folder):
    builder, *_ = open_data(job(folder, folder))
    (batch, _) = builder.build(0, rank=0, world=1)
    assert batch.cameras is not None
    assert batch.cameras.c2w.shape == (2, 5, 4, 4)
    assert batch.cameras.c2w[..., :3, 3].abs().max() <= 1 / 1.35 + 1e-6
    assert batch.images.shape[1] == 5


def scored(folder, out, store, row="lvsm"):
    paths = {name: out / f"{row}.{end}" for name, end in (("scores", "csv"), ("manifest", "json"), ("panels", "npz"))}
    score_views(
        ViewScoringJob(
            row=row, spec=ROW_SPECS["lvsm"], split="posed", inputs=2, store_path=folder / store,
            config=CONFIG.benchmark.for_set("static_test"), features=CONFIG.features,
            checkpoint_dir=folder / "run" / "checkpoint", **paths,
        )
    )  # fmt: skip
    return paths


def test_the_row_renders_with_the_true_cameras(folder, tmp_path):
    scores = read_scores([scored(folder, tmp_path, "posed.zarr")["scores"]])
    assert set(scores["method"]) == {"lvsm"}
    score_renderer_health(
        split="static_test", inputs=2, store_path=folder / "posed.zarr", checkpoint_dir=folder / "run" / "checkpoint",
        config=CONFIG.benchmark, out=tmp_path / "health.json",
    )  # fmt: skip
    health = read_json(tmp_path / "health.json")
    assert health["camera_r2"] is None, "nothing is predicted that could follow them"
    assert abs(health["figures"]["reordered"]["mean"]) < 1e-4, "no target's rendering depends on the others"
    psnr = scores[scores["metric"] == "psnr"].groupby("scene")["value"].mean().mean()
    assert health["figures"]["psnr"]["mean"] == pytest.approx(psnr, abs=1e-3)


def validation(store, pictures, *, at_once):
    return Validation(
        FrameStore(store),
        inputs=2,
        targets=3,
        min_distance=4,
        at_once=at_once,
        pictures=pictures,
        device=torch.device("cpu"),
    )


def test_validation_in_parts_gives_the_same_metrics(folder, tmp_path):
    model, _ = load_checkpoint(folder / "run" / "checkpoint")
    whole, parts = (
        validation(folder / "posed.zarr", tmp_path / str(size), at_once=size)(model, 1) for size in (100, 3)
    )
    assert parts == pytest.approx(whole, abs=1e-5)


def test_a_split_without_cameras_is_refused_by_name(folder, tmp_path):
    with pytest.raises(ValueError, match=r"bare\.zarr holds no cameras, which model\.cameras: given needs"):
        train(job(folder, tmp_path, static_store=str(folder / "bare.zarr")))
    model, _ = load_checkpoint(folder / "run" / "checkpoint")
    with pytest.raises(ValueError, match="the validation split has no cameras"):
        validation(folder / "bare.zarr", tmp_path, at_once=2)(model, 1)
    with pytest.raises(ValueError, match=r"other: .* true cameras .*bare\.zarr .*checkpoints\.other\.cameras: given"):
        scored(folder, tmp_path, "bare.zarr", row="other")


def test_cameras_are_normalised_over_the_views_drawn_and_not_again(folder):
    model, _ = load_checkpoint(folder / "run" / "checkpoint")
    builder, *_ = open_data(job(folder, folder))
    (batch, _) = builder.build(0, rank=0, world=1)
    with torch.no_grad():
        one, two = (model(batch.images, 2, cameras=batch.cameras, normalised=done).render for done in (True, False))
    # Not all drawn views are among the images, so that normalising again is something else, though not by much.
    assert not torch.equal(one, two)
    assert torch.allclose(one, two, atol=0.05)
