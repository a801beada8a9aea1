"""What a call would make again is named with its options, and refused where it took more than an hour."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from wildrayzer.run.redo import (
    STAGES,
    allowed_stages,
    changed_options,
    damaged_outputs,
    record_job,
    refusals,
    repeated_jobs,
    report_lines,
)


def job(folder: Path, rule: str, params: dict, *, recorded: dict | None = None, seconds: float | None = None):
    """A stand-in for a finished job of Snakemake with one output."""
    output = folder / f"{rule}.out"
    output.write_text("result", encoding="utf-8")
    log = folder / "logs" / f"{rule}.log"
    if recorded is not None:
        record_job(log, recorded, [str(output)])
    benchmark = folder / f"{rule}.tsv"
    if seconds is not None:
        benchmark.write_text(f"s\th:m:s\n{seconds}\t0:00:00\n", encoding="utf-8")
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule), params=params, output=[str(output)], log=[str(log)], benchmark=str(benchmark),
        wildcards_dict={},
    )  # fmt: skip


def graph(*jobs, forced=()):
    return SimpleNamespace(
        needrun_jobs=lambda: jobs, reason=lambda one: SimpleNamespace(forced=one.rule.name in forced)
    )


OLD = {"recipe": "pretrain", "options": {"stage": {"steps": 6}, "model": {"width": 32}}, "version": 3}
NEW = {"recipe": "pretrain", "options": {"stage": {"steps": 8}, "model": {"width": 32}}, "version": 3}


def test_changed_options_have_their_full_names():
    assert changed_options(OLD, NEW, "train_pretrain", {}) == ["pretrain.steps: 6 → 8"]
    assert changed_options({"split": {}}, {"split": {"seed": 1}}, "prepare_split", {"split": "own"}) == [
        "data.splits.own.seed: default → 1"
    ]
    assert changed_options({"version": 2}, {"version": 3}, "vote_masks", {}) == [
        "version of the stage pseudo_masks: 2 → 3"
    ]
    assert changed_options({"config": {"rounds": 2}}, {"config": {}}, "write_tables", {}) == ["rounds: 2 → default"]


def test_an_option_that_an_upgrade_no_longer_counts_is_named():
    before = {"recipe": "pretrain", "options": {"stage": {"steps": 6, "workers": 4}}}
    now = {"recipe": "pretrain", "options": {"stage": {"steps": 6}}}
    assert changed_options(before, now, "train_pretrain", {}) == [
        "pretrain.workers: recorded as 4, but this version says that it does not decide results"
    ]


def test_lists_and_tuples_are_the_same_value():
    assert changed_options({"inputs": [2, 3]}, {"inputs": (2, 3)}, "score_views", {}) == []


def test_without_a_record_no_option_is_named(tmp_path):
    (found,) = repeated_jobs(graph(job(tmp_path, "train_pretrain", NEW)))
    assert found.changes == ()


def test_short_stages_are_reported_and_long_ones_refused(tmp_path):
    short = job(tmp_path, "vote_masks", {"pseudo_masks": {"top_share": 0.3}}, recorded={"pseudo_masks": {}}, seconds=60)
    long = job(tmp_path, "train_pretrain", NEW, recorded=OLD, seconds=7200)
    jobs = repeated_jobs(graph(short, long))
    assert report_lines(jobs) == [
        "made again: pretrain (1 job, 2.0 h when last run): pretrain.steps: 6 → 8",
        "made again: pseudo_masks (1 job, 1.0 min when last run): pseudo_masks.top_share: default → 0.3",
    ]
    refused = "\n".join(refusals(jobs, redo=None))
    assert "pretrain took more than an hour" in refused
    assert "redo=pretrain" in refused
    assert refusals(repeated_jobs(graph(short)), redo=None) == []


def test_naming_a_stage_allows_it_and_those_after_it(tmp_path):
    jobs = repeated_jobs(graph(job(tmp_path, "train_joint", {"recipe": "joint"}, recorded={}, seconds=4000)))
    assert refusals(jobs, redo="residuals") == []
    assert refusals(jobs, redo="joint,report") == []
    assert refusals(jobs, redo="scores") != []
    assert allowed_stages(["joint"]) == set(STAGES[STAGES.index("joint") :])


def test_a_forced_stage_needs_no_other_word(tmp_path):
    long = job(tmp_path, "train_pretrain", NEW, recorded=OLD, seconds=7200)
    assert refusals(repeated_jobs(graph(long, forced=("train_pretrain",))), redo=None) == []


def test_a_job_without_outputs_is_not_made_again(tmp_path):
    unfinished = job(tmp_path, "train_pretrain", NEW, recorded=OLD, seconds=7200)
    Path(unfinished.output[0]).unlink()
    assert repeated_jobs(graph(unfinished)) == []


def test_ablations_and_prefixes(tmp_path):
    (found,) = repeated_jobs(graph(job(tmp_path, "no_features_train_distill", {"recipe": "distill"}, recorded={})))
    assert (found.stage, found.name) == ("distill (no_features)", "distill")
    assert repeated_jobs(graph(job(tmp_path, "fetch_re10k", {}))) == []


def test_a_name_that_is_no_stage_is_refused():
    with pytest.raises(ValueError, match="redo=pretraining: no stage of this name; known: frames, pretrain"):
        allowed_stages("pretraining")
    with pytest.raises(ValueError, match="redo=1: no stage of this name"):
        allowed_stages(1)
    assert allowed_stages("joint, report") == allowed_stages(["joint"])


def test_outputs_that_were_copied_in_part_are_named(tmp_path):
    store = tmp_path / "frames.zarr"
    (store / "c").mkdir(parents=True)
    for number in range(3):
        (store / "c" / str(number)).write_bytes(b"frame")
    record_job(tmp_path / "logs" / "prepare_split" / "own.log", {}, [str(store)])
    (store / ".snakemake_timestamp").touch()
    assert damaged_outputs(tmp_path) == []
    (store / "c" / "2").unlink()
    (line,) = damaged_outputs(tmp_path)
    assert line.startswith(f"{store} has 2 files of 10 bytes, but 3 files of 15 bytes when its job finished")


def test_parts_that_were_not_copied_are_noticed(tmp_path):
    manifest, part = tmp_path / "own.json", tmp_path / "own" / "0123456789abcdef.zarr"
    part.mkdir(parents=True)
    manifest.write_text('{"parts": [{"key": "0123456789abcdef"}]}')
    (part / "zarr.json").write_text("{}")
    record_job(tmp_path / "logs" / "prepare_split" / "own.log", {}, [str(manifest)])
    (part.parent / ".lock").write_text("process 1")
    other = part.with_name("fedcba9876543210.zarr")  # of a growth that was stopped
    other.mkdir()
    (other / "zarr.json").write_text("{}")
    assert damaged_outputs(tmp_path) == []
    (part / "zarr.json").unlink()
    (line,) = damaged_outputs(tmp_path)
    assert line.startswith(f"{manifest} has 1 files of 40 bytes, but 2 files of 42 bytes when its job finished")


def test_a_damaged_record_is_named(tmp_path):
    long = job(tmp_path, "train_pretrain", NEW, recorded=OLD)
    record = tmp_path / "logs" / "train_pretrain.params.json"
    record.write_text("[]", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"train_pretrain\.params\.json is damaged or of another version .*; delete the file"
    ):
        repeated_jobs(graph(long))
