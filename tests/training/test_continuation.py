"""Training that continues after its split has grown: with the new parts, recorded, exactly resumable, or refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from tests.training.test_loop import CONFIG, job, weights
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.stages.train import train
from wildrayzer.training.data import open_data
from wildrayzer.training.job import Origin
from wildrayzer.training.loop import Trainer
from wildrayzer.training.resume import ResumeFolder

FORM = StoreForm(CONFIG.model.image_size, StoreConfig(), cameras=False)
LENGTH = 8


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Three parts of two clips each, and the folder that they lie in."""
    folder, found = tmp_path_factory.mktemp("parts"), []
    for number in range(3):
        names = (f"clip{2 * number}", f"clip{2 * number + 1}")
        with FrameStoreWriter(folder / "static_train", FORM, keyed=True) as writer:
            for place, name in enumerate(names):
                pixels = np.random.default_rng([number, place])
                writer.add_scene(name, pixels.integers(0, 256, (LENGTH, 24, 24, 3), np.uint8))
        found.append(PartEntry(writer.digest, 2 * LENGTH * number, names, (LENGTH, LENGTH)))
    return folder, found


@pytest.fixture
def run(entries, tmp_path):
    """Trains on some of the parts."""
    source, found = entries
    shutil.copytree(source / "static_train", tmp_path / "static_train")

    def run(folder, parts, steps, *, stop_after=None, **options):
        stage = {"steps": steps, "save_every": 1, "validate_every": 99, **options.pop("stage", {})}
        manifest = SplitManifest(FORM.image_size, FORM.coding, FORM.arrays, {}, tuple(found[n] for n in parts))
        manifest.save(tmp_path / "static_train.json")
        options |= {"static_store": str(tmp_path / "static_train.json"), "validation_store": None}
        with pytest.MonkeyPatch.context() as patched:
            after = Trainer._after_step

            def killed(self, done, metrics):
                after(self, done, metrics)
                if done == stop_after:
                    raise KeyboardInterrupt

            patched.setattr(Trainer, "_after_step", killed)
            train(job(tmp_path, tmp_path / folder, stage=stage, **options))
        return json.loads((tmp_path / folder / "checkpoint" / "manifest.json").read_text(encoding="utf-8"))

    return run


def test_a_finished_run_continues_with_the_new_part_and_says_so(run, tmp_path, caplog):
    first = run("a", (0, 1), 2)
    assert "continued" not in first["extra"]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    made = run("a", (0, 1, 2), 4, continues=True)
    assert made["extra"]["summary"]["resumed_from"] == 2
    assert made["extra"]["continued"] == [{"step": 2, "steps": 4, "new_parts": {"static": 1}}]
    assert "state continues after step 2 of now 4 with more data, new parts: 1 of static" in caplog.text
    assert made["step"] == 4
    # A run that has continued resumes exactly, also where the call does not say `continue` again.
    with pytest.raises(KeyboardInterrupt):
        run("b", (0, 1, 2), 4, continues=True, stop_after=3)
    again = run("b", (0, 1, 2), 4)
    assert again["extra"]["summary"]["resumed_from"] == 3
    assert again["extra"]["continued"] == made["extra"]["continued"]
    assert again["config_digest"] == made["config_digest"]
    ours, theirs = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    fresh = run("c", (0, 1, 2), 4, continues=True)
    assert "continued" not in fresh["extra"], "without a state there is nothing to continue"
    assert fresh["config_digest"] != made["config_digest"]


def test_a_stopped_run_continues_before_its_last_step_and_starts_again_without_the_word(run, tmp_path):
    for folder in "ab":
        with pytest.raises(KeyboardInterrupt):
            run(folder, (0, 1), 3, stop_after=2)
    assert run("a", (0, 1, 2), 3, continues=True)["extra"]["continued"][0]["step"] == 2
    assert run("b", (0, 1, 2), 3)["extra"]["summary"]["resumed_from"] == 0
    assert (tmp_path / "b" / "state.stale-0").is_dir()


def test_a_run_that_lost_a_part_or_changed_an_option_is_not_continued_and_keeps_its_states(run, tmp_path):
    run("a", (0, 1), 2)
    before = {file: file.read_bytes() for file in (tmp_path / "a" / "state").iterdir()}
    with pytest.raises(ValueError, match="1 of the 2 parts of static that it has learned from were removed or made"):
        run("a", (0, 2), 4, continues=True)
    with pytest.raises(ValueError, match=r"options other than `steps` have changed.*leave state out of `continue`"):
        run("a", (0, 1, 2), 4, continues=True, stage={"learning_rate": 1e-4})
    with pytest.raises(ValueError, match="steps is 1, it was 2"):
        run("a", (0, 1, 2), 1, continues=True)
    assert {file: file.read_bytes() for file in (tmp_path / "a" / "state").iterdir()} == before


def test_states_that_record_no_parts_are_not_continued(tmp_path):
    folder = ResumeFolder(tmp_path / "state", identity="a")
    folder.claim()
    folder.save(1, {})
    origin = Origin(options="", steps=2, parts={})
    with pytest.raises(ValueError, match="its states do not say what they were trained on"):
        ResumeFolder(tmp_path / "state", identity="b", origin=origin, continues=True).claim()


def test_the_order_of_data_depends_on_seed_step_and_parts(run, tmp_path):
    run("a", (0, 1, 2), 1)
    refs = []
    for seed in (0, 0, 1):
        settings = {"static_store": str(tmp_path / "static_train.json"), "validation_store": None, "seed": seed}
        builder, _, parts = open_data(job(tmp_path, tmp_path / "a", **settings))
        refs.append([builder.sampler.batch(step) for step in range(6)])
    assert refs[0] == refs[1] != refs[2]
    assert len(parts["static"]) == 3
    assert {ref.scene for ref in refs[0][0] + refs[0][1]} == set(range(6))
