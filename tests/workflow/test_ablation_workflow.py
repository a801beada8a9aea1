"""Ablations of a finished run up to the report."""

import re
import shutil

import pandas as pd
import pytest

from tests.helpers.tiny_run import planned, snakemake
from tests.report.test_report import Page

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
