"""Targets of ablations and of rows from outside, as dry runs; ablations of a finished run up to the report."""

import re
import shutil

import pandas as pd
import pytest

from tests.test_report import Page
from tests.test_workflow import TRAINING, planned, snakemake

CHOSEN = (
    "--config",
    "ablations={paste_only: {changes: {distill.pseudo_masks: false, distill.dynamic_share: 0.0, "
    "distill.paste_share: 1.0}, until: distill, splits: [pairs_test]}, "
    "no_features: {changes: {model.motion_head.use_features: false}, until: distill, splits: [pairs_test]}, "
    "cross_view: {changes: {model.motion_head.cross_view: true}, splits: [pairs_test]}}",
)
NAMES = ("paste_only", "no_features", "cross_view")
TARGETS = tuple(f"ablation_{name}" for name in NAMES)
MADE = {"paste_only": "head:distill", "cross_view": "head:joint"}
"""Those that are run here, and the row that each is about."""


def of(jobs, ablation):
    """Rules of an ablation's own."""
    return {name.removeprefix(f"{ablation}_") for name in jobs if name.startswith(f"{ablation}_")}


def test_an_ablation_of_voting_shares_rendering_and_trains_nothing(tmp_path):
    jobs = planned(tmp_path, "--", "ablation_dino_only")
    assert of(jobs, "dino_only") == {"calibrate_threshold", "vote_masks", "score_masks", "write_tables"}
    assert {"residual_part", "score_masks"} <= set(jobs)
    assert TRAINING & set(jobs) == {"train_pretrain"}


def test_an_ablation_of_training_makes_its_stages_and_no_more(tmp_path):
    jobs = planned(tmp_path, "--", "ablation_no_masked", "ablation_two_rounds")
    assert of(jobs, "no_masked") == {"train_joint", "score_views", "score_input_masks", "write_tables"}
    second = {"residual_part", "join_residuals", "calibrate_threshold", "vote_masks", "refine_masks"}
    trained = {"train_distill", "train_masked", "train_joint"}
    scored = {"score_views", "score_masks", "score_input_masks", "write_tables"}
    assert of(jobs, "two_rounds") == second | trained | scored
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
    # distilled and joint head, co-segmentation and the checkpoint on three splits, the masks on one
    assert jobs["score_input_masks"] == 4 * 3 + 1
    (tmp_path / "masks").rmdir()
    result = snakemake(tmp_path, "--dry-run", "--config", rows, "--", "benchmark_tables", check=False)
    said = result.stdout + result.stderr
    assert "MissingInputException" in said
    assert "masks" in said


@pytest.fixture(scope="module")
def ablated(finished, tmp_path_factory):
    """A copy of the finished run with two of the ablations, and the report after them."""
    folder = tmp_path_factory.mktemp("ablated") / "run"
    shutil.copytree(finished, folder)
    snakemake(folder, *CHOSEN, "--", *(f"ablation_{name}" for name in MADE))
    snakemake(folder, *CHOSEN, "--", "report")
    return folder


@pytest.mark.slow
def test_ablations_of_a_finished_run_make_what_they_change_and_nothing_else(finished):
    jobs = planned(finished, *CHOSEN, "--", *TARGETS)
    heads = {"train_distill": 1, "score_input_masks": 1, "write_tables": 1}
    whole = {"train_distill": 1, "train_masked": 1, "train_joint": 1, "score_views": 1, "score_input_masks": 2,
             "write_tables": 1}  # fmt: skip
    own = {f"{name}_{rule}": count for name in NAMES[:2] for rule, count in heads.items()}
    own |= {f"cross_view_{rule}": count for rule, count in whole.items()}
    assert jobs == {**own, **dict.fromkeys(TARGETS, 1)}


@pytest.mark.slow
def test_their_tables_set_them_beside_the_run_with_intervals(ablated):
    base = ablated / "results" / "tiny"
    for name, row in MADE.items():
        tables = base / "ablations" / name / "tables"
        line = next(
            t for t in (tables / "tables.md").read_text().splitlines() if t.startswith(f"| {name} | {row}, iou")
        )
        cells = [text.strip() for text in line.strip("|").split("|")]
        assert cells[2:4] == ["pairs_test", "2"]
        run, own = (pd.read_csv(folder / "scores" / "heads" / f"{row[5:]}-pairs_test.csv").query("metric == 'iou'")
                    for folder in (base, base / "ablations" / name))  # fmt: skip
        assert set(own["method"]) == {f"{row}@{name}"}
        mean, low, high = map(float, re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", cells[6]).groups())
        both = run.merge(own, on=["scene", "frame"])
        assert mean == pytest.approx(100 * (both["value_x"] - both["value_y"]).mean(), abs=0.051)
        assert low <= mean <= high
    claims = pd.read_csv(base / "ablations" / "paste_only" / "tables" / "claims.csv").set_index("compared")
    assert claims.loc["head:distill − head:distill@paste_only, mask iou", ["mean", "low", "high"]].notna().all()
    assert not claims.index.str.contains("head:joint@paste_only").any()


@pytest.mark.slow
def test_the_report_shows_ablations_once_they_are_made(ablated):
    page = Page((ablated / "results" / "tiny" / "report" / "index.html").read_text())
    text = re.sub(r"\s+", " ", page.text["ablations"])
    assert re.search(r'model\.motion_head\.cross_view: "?true', text)
    curve = re.search(r"Stage distill\. At the end: (.*?)\. ", text)[1]
    assert re.sub(r" [\d.]+", "", curve) == "run, paste_only, cross_view"
    assert re.sub(r" [\d.]+", "", re.search(r"Stage joint\. At the end: (.*?)\. ", text)[1]) == "run, cross_view"
    for name in MADE:
        assert f"{name} head:distill, iou pairs_test 2 " in text
    assert planned(ablated, *CHOSEN, "--", "report") == {}


@pytest.mark.slow
def test_ablations_that_the_run_has_left_behind_are_not_shown(ablated, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(ablated, folder)
    (folder / "results" / "tiny" / "scores" / "heads" / "joint-pairs_test.csv").touch()
    snakemake(folder, *CHOSEN, "--forcerun", "write_report", "--", "report")
    text = Page((folder / "results" / "tiny" / "report" / "index.html").read_text()).text["ablations"]
    assert "cross_view was compared with earlier scores of the run" in text
    assert "model.motion_head.cross_view" not in text
    assert "paste_only" in text
