"""The workflow before it runs: what targets and options plan, what is refused, and the form of rules."""

import re
import subprocess
import sys

import pytest

from tests.helpers.tiny_run import ROOT, TRAINING, another_runs_cache, planned, snakemake
from wildrayzer.run.layout import RunLayout

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))


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
    assert "refine_part" not in once, "one job makes and lists the masks where there is one"
    assert thrice == {**once, "refine_part": 3}


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
    assert "results/paper/sources/re10k/train" in said, "the link to a part of a source"
    assert "results/paper/frames/" in said
    assert "static_train" not in said


def test_a_run_of_the_static_renderer_alone_ends_after_pretraining_and_scores(tmp_path):
    lvsm = ROOT / "tests" / "resources" / "lvsm.yaml"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    result = subprocess.run(
        [*command, "--dry-run", "--quiet", "rules", "--configfile", str(lvsm), "--", "all", "joint", "ablations"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    jobs = set(re.findall(r"^(\w+) +\d+$", result.stdout + result.stderr, re.MULTILINE))
    assert jobs - {"total"} == {
        "ablations", "all", "joint", "make_embedded", "prepare_split", "score_renderer", "score_views",
        "train_pretrain", "write_index", "write_report", "write_tables",
    }  # fmt: skip


def of_ablation(jobs, ablation):
    """Rules of an ablation's own."""
    return {name.removeprefix(f"{ablation}_") for name in jobs if name.startswith(f"{ablation}_")}


def test_an_ablation_of_voting_shares_rendering_and_trains_nothing(tmp_path):
    jobs = planned(tmp_path, "--", "ablation_dino_only")
    assert of_ablation(jobs, "dino_only") == {"calibrate_threshold", "vote_masks", "score_masks", "write_tables"}
    assert {"residual_part", "score_masks"} <= set(jobs)
    assert TRAINING & set(jobs) == {"train_pretrain"}


def test_an_ablation_of_training_makes_its_stages_and_no_more(tmp_path):
    jobs = planned(tmp_path, "--", "ablation_no_masked", "ablation_two_rounds")
    assert of_ablation(jobs, "no_masked") == {"train_joint", "score_views", "score_input_masks", "write_tables"}
    second = {"residual_part", "list_residuals", "calibrate_threshold", "vote_masks", "refine_masks"}
    trained = {"train_distill", "train_masked", "train_joint"}
    scored = {"score_views", "score_masks", "score_input_masks", "write_tables"}
    assert of_ablation(jobs, "two_rounds") == second | trained | scored
    assert [jobs[name] for name in ("train_pretrain", "train_distill", "train_joint")] == [1, 1, 1]


def test_ablations_of_the_tables_are_part_of_a_run(tmp_path):
    alone, with_one = (
        planned(tmp_path, *more, "--", "benchmark_tables")
        for more in ([], ["--config", "benchmark={ablations: [ssim_only]}"])
    )
    assert {name for name in with_one if name not in alone} == {
        "ssim_only_calibrate_threshold", "ssim_only_vote_masks", "ssim_only_score_masks",
    }  # fmt: skip


def test_rows_from_outside_are_planned_and_their_folders_asked_for_first(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "released").mkdir()
    rows = (
        "benchmark={methods: [nearest, static, static_coseg, joint], masks: {sav: {folders: {pairs_test: masks}}}, "
        "checkpoints: {released: {path: released}}, sets: {wide: {split: static_test, inputs: [2], targets: 4}}}"
    )
    jobs = planned(tmp_path, "--config", rows, "--", "benchmark_tables")
    # pairs: four methods, the masks' row and the checkpoint; static and wide: three methods and the checkpoint
    assert jobs["score_views"] == 6 + 4 + 4
    # distilled and joint head, co-segmentation, masks without a head, the checkpoint on three splits; files on one
    assert jobs["score_input_masks"] == 5 * 3 + 1
    (tmp_path / "masks").rmdir()
    result = snakemake(tmp_path, "--dry-run", "--config", rows, "--", "benchmark_tables", check=False)
    said = result.stdout + result.stderr
    assert "MissingInputException" in said
    assert "masks" in said


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
