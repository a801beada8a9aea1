import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from wildrayzer.checkpoint import load_checkpoint, load_tensors, read_manifest, save_checkpoint
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.io.digests import digest_file
from wildrayzer.io.files import read_json
from wildrayzer.models import WildRayZer

CONFIG = ModelConfig(
    image_size=16,
    patch_size=8,
    width=16,
    head_width=8,
    camera_blocks=1,
    scene_blocks=1,
    decoder_blocks=1,
    scene_tokens=2,
    motion_head=None,
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = WildRayZer(CONFIG)
    save_checkpoint(
        tmp_path / "a",
        model,
        stage="pretrain",
        step=7,
        inputs=(2, 3),
        targets=6,
        config_digest="c",
        parent="p",
        extra={"x": 1},
    )
    return tmp_path / "a", model


def test_round_trip_is_bit_exact_and_draws_nothing(saved):
    directory, model = saved
    state = torch.get_rng_state()
    loaded, manifest = load_checkpoint(directory)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.config == CONFIG
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    images = torch.rand(1, 3, 3, 16, 16)
    assert torch.equal(loaded(images, 2).render, model(images, 2).render)
    assert (manifest.stage, manifest.step, manifest.inputs, manifest.targets) == ("pretrain", 7, (2, 3), 6)
    assert (manifest.config_digest, manifest.parent, manifest.extra) == ("c", "p", {"x": 1})
    assert manifest.attention_kernel == "sdpa"
    assert manifest.weights_digest == digest_file(directory / "model.safetensors")


def test_saving_again_replaces_and_leaves_no_temporary_files(saved):
    directory, model = saved
    with torch.no_grad():
        model.scene_encoder.code.zero_()
    save_checkpoint(directory, model, stage="joint", step=1, inputs=2, targets=1, config_digest="c")
    assert sorted(path.name for path in directory.iterdir()) == ["manifest.json", "model.safetensors"]
    loaded, manifest = load_checkpoint(directory)
    assert manifest.stage == "joint"
    assert manifest.inputs == (2,)
    assert not loaded.scene_encoder.code.any()


def test_a_failing_write_leaves_the_old_checkpoint(saved, monkeypatch):
    directory, model = saved
    before = read_manifest(directory)

    def full(*args, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr("wildrayzer.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(directory, model, stage="joint", step=1, inputs=2, targets=1, config_digest="c")
    assert read_manifest(directory) == before
    load_checkpoint(directory)
    assert len(list(directory.iterdir())) == 2


def edit(directory, **changes):
    path = directory / "manifest.json"
    path.write_text(json.dumps(read_json(path) | changes))  # without a checksum, as earlier versions wrote it


def test_faults_are_named(saved, tmp_path):
    directory, _ = saved
    with pytest.raises(ValueError, match=r"nothing: no checkpoint here, manifest\.json is missing"):
        load_checkpoint(tmp_path / "nothing")
    edit(directory, format_version=99)
    with pytest.raises(ValueError, match="format version 99, this version reads 1"):
        load_checkpoint(directory)
    edit(directory, format_version=1, step="many")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged or of another version \(step: "):
        load_checkpoint(directory)


def test_a_changed_digit_of_the_manifest_is_noticed(saved):
    path = saved[0] / "manifest.json"
    path.write_text(path.read_text().replace('"step": 7', '"step": 8'))
    with pytest.raises(ValueError, match=r"manifest\.json has changed since it was written"):
        read_manifest(saved[0])


def test_damaged_or_exchanged_weights_are_refused(saved):
    directory, _ = saved
    weights = directory / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"digest .* but the manifest says .* damaged or"):
        load_tensors(directory)
    edit(directory, weights_digest=digest_file(weights))
    load_tensors(directory)
    weights.write_bytes(content[: len(content) // 2])
    edit(directory, weights_digest=digest_file(weights))
    with pytest.raises(ValueError, match="not readable as safetensors"):
        load_tensors(directory)
    weights.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing beside its manifest"):
        load_tensors(directory)


def test_weights_of_another_network_are_refused(saved):
    directory, _ = saved
    weights = directory / "model.safetensors"
    tensors = load_file(weights)
    tensors["scene_encoder.code"] = torch.zeros(5, 16)
    save_file(tensors, weights)
    edit(directory, weights_digest=digest_file(weights))
    with pytest.raises(ValueError, match=r"do not fit the manifest's model(.|\n)*scene_encoder\.code"):
        load_checkpoint(directory)
