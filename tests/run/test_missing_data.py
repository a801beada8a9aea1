"""A split whose data are gone: its frames are used with a warning, or refused where they would be made again."""

from pathlib import Path

import pytest
import yaml
from snakemake.exceptions import WorkflowError

from tests.helpers.tiny_run import TINY, planned
from wildrayzer.config import parse_config
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.missing_data import splits_without_data
from wildrayzer.run.redo import record_job

OPTIONS = {"split": {"role": "static"}, "image_size": 24}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose split `calibration` comes from a folder that is there, is prepared, and has a record."""
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    raw["data"]["splits"]["calibration"] |= {"layout": "pixelsplat", "path": "videos"}
    del raw["data"]["embedded"]["splits"]["calibration"]
    Path("videos").mkdir()
    layout = RunLayout("tiny")
    store = Path(layout.store("calibration"))
    store.parent.mkdir(parents=True)
    store.write_text("{}", encoding="utf-8")
    record_job(layout.log("prepare_split", "calibration"), OPTIONS, [])
    Path("run.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return parse_config(raw), layout


def found(run, **changes):
    config, layout = run
    return splits_without_data(config, layout, {"calibration": {**OPTIONS, **changes}})


def test_frames_whose_data_are_gone_are_used_with_a_warning(run):
    assert found(run) == ([], [])
    Path("videos").rmdir()
    (warning,), faults = found(run)
    assert faults == []
    assert warning == (
        "data.splits.calibration.path = 'videos' does not exist: the prepared frames of calibration "
        "(results/tiny/frames/calibration.json) are used as they are"
    )


def test_frames_that_would_be_made_again_need_their_data(run):
    assert found(run, image_size=48) == ([], []), "the data are there"
    Path("videos").rmdir()
    warnings, (fault,) = found(run, image_size=48)
    assert warnings == []
    assert "calibration.path = 'videos' does not exist, but the frames of calibration would have to be" in fault
    assert "image_size: 24 → 48" in fault


def test_a_split_that_is_not_prepared_is_left_to_snakemake(run):
    Path("videos").rmdir()
    Path(run[1].store("calibration")).unlink()
    assert found(run, image_size=48) == ([], [])


def test_the_workflow_refuses_before_it_plans(run):
    Path("videos").rmdir()
    with pytest.raises(WorkflowError, match="calibration would have to be prepared again"):
        planned(".", "--configfile", "run.yaml", "--", "frames")
