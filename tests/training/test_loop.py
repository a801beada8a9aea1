"""The loop on tiny stores: gradients, resume, two processes, stopping, broken numbers."""

import copy
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from wildrayzer.checkpoint import load_checkpoint, read_manifest
from wildrayzer.config import CropPretextConfig, load_config
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.report import report_path
from wildrayzer.models import attention
from wildrayzer.stages.prepare import make_embedded, prepare_split
from wildrayzer.stages.train import train
from wildrayzer.training.data import open_data
from wildrayzer.training.job import TrainingJob
from wildrayzer.training.loop import Trainer
from wildrayzer.training.optimizer import NonFiniteGradientError
from wildrayzer.training.resume import StoppedEarlyError, StopRequest
from wildrayzer.training.starting_weights import initial_model

CONFIG = load_config(Path(__file__).parents[1] / "resources" / "tiny.yaml")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for name in ("static_train", "static_test"):
        make_embedded(CONFIG.data.embedded, image_size=24, split=name, out_dir=folder / "raw" / name)
        prepare_split(
            CONFIG.data.splits[name],
            folder / "raw" / name,
            folder / f"{name}.zarr",
            image_size=24,
            store=CONFIG.data.store,
        )
    return folder


def job(stores, folder, **changes):
    stage = CONFIG.stage("pretrain").model_copy(update=changes.pop("stage", {}))
    values = {
        "recipe": "pretrain", "seed": 0, "stage": stage, "model": CONFIG.model, "features": CONFIG.features,
        "perceptual": CONFIG.perceptual, "paste": CONFIG.paste, "device": "cpu", "threads": 1, "processes": 1,
        "preload_mb": 64, "static_store": str(stores / "static_train.zarr"),
        "validation_store": str(stores / "static_test.zarr"), "state": str(folder / "state"),
        "checkpoint": str(folder / "checkpoint"), "metrics": str(folder / "metrics.jsonl"),
    }  # fmt: skip
    return TrainingJob(**{**values, **changes})


def weights(folder):
    return load_file(folder / "checkpoint" / "model.safetensors")


def losses(folder):
    records = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "train"]


def test_killed_and_resumed_run_ends_bit_identical(stores, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(job(stores, straight))
    path = broken / "job.json"
    path.parent.mkdir()
    slow = job(stores, broken)
    path.write_text(slow.model_dump_json())
    child = (
        "import os, signal, sys; from wildrayzer.training import loop; from wildrayzer.stages.train import *\n"
        "after = loop.Trainer._after_step\n"
        "def fatal(self, done, figures):\n"
        "    after(self, done, figures)\n"
        "    if done == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop.Trainer._after_step = fatal\n"
        "train(TrainingJob.load(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", child, str(path)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (broken / "checkpoint").exists()
    train(slow)
    first, second = weights(straight), weights(broken)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses(straight) == losses(broken)
    manifest = json.loads((broken / "checkpoint" / "manifest.json").read_text())
    assert manifest["extra"]["summary"]["resumed_from"] == 2
    (data,) = manifest["extra"]["data"]
    store = FrameStore(slow.static_store)
    assert data == {
        "split": "static_train", "clips": len(store), "frames": store.num_frames, "digest": store.digest,
        "layout": "embedded",
    }  # fmt: skip


def test_a_damaged_data_report_is_refused_before_training(stores, tmp_path):
    copied = shutil.copytree(stores, tmp_path / "frames")
    report = report_path(copied / "static_train.zarr")
    report.write_text(report.read_text().replace('"layout"', '"layouts"'))
    with pytest.raises(ValueError, match=report.name):
        train(job(copied, tmp_path / "run"))
    assert not (tmp_path / "run" / "state" / "metrics.jsonl").exists()


def test_distillation_standardises_a_new_convolutional_head_and_a_later_stage_keeps_its_constants(stores, tmp_path):
    options = CONFIG.model.motion_head.model_copy(update={"kind": "convolutional"})
    new = {"recipe": "distill", "model": CONFIG.model.model_copy(update={"motion_head": options})}
    first = job(stores, tmp_path / "first", stage={"steps": 1}, **new)
    train(first)
    head = load_checkpoint(first.checkpoint)[0].motion_head
    assert head.standardised
    assert (head.input_mean != 0).all()
    later = job(stores, tmp_path / "later", stage={"steps": 1}, parent=first.checkpoint, seed=1, **new)
    train(later)
    assert torch.equal(load_checkpoint(later.checkpoint)[0].motion_head.input_mean, head.input_mean)


def stopped_at_half(stores, folder):
    """A run of `job(stores, folder)` that stops after step 2 of 6."""

    half = job(stores, folder)
    with pytest.MonkeyPatch.context() as patched:
        after = Trainer._after_step

        def stop_after_two(self, done, metrics):
            if done == 2:
                patched.setattr(StopRequest, "reason", "the test asks")
            after(self, done, metrics)

        patched.setattr(Trainer, "_after_step", stop_after_two)
        with pytest.raises(StoppedEarlyError):
            train(half)
    return half


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        ({"stage": {"workers": 1, "log_every": 1, "save_every": 5, "validate_every": 2}, "preload_mb": 0}, True),
        ({"stage": {"micro_batch": 4}, "threads": 2}, False),
    ],
    ids=["speed and observation", "rounding"],
)
def test_a_run_continues_with_other_options_that_do_not_decide_its_result(stores, tmp_path, caplog, changes, exact):
    train(job(stores, tmp_path / "straight"))
    stopped_at_half(stores, tmp_path / "changed")
    train(job(stores, tmp_path / "changed", **copy.deepcopy(changes)))
    straight, continued = weights(tmp_path / "straight"), weights(tmp_path / "changed")
    manifest = json.loads((tmp_path / "changed" / "checkpoint" / "manifest.json").read_text(encoding="utf-8"))
    resumed = manifest["extra"]["summary"]["resumed_from"]
    assert resumed > 0
    steps = [one["step"] for one in manifest["extra"]["rounding"]]
    if exact:
        assert all(torch.equal(straight[name], continued[name]) for name in straight)
        assert steps == [0]
    else:
        assert all(torch.allclose(straight[name], continued[name], rtol=0, atol=1e-5) for name in straight)
        assert steps == [0, resumed]
        assert "micro_batch: 2 → 4" in caplog.text
        assert "threads: 1 → 2" in caplog.text
    assert not list((tmp_path / "changed").glob("state.stale-*"))


