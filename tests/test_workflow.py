"""The workflow: a tiny run from raw frames to the report, what is run again after a change, and the form of rules."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wildrayzer.layout import RunLayout

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "config" / "tiny.yaml"
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
TRAINING = {"train_pretrain", "train_distill", "train_masked", "train_joint", "train_unmasked"}


def snakemake(folder, *arguments, check=True):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    result = subprocess.run(
        [*command, "--cores", "2", "--configfile", str(TINY), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result


def planned(folder, *arguments):
    """Rules, and how often each, of a dry run."""
    result = snakemake(folder, "--dry-run", *arguments)
    table = re.search(r"Job stats:\n.*\n[- ]+\n(.*?)\ntotal", result.stdout + result.stderr, re.DOTALL)
    if table is None:
        assert "Nothing to be done" in result.stdout + result.stderr
        return {}
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}


@pytest.mark.slow
def test_a_run_ends_with_tables_and_report(finished):
    base = finished / "results" / "tiny"
    tables = (base / "tables" / "tables.md").read_text()
    assert "descriptor" in tables, "the feature backbone is named as what it is"
    assert "<html" in (base / "report" / "index.html").read_text()
    assert not list(base.glob("round1/masks/*/*/residuals.part-*")), "parts are joined and removed"
    for stage in ("pretrain", "round1/distill", "round1/masked", "round1/joint", "round1/unmasked"):
        assert (base / stage / "checkpoint" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_second_run_does_nothing(finished):
    assert planned(finished, "--", "all") == {}


@pytest.mark.slow
def test_how_a_run_is_watched_reruns_nothing(finished):
    assert planned(finished, "--config", "watch={tensorboard: true, health: {by: 0.9}}", "--", "all") == {}


@pytest.mark.slow
def test_a_voting_option_reruns_voting_and_what_follows(finished):
    again = planned(finished, "--config", "pseudo_masks={top_share: 0.4}", "--", "refine")
    assert set(again) == {"calibrate_threshold", "vote_masks", "refine_masks", "refine"}
    everything = planned(finished, "--config", "pseudo_masks={top_share: 0.4}", "--", "all")
    assert not {"train_pretrain", "train_unmasked", "residual_part", "prepare_split", "make_embedded"} & set(everything)
    assert {"train_distill", "train_masked", "train_joint"} <= set(everything)


@pytest.mark.slow
def test_the_threshold_of_the_gate_leaves_what_does_not_gate_alone(finished):
    again = planned(finished, "--config", "model={motion_head: {threshold: 0.4}}", "--", "all")
    assert not {"train_pretrain", "train_unmasked", "residual_part", "vote_masks", "refine_masks"} & set(again)
    assert {"train_distill", "train_masked", "train_joint"} <= set(again)


@pytest.mark.slow
def test_table_options_rerun_scores_and_tables_alone(finished):
    again = planned(finished, "--config", "benchmark={seed: 1}", "--", "benchmark_tables")
    assert not TRAINING & set(again)
    assert "vote_masks" not in again
    assert {"score_views", "write_tables"} <= set(again)


@pytest.mark.slow
def test_refinement_in_parts_gives_the_same_files(finished, tmp_path):
    masks = Path("results", "tiny", "round1", "masks", "dynamic_train", "renderer")
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, tmp_path / name)
    shutil.rmtree(tmp_path / masks / "pixel_masks.zarr")
    options = ("--config", "refine={shards: 3}", "--", str(masks / "pixel_masks.zarr"))
    assert planned(tmp_path, *options) == {"refine_part": 3, "join_masks": 1}
    snakemake(tmp_path, *options)
    assert not list((tmp_path / masks).glob("pixel_masks.part-*"))
    one, three = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (finished / masks, tmp_path / masks)
    )
    assert {path: content for path, content in three.items() if not path.name.startswith(".snakemake")} == {
        path: content for path, content in one.items() if not path.name.startswith(".snakemake")
    }


@pytest.mark.slow
def test_paste_options_leave_the_stages_before_alone(finished):
    again = planned(finished, "--config", "paste={margin: 0.1}", "--", "joint")
    assert set(again) == {"train_joint", "joint"}


@pytest.mark.parametrize(
    ("target", "last"),
    [("evaluation_index", "write_index"), ("pretrain", "train_pretrain"), ("pseudo_masks", "vote_masks"),
     ("distill", "train_distill"), ("joint", "train_joint"), ("benchmark_tables", "write_tables")],
)  # fmt: skip
def test_named_targets_need_what_leads_to_them_and_no_more(tmp_path, target, last):
    order = ["write_index", "train_pretrain", "residual_part", "vote_masks", "refine_masks", "train_distill",
             "train_masked", "train_joint", "write_tables", "write_report"]  # fmt: skip
    jobs = planned(tmp_path, "--", target)
    assert last in jobs
    assert not set(order[order.index(last) + 1 :]) & set(jobs)


def test_refinement_of_the_training_split_is_scattered(tmp_path):
    once, thrice = (planned(tmp_path, "--config", f"refine={{shards: {shards}}}", "--", "refine") for shards in (1, 3))
    assert once["refine_masks"] == 4
    assert not {"refine_part", "join_masks"} & set(once), "one job writes the masks where there is one"
    assert (thrice["refine_part"], thrice["join_masks"], thrice["refine_masks"]) == (3, 1, 3)
    assert {name: count for name, count in thrice.items() if name not in ("refine_part", "join_masks")} == {
        **once, "refine_masks": 3,
    }  # fmt: skip


def test_two_rounds_repeat_residuals_to_joint(tmp_path):
    once, twice = (planned(tmp_path, "--config", f"rounds={rounds}", "--", "joint") for rounds in (1, 2))
    assert twice["train_pretrain"] == once["train_pretrain"] == 1
    assert twice["train_joint"] == 2 * once["train_joint"]
    assert twice["vote_masks"] == 2 * once["vote_masks"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pseudo_masks={top_shar: 0.4}", "pseudo_masks.top_shar: unknown option; did you mean 'top_share'?"),
        ("model={patch_size: 5}", "model.patch_size = 5 does not divide model.image_size = 24"),
        ("features={backbone: dinov4}", "features.backbone = 'dinov4'"),
    ],
)
def test_a_faulty_configuration_is_refused_before_any_job(tmp_path, change, message):
    result = snakemake(tmp_path, "--dry-run", "--config", change, "--", "all", check=False)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Job stats" not in result.stdout + result.stderr


def another_runs_cache(folder):
    """Frames of this run in a folder, and beside them residuals of other frames."""
    layout = RunLayout("tiny")
    for path, attributes in (
        (layout.store("dynamic_train"), {"digest": "frames"}),
        (layout.residuals(1, "dynamic_train"), {"digest": "maps", "digests": {"store": "others"}}),
    ):
        (folder / path).mkdir(parents=True)
        (folder / path / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    return "renderer/residuals.zarr was made from something else: store is others, expected frames"


def test_a_cache_of_another_run_is_refused_before_any_job(tmp_path):
    message = another_runs_cache(tmp_path)
    result = snakemake(tmp_path, "--", RunLayout("tiny").raw("static_test"), check=False)
    assert result.returncode != 0
    assert "nothing was started:" in result.stderr
    assert message in result.stderr
    assert sorted(path.name for path in (tmp_path / "results" / "tiny").iterdir()) == ["frames", "round1"]


def test_paper_configuration_does_not_inherit_the_demo(tmp_path):
    """Snakemake merges a second configuration into the default one; the demo must not shine through."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--configfile", "config/paper.yaml", "--", "frames"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "resources/data/re10k/train" in said, "the place of a source, which a job fills where it is missing"
    assert "results/paper/frames/" in said
    assert "static_train" not in said


def rules_in(text):
    return re.findall(r"^ *rule (\w+):\n(.*?)(?=^ *rule |\Z)", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_job_says_where_it_logs_and_what_it_needs(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 200
    for name, body in rules_in(text):
        for directive in ("log", "benchmark", "threads", "resources", "message", "script"):
            assert re.search(rf"^ +{directive}:", body, re.MULTILINE), f"{name} lacks {directive}:"
        assert not re.search(r"^ +run:", body, re.MULTILINE)
        assert "mem_mb" in body or "training_resources" in body
        if "gpu_resources" in body:
            assert "nodes=1" in body, f"{name} could be spread over nodes"


def test_rules_are_found():
    assert sum(len(rules_in(path.read_text())) for path in RULES) >= 15
