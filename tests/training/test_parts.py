"""Batch plan, schedule, token masks, resume states and metrics."""

import json
import resource
import runpy
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wildrayzer.checkpoint import write_checkpoint
from wildrayzer.config import CropPretextConfig, ModelConfig, StageConfig, ViewsConfig, control_stage
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.io.digests import digest_file
from wildrayzer.models import WildRayZer
from wildrayzer.training.augmentation import (
    _crop,
    crop_offsets,
    crop_pretext_loss,
    draw_token_mask,
    offsets_to_translation,
)
from wildrayzer.training.data import BatchSampler
from wildrayzer.training.logging import MetricsLog, read_metrics
from wildrayzer.training.optimizer import learning_rate, parameter_groups
from wildrayzer.training.resume import ResumeFolder, StopRequest, job_deadline


def stage(**options):
    defaults = {"steps": 10, "batch": 4, "micro_batch": 2, "views": ViewsConfig(targets=2, min_distance=3)}
    return StageConfig(**{**defaults, **options})


def plan(share, scenes=5, batch=4, seed=3):
    scenes = {"static": np.arange(scenes), "dynamic": np.arange(10, 10 + scenes)}
    return BatchSampler(stage(batch=batch, dynamic_share=share), scenes, seed=seed)


def test_every_scene_comes_once_an_epoch():
    made = plan(0.0)
    items = [item for step in range(5) for item in made.batch(step)]
    for epoch in range(4):
        assert sorted(item.scene for item in items if item.epoch == epoch) == [0, 1, 2, 3, 4]


def test_dynamic_share_is_met_exactly_and_evenly():
    made = plan(0.25)
    for step in range(8):
        kinds = [item.kind for item in made.batch(step)]
        assert kinds.count("dynamic") == 1
    assert {item.scene for step in range(5) for item in made.batch(step) if item.kind == "dynamic"} == set(
        range(10, 15)
    )


def test_batches_do_not_depend_on_what_was_asked_before():
    fresh, used = plan(0.5), plan(0.5)
    for step in range(20):
        used.batch(step)
    assert used.batch(3) == fresh.batch(3)


@settings(deadline=None)
@given(world=st.sampled_from([1, 2, 4]), step=st.integers(0, 50))
def test_processes_share_a_batch_without_overlap(world, step):
    made = plan(0.5)
    parts = [item for rank in range(world) for item in made.share(step, rank=rank, world=world)]
    assert sorted(parts, key=repr) == sorted(made.batch(step), key=repr)


def test_numbers_of_inputs_take_turns():
    scenes = {"static": np.arange(3)}
    made = BatchSampler(stage(views=ViewsConfig(inputs=(2, 3, 4), targets=2, min_distance=3)), scenes, seed=0)
    assert [made.inputs(step) for step in range(4)] == [2, 3, 4, 2]


def test_plan_refuses_an_empty_split():
    with pytest.raises(ValueError, match="dynamic training split has no usable scene"):
        BatchSampler(stage(dynamic_share=0.5), {"static": np.arange(3)}, seed=0)


def test_learning_rate_by_hand():
    config = stage(steps=12, warmup=2, learning_rate=1.0, final_share=0.2)
    assert learning_rate(0, config) == 0.5
    assert learning_rate(1, config) == 1.0
    assert learning_rate(7, config) == pytest.approx(0.2 + 0.8 * 0.5)
    assert learning_rate(12, config) == pytest.approx(0.2)
    assert learning_rate(9, config.model_copy(update={"schedule": "constant"})) == 1.0


def test_only_matrices_decay():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    decayed, plain = parameter_groups(model.parameters(), 0.1)
    assert [p.ndim for p in decayed["params"]] == [2]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


@settings(max_examples=50, deadline=None)
@given(grid=st.integers(2, 16), share=st.floats(0.0, 0.9), clustered=st.booleans(), seed=st.integers(0, 99))
def test_token_masks_cover_exactly_their_share(grid, share, clustered, seed):
    mask = draw_token_mask([seed], batch=2, views=2, grid=grid, share=share, clustered=clustered)
    assert (mask.sum(-1) == round(share * grid * grid)).all()
    assert torch.equal(mask, draw_token_mask([seed], batch=2, views=2, grid=grid, share=share, clustered=clustered))


def test_clustered_masks_have_more_masked_neighbours_than_random_ones():
    def neighbours(clustered):
        mask = draw_token_mask([1], batch=16, views=2, grid=16, share=0.1, clustered=clustered).view(32, 16, 16)
        return (mask[:, 1:] & mask[:, :-1]).sum() + (mask[:, :, 1:] & mask[:, :, :-1]).sum()

    assert neighbours(True) > 3 * neighbours(False)


def test_crop_offsets_become_translations_by_hand():
    offsets = torch.zeros(2, 1, 2)
    offsets[1, 0, 0] = 0.5
    translation = offsets_to_translation(offsets, zoom=0.5)
    assert translation[0].tolist() == pytest.approx([0.5 / 0.5 * 0.5 / 1.25 * 3.0, 0.0, 0.0])