def test_a_run_with_another_option_that_decides_its_result_starts_again(stores, tmp_path):
    stopped_at_half(stores, tmp_path)
    train(job(stores, tmp_path, stage={"learning_rate": 2e-3}))
    manifest = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["extra"]["summary"]["resumed_from"] == 0
    assert (tmp_path / "state.stale-0").is_dir()


def test_two_processes_follow_the_curve_of_one(stores, tmp_path):
    options = {"stage": {"steps": 20, "log_every": 1, "save_every": 20, "validate_every": 20}}
    train(job(stores, tmp_path / "one", **options))
    train(job(stores, tmp_path / "two", processes=2, **options))
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-5)


def test_the_error_of_one_of_several_processes_is_that_of_the_job(stores, tmp_path):
    short = FrameStore(stores / "static_test.zarr").length(0) + 1
    views = CONFIG.stage("pretrain").views.model_copy(update={"min_distance": short, "max_distance": short})
    made = job(stores, tmp_path, stage={"views": views}, processes=2, static_store=str(stores / "static_train.zarr"))
    with pytest.raises(subprocess.CalledProcessError) as raised:
        train(made)
    assert re.search(r"ValueError: .*views\.min_distance = \d+", "".join(raised.value.__notes__))


def test_draws_of_a_step_do_not_depend_on_how_the_batch_is_divided(stores, tmp_path):
    options = {"batch": 4, "token_mask_share": 0.2, "crop_pretext": CropPretextConfig(steps=5)}
    (whole,) = open_data(job(stores, tmp_path, stage=options | {"micro_batch": 4}))[0].build(3, rank=0, world=1)
    split, *_ = open_data(job(stores, tmp_path, stage=options | {"micro_batch": 1}))
    for rank in (0, 1):
        for number, part in enumerate(split.build(3, rank=rank, world=2)):
            place = rank + 2 * number
            for name in ("images", "token_mask", "crop_views", "crop_offsets"):
                assert torch.equal(getattr(part, name)[0], getattr(whole, name)[place]), name
    assert split.build(5, rank=0, world=1)[0].crop_views is None


def test_two_processes_follow_the_curve_of_one_with_token_masks_and_crops(stores, tmp_path):
    stage = {"steps": 4, "log_every": 1, "save_every": 4, "validate_every": 4, "token_mask_share": 0.2}
    stage |= {"crop_pretext": CropPretextConfig(steps=4)}
    train(job(stores, tmp_path / "one", stage=stage))
    train(job(stores, tmp_path / "two", stage=stage | {"micro_batch": 1}, processes=2))
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-5)


def test_a_request_to_stop_sent_to_all_processes_of_a_job_saves_a_state(stores, tmp_path):
    """As a cluster sends it: to the workers of the loader too, whose death would end the step."""
    path = tmp_path / "job.json"
    path.write_text(job(stores, tmp_path, stage={"steps": 500, "workers": 2, "save_every": 500}).model_dump_json())
    child = (
        "import os, signal, sys; from wildrayzer.training import loop; from wildrayzer.stages.train import *\n"
        "after = loop.Trainer._after_step\n"
        "def request(self, done, figures):\n"
        "    after(self, done, figures)\n"
        "    if done == 3: os.killpg(0, signal.SIGTERM)\n"
        "loop.Trainer._after_step = request\n"
        "train(TrainingJob.load(sys.argv[1]))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", child, str(path)], capture_output=True, text=True, check=False, start_new_session=True
    )
    assert "signal SIGTERM" in asked.stderr
    assert [state.name for state in (tmp_path / "state").glob("step-*.pt")] == ["step-000000004.pt"]


