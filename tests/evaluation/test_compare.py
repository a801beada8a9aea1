"""Runs under several seeds or on several machines, side by side."""

import json

import pandas as pd
import pytest

from wildrayzer.evaluation.tables.compare import compare_runs
from wildrayzer.evaluation.tables.files import read_claims, read_summary


def make_run(folder, *, psnr=20.0, iou=0.3, r2="shift", more=(), claims=("better",)):
    (folder / "tables").mkdir(parents=True)
    (folder / "scores").mkdir()
    rows = [
        ("static_test", 2, "static", "full", "psnr", psnr, psnr - 1, psnr + 1),
        ("static_test", 3, "static", "full", "psnr", 99.0, 98.0, 100.0),
        ("dynamic_test", 2, "pseudo:renderer", "mask", "iou", iou, iou - 0.1, iou + 0.1),
        *more,
    ]
    columns = ["split", "inputs", "method", "region", "metric", "mean", "low", "high"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "tables" / "summary.csv", index=False)
    claim = {
        "where": "static_test",
        "compared": "a − b",
        "mean": 0.5,
        "low": 0.1,
        "high": 0.9,
        "verdict": "holds",
        "note": "",
    }
    pd.DataFrame([{"claim": text, **claim} for text in claims]).to_csv(folder / "tables" / "claims.csv", index=False)
    means = {"psnr": 20.0, "reordered": 0.0, "swapped": -4.0}
    figure = {"low": 0.0, "high": 0.0, "error": 0.0, "scenes": 1, "frames": 1, "skipped": 0}
    health = {
        "schema": 1, "kind": "health", "split": "s", "inputs": 2, "windows": 1, "camera_spread": 0.1,
        "camera_r2": r2 and {r2: psnr / 100},
        "figures": {name: {"mean": mean, **figure} for name, mean in means.items()},
        "definitions": dict.fromkeys(means, "text"),
    }  # fmt: skip
    (folder / "scores" / "renderer.json").write_text(json.dumps(health))
    return folder


def test_means_intervals_and_spread_by_hand(tmp_path):
    runs = [make_run(tmp_path / name, psnr=psnr, iou=iou) for name, psnr, iou in (("a", 20, 0.3), ("b", 22, 0.4))]
    text = compare_runs(runs)
    assert "| static | 20.0 [19.0, 21.0] | 22.0 [21.0, 23.0] | 21.0 ± 1.4 |" in text
    assert "| pseudo:renderer | 30.0 [20.0, 40.0] | 40.0 [30.0, 50.0] | 35.0 ± 7.1 |" in text
    assert "| R² of shift | 0.20 | 0.22 | 0.21 ± 0.01 |" in text
    assert "| better (static_test: a − b) | holds (+0.5 [0.1, 0.9]) | holds (+0.5 [0.1, 0.9]) | yes |" in text
    assert "99.0" not in text, "the fewest inputs are shown"


def test_runs_of_equal_names_are_shown_by_their_paths(tmp_path):
    runs = [make_run(tmp_path / parent / "demo", psnr=psnr) for parent, psnr in (("a", 20), ("b", 22))]
    text = compare_runs([*runs, make_run(tmp_path / "demo-1", psnr=24)])
    assert f"| | {runs[0]} | {runs[1]} | demo-1 | over runs |" in text
    assert "| static | 20.0 [19.0, 21.0] | 22.0 [21.0, 23.0] | 24.0 [23.0, 25.0] | 22.0 ± 2.0 |" in text
    with pytest.raises(ValueError, match=r"the run .*demo is given twice; give every run once"):
        compare_runs([runs[0], runs[0].parent / "." / "demo"])


def test_one_run_has_no_deviation(tmp_path):
    assert "| static | 20.0 [19.0, 21.0] | 20.0 |" in compare_runs([make_run(tmp_path / "a")])


def test_what_one_run_lacks_is_a_dash(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", r2=None, claims=("worse",))]
    text = compare_runs(runs)
    assert "| R² of shift | 0.20 | – | – |" in text
    assert "| better (static_test: a − b) | holds (+0.5 [0.1, 0.9]) | – | no |" in text
    assert "| worse (static_test: a − b) | – | holds (+0.5 [0.1, 0.9]) | no |" in text
    assert "R²" not in compare_runs(runs[1:])


def test_the_fewest_inputs_are_those_of_a_row_in_all_runs(tmp_path):
    """One set in the file has fewer inputs than the rest; one run scored a row with another number as well."""
    wide = ("wide", 1, "static", "full", "psnr", 50.0, 49.0, 51.0)
    joint = [("static_test", inputs, "joint", "full", "psnr", 10.0 * inputs, 0.0, 99.0) for inputs in (2, 3)]
    text = compare_runs([make_run(tmp_path / "a", more=[wide, *joint]), make_run(tmp_path / "b", more=joint[1:])])
    assert "| static (2 inputs) | 20.0 [19.0, 21.0] | 20.0 [19.0, 21.0] | 20.0 ± 0.0 |" in text
    assert "| joint (3 inputs) | 30.0 [0.0, 99.0] | 30.0 [0.0, 99.0] | 30.0 ± 0.0 |" in text


def test_rows_without_an_interval_show_their_mean(tmp_path):
    single = ("static_test", 2, "joint", "full", "psnr", 21.0, "nan", "nan")
    runs = [make_run(tmp_path / name, more=[single]) for name in "ab"]
    assert "| joint | 21.0 | 21.0 | 21.0 ± 0.0 |" in compare_runs(runs)


@pytest.mark.parametrize("place", ["tables/summary.csv", "tables/claims.csv", "scores/renderer.json"])
def test_unfinished_and_damaged_runs_are_named(tmp_path, place):
    file = make_run(tmp_path / "a") / place
    file.write_text("")
    with pytest.raises(ValueError, match=rf"{file.name}: (not a table|not valid JSON)"):
        compare_runs([tmp_path / "a"])
    file.unlink()
    with pytest.raises(ValueError, match=rf"{file.name}( is missing; finish the run|: no such manifest)"):
        compare_runs([tmp_path / "a"])


def test_names_of_tables_stay_names(tmp_path):
    folder = make_run(tmp_path / "a", more=[("NA", 2, "null", "full", "psnr", "nan", "", 1.0)], claims=("nan",))
    row = read_summary(folder / "tables").iloc[-1]
    assert (row["split"], row["method"]) == ("NA", "null")
    assert row[["mean", "low"]].isna().all()
    assert read_claims(folder / "tables")["claim"].tolist() == ["nan"]
    assert read_claims(folder / "tables")["note"].tolist() == [""]


def test_seed_and_machine_of_each_run_are_shown_as_far_as_known(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b")]
    checkpoint = runs[0] / "pretrain" / "checkpoint"
    checkpoint.mkdir(parents=True)
    options = {"compute.device": "cpu", "threads": 2}
    manifest = {
        "extra": {"seed": 3, "rounding": [{"step": 0, "options": options}]},
        "versions": {"wildrayzer": "0.1.0", "torch": "2.13.0", "processor": "Some CPU"},
    }
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    text = compare_runs(runs)
    assert "| seed | 3 | – |" in text
    assert "| processor | Some CPU | – |" in text
    assert "| threads | 2 | – |" in text