def test_the_crop_pretext_is_blind_to_the_frame_of_cameras_without_reference(monkeypatch):
    sizes = {"camera_blocks": 1, "scene_blocks": 1, "decoder_blocks": 1, "scene_tokens": 2, "motion_head": None}
    model = WildRayZer(ModelConfig(image_size=8, patch_size=4, width=16, head_width=8, camera_head="pi3", **sizes))
    c2w = torch.eye(4).repeat(1, 2, 1, 1)
    c2w[0, 1, :3, 3] = torch.tensor([0.3, 0.1, -0.2])
    turn = torch.tensor([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    found = []
    for frame in (torch.eye(4), turn):
        cameras = Cameras(c2w=frame @ c2w, intrinsics=torch.ones(1, 2, 4))
        monkeypatch.setattr(model, "predict_cameras", lambda *_, cameras=cameras, **__: cameras)
        arguments = (torch.rand(1, 2, 3, 8, 8), torch.tensor([0]), torch.zeros(1, 2, 2))
        found.append(crop_pretext_loss(model, *arguments, zoom=0.5).item())
    assert found == pytest.approx([0.14, 0.14])


def test_crop_shows_what_lies_right_of_the_centre():
    frame = torch.zeros(1, 3, 8, 8)
    frame[..., 6:] = 1.0
    right, left = (_crop(frame, torch.tensor([[shift, 0.0]]), 0.5) for shift in (0.5, -0.5))
    assert right.mean() > 0.4
    assert left.mean() == 0.0


def test_crops_stay_inside_the_frame():
    offsets = crop_offsets(np.random.default_rng(0), 500, CropPretextConfig(zoom=0.8, max_offset=0.35))
    assert offsets.abs().max() <= 0.2 + 1e-6


def test_control_trains_as_long_without_masks():
    masked, joint = stage(steps=7), stage(steps=5, paste_share=0.5, token_mask_share=0.1)
    control = control_stage(masked, joint)
    assert control.steps == 12
    assert (control.motion_gate, control.token_gate, control.paste_share, control.token_mask_share) == (
        "none",
        False,
        0.0,
        0.0,
    )


def test_resume_keeps_two_states_and_passes_over_a_broken_one(tmp_path, caplog):
    folder = ResumeFolder(tmp_path / "state", identity="a")
    folder.claim()
    for step in (1, 2, 3):
        folder.save(step, {"value": torch.tensor(step)})
    assert sorted(path.name for path in (tmp_path / "state").glob("*.pt")) == ["step-000000002.pt", "step-000000003.pt"]
    newest = tmp_path / "state" / "step-000000003.pt"
    assert folder.load()["value"] == 3
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert folder.load()["value"] == 2
    newest.write_bytes(b"torn")
    assert folder.load()["value"] == 2
    assert "step-000000003.pt is damaged" in caplog.text


def test_a_write_that_fails_is_the_systems_error_and_names_the_state(tmp_path):
    folder = ResumeFolder(tmp_path / "state", identity="a")
    folder.claim()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large.*step-000000001\.pt"):
            folder.save(1, {"value": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in folder.folder.iterdir()] == ["identity.json"]


def test_a_state_that_another_process_chose_is_read_or_refused_by_name(tmp_path):
    folder = ResumeFolder(tmp_path / "state", identity="a")
    folder.claim()
    for step in (2, 3):
        folder.save(step, {"value": torch.tensor(step)})
    assert folder.load_step(2)["value"] == 2
    older = tmp_path / "state" / "step-000000002.pt"
    older.write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"step-000000002.pt: damaged as read here.*run the same command again"):
        folder.load_step(2)
    older.unlink()
    with pytest.raises(ValueError, match=r"step-000000002.pt: not readable here \(No such file.*run the same command"):
        folder.load_step(2)


def test_states_of_another_identity_are_set_aside_not_lost(tmp_path):
    first = ResumeFolder(tmp_path / "state", identity="a")
    first.claim()
    first.save(4, {})
    second = ResumeFolder(tmp_path / "state", identity="b")
    second.claim()
    assert second.load() is None
    assert (tmp_path / "state.stale-0" / "step-000000004.pt").exists()


def test_damaged_metrics_are_said_when_a_run_resumes(tmp_path, caplog):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20):
        log.write("train", step, {"loss": 1.5})
    mark, whole = log.mark(), log.path.read_bytes()
    log.write("train", 30, {"loss": 2.0})
    later = log.path.read_bytes()
    assert [record["step"] for record in log.truncate(20, mark)] == [10, 20]
    assert (log.path.read_bytes(), caplog.messages) == (whole, [])
    # a flipped digit, a damaged first line, a lost line
    for damaged, steps, lost in (
        (later.replace(b"1.5", b"7.5", 1), [10, 20], "0 lines cannot be read (none)"),
        (b"{" + later, [20], "1 lines cannot be read (1)"),
        (later.split(b"\n", 1)[1], [20], "0 lines cannot be read (none)"),
    ):
        log.path.write_bytes(damaged)
        assert [record["step"] for record in log.truncate(20, mark)] == steps
        assert f"changed or was cut since step 20 was saved: {lost}" in caplog.messages.pop()
        caplog.clear()
    # a state of an earlier version: what follows a damaged line is kept
    log.path.write_bytes(b"{" + later)
    assert [record["step"] for record in log.truncate(20)] == [20]
    assert "lines [1] cannot be read and are lost" in caplog.messages[-1]
    log.path.write_bytes(later + b'{"kind": "tr')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 4 is damaged; delete the file and run"):
        read_metrics(log.path, "train")


def test_metrics_of_a_finished_stage_are_compared_with_its_checkpoint(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20):
        log.write("train", step, {"loss": 1.5})
    whole = log.path.read_bytes()
    model = ModelConfig(image_size=16, patch_size=8, width=32, head_width=16, camera_blocks=1)
    about = {"stage": "pretrain", "step": 20, "inputs": (2,), "targets": 1, "model": model, "config_digest": "c"}
    about |= {"attention_kernel": "math"}
    digest = {"metrics_digest": digest_file(log.path)}
    write_checkpoint(tmp_path / "checkpoint", {"w": torch.zeros(1)}, **about, extra=digest)
    assert len(read_metrics(log.path, "train")) == 2
    # a changed digit, and a lost last line
    for damaged in (whole.replace(b"1.5", b"7.5", 1), whole[: whole.index(b"\n") + 1]):
        log.path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"metrics\.jsonl has changed since its stage finished.*last resume state"):
            read_metrics(log.path, "train")
    # a checkpoint of an earlier version holds no digest
    write_checkpoint(tmp_path / "checkpoint", {"w": torch.zeros(1)}, **about)
    assert len(read_metrics(log.path, "train")) == 1


