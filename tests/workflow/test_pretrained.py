"""Taking a finished static renderer in place of pretraining."""

from pathlib import Path

import pytest
import torch

from wildrayzer.checkpoint import load_checkpoint, load_tensors, read_manifest, save_checkpoint
from wildrayzer.config import load_config, parse_config
from wildrayzer.data.ingest.run_config import derive
from wildrayzer.models import WildRayZer
from wildrayzer.training.starting_weights import adopt_pretrained

TINY = Path(__file__).parents[1] / "resources" / "tiny.yaml"
MODEL = load_config(TINY).model
HEADLESS = MODEL.model_copy(update={"motion_head": None})


def write(folder, model, *, stage="imported"):
    torch.manual_seed(3)
    network = WildRayZer(model)
    save_checkpoint(folder, network, stage=stage, step=7, inputs=(2, 3), targets=4, config_digest="c")
    return str(folder)


def test_a_renderer_of_the_runs_sizes_is_copied(tmp_path):
    source = write(tmp_path / "from", MODEL)
    adopt_pretrained(source, str(tmp_path / "to"), model=MODEL)
    for name in ("model.safetensors", "manifest.json"):
        assert (tmp_path / "to" / name).read_bytes() == (tmp_path / "from" / name).read_bytes()


def test_a_renderer_without_motion_head_is_given_the_runs(tmp_path):
    source = write(tmp_path / "from", HEADLESS)
    torch.manual_seed(1)
    adopt_pretrained(source, str(tmp_path / "to"), model=MODEL)
    torch.manual_seed(2)
    adopt_pretrained(source, str(tmp_path / "again"), model=MODEL)
    model, manifest = load_checkpoint(tmp_path / "to")
    assert model.config == manifest.model == MODEL
    assert manifest.weights_digest == read_manifest(tmp_path / "again").weights_digest
    assert manifest.parent == read_manifest(source).weights_digest
    assert (manifest.stage, manifest.step, manifest.inputs, manifest.targets) == ("pretrain", 7, (2, 3), 4)
    before, after = load_tensors(source), load_tensors(tmp_path / "to")
    assert all(torch.equal(after[name], value) for name, value in before.items())
    new = set(after) - set(before)
    assert "scene_encoder.noise_token" in new
    assert all(name.startswith("motion_head.") for name in new - {"scene_encoder.noise_token"})


def test_an_untrained_motion_head_of_another_kind_is_replaced_and_a_trained_one_refused(tmp_path):
    other = MODEL.model_copy(update={"motion_head": MODEL.motion_head.model_copy(update={"blocks": 2})})
    source = write(tmp_path / "from", other, stage="pretrain")
    adopt_pretrained(source, str(tmp_path / "to"), model=MODEL)
    before, after = load_tensors(source), load_tensors(tmp_path / "to")
    assert read_manifest(tmp_path / "to").model == MODEL
    assert all(torch.equal(after[name], before[name]) for name in after if not name.startswith("motion_head."))
    trained = write(tmp_path / "trained", other, stage="joint")
    with pytest.raises(ValueError, match=r"trained holds another network: model.motion_head is"):
        adopt_pretrained(trained, str(tmp_path / "refused"), model=MODEL)


def test_other_sizes_are_refused_by_name(tmp_path):
    for model in (MODEL, HEADLESS):
        source = write(tmp_path / "from", model.model_copy(update={"scene_tokens": 5}))
        with pytest.raises(ValueError, match=r"model.scene_tokens is 5, this run has 4") as refused:
            adopt_pretrained(source, str(tmp_path / "to"), model=MODEL)
        assert "motion_head" not in str(refused.value)
        assert not (tmp_path / "to").exists()


def test_a_set_of_own_videos_takes_the_head_of_its_base(tmp_path):
    source = write(tmp_path / "from", HEADLESS.model_copy(update={"scene_tokens": 5}))
    config = parse_config(derive(TINY, tmp_path / "own", pretrained=source))
    assert config.model == MODEL.model_copy(update={"scene_tokens": 5})
