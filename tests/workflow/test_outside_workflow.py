"""Files from outside in the workflow: what is scored again when they are replaced."""

import numpy as np
import pytest

from tests.helpers.tiny_run import planned, snakemake
from wildrayzer.run.layout import RunLayout

SCORES = RunLayout("tiny").view_scores("theirs", "static_test", 2)
OPTIONS = ("--config", "benchmark={renderings: {theirs: {folders: {static_test: out}}}}", "--", SCORES)


@pytest.mark.slow
def test_replaced_renderings_are_scored_again_and_untouched_ones_are_not(tmp_path):
    for scene in range(6):
        folder = tmp_path / "out" / f"static_test_{scene:05d}"
        folder.mkdir(parents=True)
        for frame in range(8):
            np.save(folder / f"{frame:05d}.npy", np.full((24, 24, 3), 0.5, np.float32))
    snakemake(tmp_path, *OPTIONS)
    assert planned(tmp_path, *OPTIONS) == {}
    times = (tmp_path / "out").stat().st_mtime_ns
    for file in (tmp_path / "out").rglob("*.npy"):
        np.save(file, np.full((24, 24, 3), 0.25, np.float32))
    assert (tmp_path / "out").stat().st_mtime_ns == times, "the folder itself says nothing of it"
    assert planned(tmp_path, *OPTIONS) == {"score_views": 1}