def test_metrics_of_a_lost_part_are_dropped(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        log.write("train", step, {"loss": step / 3})
    with log.path.open("a") as stream:
        stream.write('{"kind": "train", "st')
    log.truncate(20)
    assert [record["step"] for record in read_metrics(log.path, "train")] == [10, 20]
    assert json.loads(log.path.read_text().splitlines()[0])["loss"] == 3.33333


def test_walltime_asks_to_stop_before_it_is_over():
    assert StopRequest(deadline=time.time() - 1.0).reason == "the job's walltime is nearly over"
    assert StopRequest(deadline=time.time() + 60.0).reason is None
    assert StopRequest().reason is None


@pytest.mark.parametrize(
    ("minutes", "slurm", "deadline"),
    [
        (None, None, None),
        (None, "90000", None),
        (60.0, None, 10_000 + 3600 - 120),
        (2.0, None, 10_000 + 60),
        (0.0, None, 10_000),
        (60.0, "13000", 13_000 - 120),
        (60.0, "10100", 10_050),
        (60.0, "90000", 10_000 + 3600 - 120),
        (60.0, "9000", 10_000 + 3600 - 120),
        (60.0, "Unknown", 10_000 + 3600 - 120),
    ],
)
def test_walltime_counts_from_the_start_of_the_job_and_slurm_may_end_it_earlier(monkeypatch, minutes, slurm, deadline):
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    if slurm is not None:
        monkeypatch.setenv("SLURM_JOB_END_TIME", slurm)
    assert job_deadline(minutes, started=10_000.0) == deadline


def test_the_jobs_script_counts_what_it_loads(monkeypatch, tmp_path):
    clock, jobs = [10_000.0], []

    class Slow(types.ModuleType):
        def __getattr__(self, name):
            clock[0] += 600.0
            if name not in (known := {"TrainingJob": dict, "train": jobs.append}):
                raise AttributeError(name)
            return known[name]

    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    for module in ("wildrayzer.stages.train", "wildrayzer.training.job"):
        monkeypatch.setitem(sys.modules, module, Slow(module))

    class Named(dict):
        __getattr__ = dict.__getitem__

        def __iter__(self):
            return iter(self.values())

    outputs = {name: str(tmp_path / name) for name in ("checkpoint", "metrics")}
    for path in outputs.values():
        Path(path).write_text("made", encoding="utf-8")
    options = {"stage": {}, "model": {}, "perceptual": {}}
    snakemake = types.SimpleNamespace(
        log=[str(tmp_path / "log")], input=types.SimpleNamespace(get=lambda name: None, static_store="s"), threads=1,
        params=Named(recipe="pretrain", seed=0, options=options, state="state"),
        resources=types.SimpleNamespace(runtime=60.0), output=Named(outputs),
        config=yaml.safe_load((Path(__file__).parents[1] / "resources" / "tiny.yaml").read_text(encoding="utf-8")),
    )  # fmt: skip
    runpy.run_path(Path(__file__).parents[2] / "workflow" / "scripts" / "train.py", {"snakemake": snakemake})
    assert clock[0] > 10_000.0
    assert jobs[0]["deadline"] == 10_000 + 3600 - 120
