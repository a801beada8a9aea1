"""A stage is continued only with the data that it has learned from: what is missing is named before any job starts."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.run.test_redo import graph
from wildrayzer.config import load_config
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.io.files import write_json
from wildrayzer.io.part_lists import parts_folder
from wildrayzer.run.redo import record_job
from wildrayzer.tools.continued_data import continued_data_faults

CONFIG = load_config(Path(__file__).parents[1] / "resources" / "tiny.yaml")
KEYS = ["a" * 16, "b" * 16]


class Named(dict):
    """Stands in for Snakemake's named lists."""

    __getattr__ = dict.__getitem__

    def __iter__(self):
        return iter(self.values())


def stub(rule: str, log: Path, *, inputs=None, outputs=None, params=None, split=None):
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule), input=Named(inputs or {}), output=Named(outputs or {}), log=[str(log)],
        params=params or {}, wildcards_dict={"split": split} if split else {},
    )  # fmt: skip


def manifest(path: Path, keys=KEYS) -> str:
    """A split of one clip per part."""
    entries = []
    for number, key in enumerate(keys):
        folder = parts_folder(path) / f"{key}.zarr"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "zarr.json").touch()
        entries.append(PartEntry(key, 3 * number, (f"clip{number}",), (3,)))
    SplitManifest(4, "zstd", ("frames",), {}, tuple(entries)).save(path)
    return str(path)


@pytest.fixture
def stage(tmp_path):
    """A stage with a state that has learned from two parts of a static split."""
    state = tmp_path / "state"
    write_json(state / "identity.json", {
        "identity": "i", "origin": {"options": "o", "steps": 6, "parts": {"static": KEYS, "dynamic": KEYS}},
    }, checksum=True)  # fmt: skip
    (state / "step-000000006.pt").touch()
    inputs = {name: manifest(tmp_path / f"{name}.json") for name in ("static_store", "dynamic_store")}
    params = {"recipe": "distill", "state": str(state)}
    return stub("train_distill", tmp_path / "d.log", inputs={**inputs, "pixel_masks": ["masks.json"]}, params=params)


def faults(*jobs, kept=(), value="distill"):
    return continued_data_faults(graph(*jobs), CONFIG, value, lambda job: list(kept))


def preparation(tmp_path, name: str, *, raw="videos", split="dynamic_train"):
    outputs = {"store": str(tmp_path / f"{name}.json")}
    return stub("prepare_split", tmp_path / "p.log", inputs={"raw": raw}, outputs=outputs, split=split)


def test_a_stage_whose_parts_are_there_can_be_continued(stage, tmp_path):
    assert faults(stage) == []
    manifest(tmp_path / "static_store.json", [*KEYS, "c" * 16])
    assert faults(stage) == []
    manifest(tmp_path / "static_store.json", KEYS[1:])
    assert faults(stage, value="masked") == [], "it is not continued"
    assert faults(stage, value=None) == []


def test_parts_that_are_gone_are_counted_by_source(stage, tmp_path):
    manifest(tmp_path / "static_store.json", KEYS[1:])
    (fault,) = faults(stage)
    assert "distill: 1 of the 2 parts of static that it has learned from were removed or made again" in fault
    assert "leave distill out of `continue`" in fault


def test_a_listed_part_that_is_missing_is_named(stage, tmp_path):
    (tmp_path / "dynamic_store" / f"{KEYS[1]}.zarr" / "zarr.json").unlink()
    (tmp_path / "dynamic_store" / f"{KEYS[1]}.zarr").rmdir()
    (fault,) = faults(stage)
    assert fault.startswith("distill cannot be continued: ")
    assert f"{KEYS[1]}.zarr" in fault


def test_states_that_do_not_say_what_they_learned_from(stage):
    (Path(stage.params["state"]) / "identity.json").unlink()
    (fault,) = faults(stage)
    assert "its states do not say what they were trained on" in fault


def test_a_preparation_of_this_call_that_takes_a_part_away(stage, tmp_path):
    job = preparation(tmp_path, "dynamic_store")
    assert faults(stage, job, kept=[*KEYS, None]) == [], "the split has grown"
    (fault,) = faults(stage, job, kept=[KEYS[0], None])
    assert "distill: 1 of the 2 parts of dynamic" in fault
    assert "because clips in videos were removed or replaced" in fault


@pytest.mark.parametrize(("scenes", "count"), [(7, 0), (5, 1)])
def test_an_embedded_split_may_only_grow(stage, tmp_path, scenes, count):
    old, new = ({"embedded": {"splits": {"dynamic_train": {"scenes": number}}}} for number in (6, scenes))
    made = stub("make_embedded", tmp_path / "m.log", outputs={"folder": "raw"}, params=new, split="dynamic_train")
    record_job(tmp_path / "m.log", old, [])
    found = faults(stage, made, preparation(tmp_path, "dynamic_store", raw="raw"))
    assert len(found) == count
    assert all("data.embedded.splits.dynamic_train.scenes: 6 → 5" in one for one in found)


def test_other_calibration_clips_change_all_masks(stage, tmp_path):
    manifest(tmp_path / "calibration.json")
    job = preparation(tmp_path, "calibration", split="calibration")
    assert faults(stage, job, kept=KEYS) == []
    (fault,) = faults(stage, job, kept=[*KEYS, None])
    assert "the clips of calibration change, from which the thresholds are calibrated" in fault