def test_the_main_process_chooses_the_state_of_all(stores, tmp_path):
    """The second process lists the folder as it was before the newest state."""
    last = job(stores, tmp_path, stage={"steps": 4})
    train(last)
    (tmp_path / "job.json").write_text(last.model_dump_json())
    child = (
        "import sys; from wildrayzer.stages import train as stage; from wildrayzer.training import loop, resume\n"
        "states = resume.ResumeFolder._states\n"
        "def run(self):\n"
        "    if self.world.rank: resume.ResumeFolder._states = lambda self: states(self)[:1]\n"
        "    sys.exit(f'{self.world.rank}: {self._restore()}')\n"
        "loop.Trainer.run = run\n"
        "stage._train_here(stage.TrainingJob.load(sys.argv[1]))"
    )
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        around = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(one.getsockname()[1]), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", child, str(tmp_path / "job.json")],
            env=around | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [process.communicate(timeout=120)[1].splitlines()[-1] for process in processes] == ["0: 4", "1: 4"]


def test_accumulation_does_not_change_the_step(stores, tmp_path):
    options = {"steps": 3, "log_every": 1}
    train(job(stores, tmp_path / "split", stage={**options, "micro_batch": 1}))
    train(job(stores, tmp_path / "whole", stage={**options, "micro_batch": 4}))
    np.testing.assert_allclose(losses(tmp_path / "split"), losses(tmp_path / "whole"), atol=1e-5)


def test_walltime_saves_and_a_rerun_finishes(stores, tmp_path):
    with pytest.raises(StoppedEarlyError, match=r"stopped after step 1 of 6 .*walltime.*run the same command again"):
        train(job(stores, tmp_path, deadline=time.time()))
    train(job(stores, tmp_path))
    manifest = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text())
    assert manifest["extra"]["summary"]["resumed_from"] == 1


def test_a_broken_number_stops_the_run_and_leaves_the_batch(stores, tmp_path, monkeypatch):
    from wildrayzer.training.objective import Objective

    whole = Objective.forward

    def poisoned(self, batch, step):
        loss, figures = whole(self, batch, step)
        return (loss * float("nan"), figures) if step == 3 else (loss, figures)

    monkeypatch.setattr(Objective, "forward", poisoned)
    with pytest.raises(NonFiniteGradientError, match="gradient norm nan at step 3"):
        train(job(stores, tmp_path))
    parts = torch.load(tmp_path / "state" / "non-finite-step-3-rank-0.pt", weights_only=True)
    assert parts[0]["images"].shape == (2, 4, 3, 24, 24)
    assert (tmp_path / "state" / "step-000000002.pt").exists()


def test_gradient_norms_over_the_limit_skip_the_update(stores, tmp_path):
    train(job(stores, tmp_path, stage={"skip_norm": 1e-9}))
    manifest = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text())
    assert manifest["extra"]["summary"]["skipped_updates"] == 6
    start = initial_model(job(stores, tmp_path)).state_dict()
    assert all(torch.equal(start[name], value) for name, value in weights(tmp_path).items())


@pytest.mark.parametrize(("precision", "kernel"), [("bfloat16", "xformers"), ("float32", "sdpa")])
def test_the_manifest_names_the_kernel_of_training(stores, tmp_path, monkeypatch, precision, kernel):
    monkeypatch.setattr(
        attention, "_probe_xformers", lambda device, dtype, width: None if dtype == torch.bfloat16 else "no"
    )
    monkeypatch.setattr(attention, "_xformers_attend", lambda q, k, v, scale: attention.attend(q, k, v, scale=scale))
    model = CONFIG.model.model_copy(update={"attention": "auto"})
    attention.resolve_kernel.cache_clear()
    train(job(stores, tmp_path, model=model, validation_store=None, stage={"steps": 1, "precision": precision}))
    attention.resolve_kernel.cache_clear()
    assert read_manifest(tmp_path / "checkpoint").attention_kernel == kernel


def test_another_network_is_refused_by_name(stores, tmp_path):
    train(job(stores, tmp_path / "parent"))
    other = CONFIG.model.model_copy(update={"scene_tokens": 5})
    with pytest.raises(ValueError, match=r"another network: model.scene_tokens is 4, this run has 5"):
        train(job(stores, tmp_path / "child", model=other, parent=str(tmp_path / "parent" / "checkpoint")))


def test_batches_are_a_function_of_the_step(stores, tmp_path):
    (builder, *_), (again, *_) = (open_data(job(stores, tmp_path)) for _ in range(2))
    for step in (0, 1, 4):
        builder.build(step, rank=0, world=1)
    (first, *_), (second, *_) = builder.build(2, rank=0, world=1), again.build(2, rank=0, world=1)
    assert torch.equal(first.images, second.images)
    assert first.num_inputs == 2
