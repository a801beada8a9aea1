"""Watching a run: health checks, sinks, camera plots, updates that the device decides on, and the memory policy."""

import json
import logging
import os
import sys
import types

import numpy as np
import pytest
import torch

from tests.training.test_loop import CONFIG, job, losses, stores, weights  # noqa: F401
from wildrayzer.config import HealthConfig, StageConfig, ViewsConfig, WatchConfig
from wildrayzer.stages.train import train
from wildrayzer.training.batch import Batch
from wildrayzer.training.distributed import World
from wildrayzer.training.health import HealthCheck, UnhealthyError, derived_metrics
from wildrayzer.training.logging import MetricsLog, open_sinks, read_metrics
from wildrayzer.training.optimizer import NonFiniteGradientError, OptimizerStep
from wildrayzer.training.validation import draw_camera_paths

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


def check(steps=10, **options):
    return HealthCheck(HealthConfig(**options), stage="pretrain", steps=steps)


def healthy():
    return {"above_nearest": 2.0, "above_mean": 5.0, "pose_use": 1.0, "camera_spread": 0.1}


def test_health_is_judged_from_its_step_on_and_says_what_to_do(caplog):
    judge = check(by=0.5)
    judge.see("validation", healthy() | {"pose_use": 0.01})
    assert judge.failures(4) == {}
    assert judge.failures(5) == {"pose_use": 0.01}
    assert "pretrain, step 5 of 10: it ignores the poses: pose_use is 0.01, at least 0.1 is expected by" in caplog.text
    assert "(watch.health.pose_use). If the next validation repeats this, look at the pictures" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING
    judge.see("validation", healthy())
    assert judge.failures(6) == {}


def test_collapsed_cameras_are_a_matter_of_the_learning_rate(caplog):
    judge = check(by=0.5)
    judge.see("validation", healthy() | {"camera_spread": 2e-7})
    assert judge.failures(5) == {"camera_spread": 2e-7}
    assert "start the stage again with half its learning_rate" in caplog.text


def test_the_strongest_shortcut_is_compared_with_at_the_end_only(caplog):
    judge = check(by=0.5)
    judge.see("validation", healthy() | {"above_nearest": -0.4})
    assert judge.failures(9) == {}
    assert judge.failures(10) == {"above_nearest": -0.4}
    assert "a copy of the nearest input view: above_nearest is -0.4" in caplog.text
    assert "(watch.health.above_nearest). Look at the pictures" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("above_nearest", -0.1), ("above_mean", 0.5), ("camera_spread", 0.0), ("pose_use", float("nan")),
     ("masked_tokens", 0.95), ("past_filter", 0.01), ("calibration", -0.4)],
)  # fmt: skip
def test_each_figure_has_a_limit(name, value):
    judge = check(by=0.1)
    judge.see("validation", healthy())
    assert judge.failures(10) == {}
    judge.see("validation", {name: value})
    assert list(judge.failures(10)) == [name]


def test_noisy_figures_are_averaged_over_ten_records():
    judge = check(calibration=0.2)
    for value in [*[0.0] * 9, 1.0]:
        judge.see("train", {"calibration": value})
    assert judge.failures(10) == {}
    for _ in range(9):
        judge.see("train", {"calibration": 0.5})
    assert judge.failures(10) == {"calibration": pytest.approx(0.55)}
    assert check(by=None).failures(10) == {}


def test_a_run_that_was_stopped_is_judged_by_what_it_had_seen(tmp_path):
    log, judge = MetricsLog(tmp_path / "metrics.jsonl"), check(by=0.1)
    for step, tokens in ((2, 0.93), (4, 1.0 - 1 / 30)):
        judge.see("train", log.write("train", step, {"masked_tokens": tokens}))
        judge.see("validation", log.write("validation", step, {"pose_use": tokens - 0.9}))
    before = judge.failures(4)
    log.write("health", 4, before)
    log.write("train", 6, {"masked_tokens": 0.0})
    again = check(by=0.1)
    again.recall(MetricsLog(tmp_path / "metrics.jsonl").truncate(4))
    assert before == again.failures(4) == {"masked_tokens": pytest.approx(0.948334), "pose_use": 0.0666667}


def test_derived_metrics_by_hand():
    figures = derived_metrics(
        {"loss": 1.0, "dynamic_views": 0.5, "passing_views": 0.2, "mean_probability": 0.3, "mean_label": 0.1}
    )
    assert figures["past_filter"] == pytest.approx(0.4)
    assert figures["calibration"] == pytest.approx(0.2)
    assert not {"dynamic_views", "passing_views"} & set(figures)
    assert "past_filter" not in derived_metrics({"dynamic_views": 0.0, "passing_views": 0.0})


