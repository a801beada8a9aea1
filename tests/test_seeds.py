"""Runs under several seeds, side by side."""

import json

import pandas as pd
import pytest

from wildrayzer.evaluation.seeds import seeds_table


def make_run(folder, *, psnr, iou):
    (folder / "tables").mkdir(parents=True)
    (folder / "scores").mkdir()
    rows = [
        ("static_test", 2, "static", "full", "psnr", psnr, psnr - 1, psnr + 1),
        ("static_test", 3, "static", "full", "psnr", 99.0, 98.0, 100.0),
        ("dynamic_test", 2, "pseudo:renderer", "mask", "iou", iou, iou - 0.1, iou + 0.1),
    ]
    columns = ["split", "inputs", "method", "region", "metric", "mean", "low", "high"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "tables" / "summary.csv", index=False)
    claim = {
        "claim": "better",
        "where": "static_test",
        "compared": "a − b",
        "mean": 0.5,
        "low": 0.1,
        "high": 0.9,
        "verdict": "holds",
        "note": "",
    }
    pd.DataFrame([claim]).to_csv(folder / "tables" / "claims.csv", index=False)
    health = {"camera_r2": {"shift": psnr / 100}, "figures": {"reordered": {"mean": 0.0}, "swapped": {"mean": -4.0}}}
    (folder / "scores" / "renderer.json").write_text(json.dumps(health))
    return folder


def test_means_intervals_and_spread_by_hand(tmp_path):
    runs = [make_run(tmp_path / name, psnr=psnr, iou=iou) for name, psnr, iou in (("a", 20, 0.3), ("b", 22, 0.4))]
    text = seeds_table(runs)
    assert "| static | 20.0 [19.0, 21.0] | 22.0 [21.0, 23.0] | 21.0 ± 1.4 |" in text
    assert "| pseudo:renderer | 30.0 [20.0, 40.0] | 40.0 [30.0, 50.0] | 35.0 ± 7.1 |" in text
    assert "| R² of shift | 0.20 | 0.22 | 0.21 ± 0.01 |" in text
    assert "| better (static_test: a − b) | holds (+0.5 [0.1, 0.9]) | holds (+0.5 [0.1, 0.9]) |" in text
    assert "99.0" not in text, "the fewest inputs are shown"


def test_an_unfinished_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"summary\.csv is missing; finish the run"):
        seeds_table([tmp_path])