def test_views_past_the_filter_are_counted_among_the_dynamic_ones():
    views = torch.zeros(2, 4, 3, 2, 2)
    batch = Batch(
        images=views,
        truth=views[:, 2:],
        motion=views[:, :, :1],
        supervised=torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]]),
        gate=views[:, 2:, :1],
        dynamic=torch.tensor([False, True]),
    )
    assert {name: value.item() for name, value in batch.filter_metrics().items()} == {
        "dynamic_views": 0.5,
        "passing_views": 0.125,
    }


def test_an_unhealthy_run_stops_if_asked_and_keeps_its_last_state(stores, tmp_path):  # noqa: F811
    watch = WatchConfig(health=HealthConfig(by=0.5, stop=True, above_mean=90.0))
    with pytest.raises(UnhealthyError, match=r"pretrain stopped at step 3 of 6, it fails its health check: above_mean"):
        train(job(stores, tmp_path, watch=watch))
    state = tmp_path / "state"
    assert sorted(path.name for path in state.glob("step-*.pt")) == ["step-000000002.pt"]
    records = [json.loads(line) for line in (state / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "health"] == [3]
    assert (state / "pictures" / "cameras-000000003.png").is_file()
    assert (state / "pictures" / "validation-000000003.png").is_file()
    # how a run is watched is no part of what it is: without the check it goes on from the same state
    train(job(stores, tmp_path))
    manifest = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text())
    assert manifest["extra"]["summary"]["resumed_from"] == 2


@pytest.mark.parametrize("every", [1, 2])
def test_checkpointing_does_not_change_the_loss_curve(stores, tmp_path, every):  # noqa: F811
    options = {"stage": {"steps": 5, "log_every": 1, "save_every": 5, "validate_every": 5}}
    deep = {"camera_blocks": 2, "decoder_blocks": 3}
    for name, policy in (("kept", 0), ("again", every)):
        model = CONFIG.model.model_copy(update=deep | {"checkpoint_every": policy})
        train(job(stores, tmp_path / name, model=model, **options))
    assert losses(tmp_path / "kept") == losses(tmp_path / "again")
    kept, again = weights(tmp_path / "kept"), weights(tmp_path / "again")
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_an_activation_budget_sets_the_policy_and_too_small_a_one_is_refused(stores, tmp_path, caplog):  # noqa: F811
    caplog.set_level(logging.INFO)
    options = {"stage": {"steps": 1}}
    train(job(stores, tmp_path / "kept", **options))
    train(job(stores, tmp_path / "small", activation_gb=0.0006, **options))
    assert "activations within 0.0006 GB: recompute" in caplog.text
    first, second = weights(tmp_path / "kept"), weights(tmp_path / "small")
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ValueError, match=r"compute.activation_gb = 1e-06.*lower micro_batch or raise the budget"):
        train(job(stores, tmp_path / "none", activation_gb=1e-6, **options))


def updates(lags, **options):
    stage = StageConfig(steps=10, batch=1, micro_batch=1, warmup=0, views=ViewsConfig(targets=1), **options)
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(3, 2))
    return weight, OptimizerStep([weight], stage=stage, world=ALONE, lags=lags)


def take(weight, made, step, scale=1.0, *, stop=False):
    made.begin(step)
    weight.grad = torch.linspace(-1, 1, 6).view(3, 2) * scale
    return made.finish(step, [], stop_requested=stop)


@pytest.mark.parametrize("lags", [False, True])
def test_updates_are_those_of_plain_adamw_to_the_bit(lags):
    weight, made = updates(lags, weight_decay=0.1, clip=0.5)
    plain = torch.nn.Parameter(weight.detach().clone())
    reference = torch.optim.AdamW([plain], lr=4e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    for step in range(4):
        norm = take(weight, made, step)
        reference.param_groups[0]["lr"] = made.optimizer.param_groups[0]["lr"]
        plain.grad = torch.linspace(-1, 1, 6).view(3, 2)
        assert torch.nn.utils.clip_grad_norm_([plain], 0.5) == norm
        reference.step()
    assert torch.equal(weight, plain)


@pytest.mark.parametrize("lags", [False, True])
def test_a_skipped_update_leaves_weights_moments_and_count(lags):
    weight, made = updates(lags, skip_norm=10.0)
    take(weight, made, 0)
    before = weight.detach().clone()
    moments = {name: value.clone() for name, value in made.optimizer.state[weight].items()}
    take(weight, made, 1, scale=100.0)
    made.sync_outcome()
    assert made.skipped == 1
    assert torch.equal(weight, before)
    assert all(torch.equal(made.optimizer.state[weight][name], value) for name, value in moments.items())
    take(weight, made, 2)
    made.sync_outcome()
    assert made.skipped == 1
    assert not torch.equal(weight, before)


def test_a_broken_gradient_is_told_with_its_own_step_and_never_used():
    for lags in (False, True):
        weight, made = updates(lags)
        take(weight, made, 0)
        before = weight.detach().clone()
        if lags:
            take(weight, made, 1, scale=float("nan"))
        with pytest.raises(NonFiniteGradientError, match="gradient norm nan at step 1"):
            take(weight, made, 2 if lags else 1, scale=1.0 if lags else float("nan"))
        assert torch.equal(weight, before)


def test_a_request_to_leave_is_known_a_step_later():
    weight, made = updates(True)
    take(weight, made, 0, stop=True)
    assert not made.stop_requested
    take(weight, made, 1, stop=True)
    assert made.stop_requested


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"watch.tensorboard: true needs the package tensorboard; pip install"):
        open_sinks(WatchConfig(tensorboard=True), tmp_path, name="pretrain")
    with pytest.raises(ValueError, match=r"watch.wandb: offline needs the package wandb; pip install wandb"):
        open_sinks(WatchConfig(wandb="offline"), tmp_path, name="pretrain")
    assert open_sinks(WatchConfig(), tmp_path, name="pretrain") == []


class Recorder:
    """Stands for SummaryWriter and for a Weights & Biases run."""

    def __init__(self, *arguments, **options):
        self.calls = [("open", arguments, options)]

    def __getattr__(self, name):
        return lambda *arguments, **options: self.calls.append((name, arguments, options))


def test_sinks_get_every_record_and_picture(tmp_path, monkeypatch):
    opened = []

    def recorder(*arguments, **options):
        opened.append(Recorder(*arguments, **options))
        return opened[-1]

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=recorder))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=recorder, Image=lambda path: ("image", path)))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "")  # restored afterwards
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    watch = WatchConfig(tensorboard=True, wandb="offline", wandb_project="mine")
    state = tmp_path / "state"
    log = MetricsLog(tmp_path / "metrics.jsonl", sinks=open_sinks(watch, state, name="pretrain"))
    assert (opened, state.exists()) == ([], False), "until the stage claims the folder, it must not be there"
    log.write("train", 30, {"loss": 0.25})
    draw_camera_paths(
        tmp_path / "pictures" / "cameras-000000030.png", np.tile(np.eye(4), (1, 3, 1, 1)), np.array([[0, 4, 2]]),
        inputs=2, title="cameras",
    )  # fmt: skip
    log.pictures(30)
    log.close()
    board, run = opened
    assert os.environ["WANDB_ERROR_REPORTING"] == "false", "nothing is sent"
    assert run.calls[0][2] | {"id": ""} == {
        "dir": str(state), "mode": "offline", "project": "mine", "name": "pretrain", "resume": "allow", "id": "",
    }  # fmt: skip
    assert run.calls[1] == ("log", ({"train/loss": 0.25},), {"step": 30})
    assert run.calls[2][1][0]["cameras"][0] == "image"
    assert run.calls[-1][0] == "finish"
    assert board.calls[0] == ("open", (str(state / "tensorboard"),), {"purge_step": 30})
    assert board.calls[1] == ("add_scalar", ("train/loss", 0.25, 30), {})
    assert board.calls[2][0] == "add_image"
    assert board.calls[2][1][1].shape[-1] == 3
    assert board.calls[-1][0] == "close"
    assert read_metrics(log.path, "train")[0]["loss"] == 0.25


def test_camera_plot_is_a_picture_with_a_panel_a_window(tmp_path):
    import cv2

    poses = np.tile(np.eye(4), (4, 3, 1, 1))
    poses[:, :, 0, 3] = [0.0, 1.0, 0.5]
    sizes = {}
    for count in (1, 4):
        draw_camera_paths(tmp_path / "plot.png", poses[:count], np.tile([0, 9, 4], (count, 1)), inputs=2, title="t")
        sizes[count] = cv2.imread(str(tmp_path / "plot.png")).shape
    assert sizes[4][0] > 1.5 * sizes[1][0], "the second row of panels"
    assert sizes[4][1] == sizes[1][1] == 900
