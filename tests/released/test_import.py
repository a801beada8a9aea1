"""Import, export and their commands, on small checkpoints under released names."""

import argparse
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests.helpers.golden import case_config, read_case, released_shapes, released_state
from wildrayzer.checkpoint import load_checkpoint, read_manifest, save_checkpoint
from wildrayzer.cli.main import app
from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.io.digests import digest_file
from wildrayzer.models import WildRayZer
from wildrayzer.released.convert import import_released, map_released
from wildrayzer.released.keys import CONSTANTS, released_name
from wildrayzer.released.reader import read_released
from wildrayzer.released.strip import strip

CONFIGS = Path(__file__).parents[2] / "config"
SMALL = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "scene_tokens": 5}
SMALL |= {"camera_blocks": 1, "scene_blocks": 3, "decoder_blocks": 2}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def small_state(**options):
    config = ModelConfig(**(SMALL | {"motion_head": None} | options))
    return config, released_state(released_shapes(config), 4)


def masked_state():
    head = MotionHeadConfig(blocks=2, feature_width=7, head_width=None)
    config = ModelConfig(
        image_size=32,
        width=96,
        head_width=8,
        camera_blocks=1,
        scene_blocks=1,
        decoder_blocks=1,
        scene_tokens=2,
        motion_head=head,
    )
    return config, released_state(released_shapes(config) | dict.fromkeys(CONSTANTS, (1, 3, 1, 1)), 4)


@pytest.mark.parametrize("name", ["tiny_renderer", "masked_small"])
def test_names_and_shapes_are_those_of_the_release(name):
    case, keys, _ = read_case(name)
    expected = {key: tuple(shape) for key, shape in keys.items() if key not in CONSTANTS}
    assert released_shapes(case_config(case)) == expected
    assert set(keys) - set(expected) == (set(CONSTANTS) if case["mask"] else set())


def test_a_weight_of_a_deviation_has_no_released_name():
    with pytest.raises(ValueError, match=r"no counterpart of the weight camera_encoder\.view\.embedding"):
        released_name("camera_encoder.view.embedding")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_of_another_origin_is_replaced_only_if_asked(tmp_path):
    config, state = masked_state()
    torch.save(state, tmp_path / "in.pt")
    torch.manual_seed(1)
    save_checkpoint(
        tmp_path / "trained", WildRayZer(config), stage="joint", step=9, inputs=2, targets=6, config_digest="c"
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"name": "web app"}', encoding="utf-8")
    command = ("released", "import", tmp_path / "in.pt", "--image-size", 32, "--out")
    for folder in (tmp_path / "trained", tmp_path / "other"):
        before = contents(folder)
        result = run(*command, folder)
        assert result.exit_code == 2, result.output
        assert "manifest.json exists, and is not what this command writes" in " ".join(result.output.split())
        assert contents(folder) == before
        assert run(*command, folder, "--overwrite").exit_code == 0
        assert read_manifest(folder).stage == "released"
    assert run(*command, tmp_path / "trained").exit_code == 0  # its own, and the same
    assert run(*command, tmp_path / "trained", "--inputs", 5).exit_code == 2
    assert read_manifest(tmp_path / "trained").inputs == (2,)


def test_an_existing_file_is_exported_over_only_if_asked(tmp_path):
    _, state = masked_state()
    torch.save(state, tmp_path / "in.pt")
    assert run("released", "import", tmp_path / "in.pt", "--image-size", 32, "--out", tmp_path / "c").exit_code == 0
    command = ("released", "export", tmp_path / "c", "--out", tmp_path / "out.pt")
    (tmp_path / "out.pt").write_text("mine", encoding="utf-8")
    assert run(*command).exit_code == 2
    assert (tmp_path / "out.pt").read_text(encoding="utf-8") == "mine"
    assert run(*command, "--overwrite").exit_code == 0
    written = (tmp_path / "out.pt").read_bytes()
    assert run(*command).exit_code == 0  # its own, and the same
    assert (tmp_path / "out.pt").read_bytes() == written


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("nested", [True, False])
def test_round_trip_is_bit_exact(tmp_path, prefix, nested):
    config, state = masked_state()
    content = {prefix + name: value for name, value in state.items()}
    content[f"{prefix}loss_computer.vgg.0.weight"] = torch.zeros(3)
    torch.save({"model": content, "optimizer": {"step": 3}, "lr": 0.1} if nested else content, tmp_path / "in.pt")

    result = run(
        "released", "import", tmp_path / "in.pt", "--out", tmp_path / "ours", "--inputs", 3, "--image-size", 32
    )
    assert result.exit_code == 0, result.output
    assert "loss_computer.* (1 tensors)" in result.output
    assert ("ignored  optimizer" in result.output) is nested
    for line in (
        "assumed  image size 32",
        "canonical view first",
        "mask threshold 0.1",
        "3 input views",
        "6 target views",
    ):
        assert line in result.output

    manifest = read_manifest(tmp_path / "ours")
    assert manifest.model == config
    assert (manifest.stage, manifest.inputs, manifest.attention_kernel) == ("released", (3,), "sdpa")
    assert manifest.targets == 6  # ten pictures are rendered six at a time, in the number of views that it knows
    assert manifest.source["digest"] == digest_file(tmp_path / "in.pt")
    assert manifest.source["file"] == "in.pt"

    result = run("released", "export", tmp_path / "ours", "--out", tmp_path / "out.pt")
    assert result.exit_code == 0, result.output
    back = torch.load(tmp_path / "out.pt", weights_only=True)["model"]
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "options",
    [
        {"pose": "quaternion"},
        {"scene_tokens": 9, "scene_blocks": 2, "camera_blocks": 3},
        {"width": 48, "head_width": 24, "patch_size": 4},
        {"canonical_view": "middle"},
        {"motion_head": MotionHeadConfig(blocks=1, use_features=False), "patch_size": 16},
        {"motion_head": MotionHeadConfig(blocks=3, feature_width=11, head_width=8), "patch_size": 16},
    ],
)
def test_sizes_are_read_off_the_weights(tmp_path, options):
    config, state = small_state(**options)
    if config.motion_head is not None:
        state |= {name: torch.tensor(values).view(1, 3, 1, 1) for name, values in CONSTANTS.items()}
    torch.save(state, tmp_path / "in.pt")
    mapped = map_released(tmp_path / "in.pt", image_size=32, canonical=config.canonical_view)
    assert mapped.config == config.model_copy(update={"motion_head": config.motion_head and mapped.config.motion_head})
    if config.motion_head is not None:
        for field in ("blocks", "use_features", "head_width"):
            assert getattr(mapped.config.motion_head, field) == getattr(config.motion_head, field)


def test_half_precision_weights_become_float32_and_that_is_said(tmp_path):
    _, state = small_state()
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "in.pt")
    mapped = map_released(tmp_path / "in.pt", image_size=32)
    assert "weights in torch.float16 converted to torch.float32" in mapped.assumed
    assert {value.dtype for value in mapped.tensors.values()} == {torch.float32}


def test_weights_that_share_memory_are_written(tmp_path):
    _, state = small_state()
    flat = torch.cat([value.flatten() for value in state.values()])
    views, start = {}, 0
    for name, value in state.items():
        views[name] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    torch.save(views, tmp_path / "in.pt")
    import_released(tmp_path / "in.pt", tmp_path / "ours", image_size=32)
    loaded, _ = load_checkpoint(tmp_path / "ours")
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[released_name(name)])


class Code:
    """Pickles to a call of os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def changed(**changes):
    _, state = small_state()
    return {name: value for name, value in (state | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (lambda: changed(**{"decoder_ln.weight": None}), ["missing weight decoder_ln.weight"]),
        (lambda: changed(scene_code=None), ["missing weight scene_code"]),
        (
            lambda: changed(**{"transformer_encoder_geom.1.norm2.weight": None}),
            ["missing weight transformer_encoder_geom.1"],
        ),
        (lambda: changed(surprise=torch.zeros(2)), ["unknown weight surprise"]),
        (lambda: changed(noise_token=torch.zeros(1, 1, 32)), ["unknown weight noise_token"]),
        (lambda: changed(**{"mlp_fuse.3.bias": torch.zeros(31)}), ["mlp_fuse.3.bias: shape [31], expected [32]"]),
        (
            lambda: changed(**{"mlp_fuse.3.bias": None, "mlp_fuse.9.bias": torch.zeros(1)}),
            ["missing weight mlp_fuse.3.bias", "unknown weight mlp_fuse.9.bias"],
        ),
        (lambda: changed(scene_code=torch.zeros(32)), ["scene_code: shape [32], expected 2 dimensions"]),
        (lambda: changed(**{"image_tokenizer.1.weight": torch.zeros(32, 100)}), ["100 inputs are no square patch"]),
        (lambda: changed(**{"pose_predictor.rel_head.2.weight": torch.zeros(8, 32)}), ["8 outputs; 9 are a 6D pose"]),
        (
            lambda: changed(**{"transformer_decoder.99999999.norm1.weight": torch.zeros(32)}),
            ["transformer_decoder.99999999"],
        ),
        (lambda: changed(**{"module.scene_code": torch.zeros(5, 32)}), ["scene_code is there twice"]),
        (lambda: changed(scene_code=torch.zeros(5, 32, dtype=torch.int64)), ["scene_code", "int64"]),
        (lambda: changed(epoch=3), ["unknown entry 'epoch' holds a int"]),
        (lambda: {"model": 3}, ["'model' holds no dict of weights"]),
        (lambda: torch.zeros(3), ["holds a Tensor, not a dict of weights"]),
        (dict, ["holds no dict of weights"]),
    ],
)
def test_faulty_weights_are_named_and_nothing_is_written(tmp_path, content, messages):
    torch.save(content(), tmp_path / "in.pt")
    result = run("released", "import", tmp_path / "in.pt", "--out", tmp_path / "ours", "--image-size", 32)
    assert result.exit_code == 2
    assert "in.pt" in result.output
    for message in messages:
        assert message in result.output
    assert not (tmp_path / "ours").exists()


def test_another_normalisation_of_the_backbone_is_refused(tmp_path):
    _, state = masked_state()
    state["motion_mask_predictor.dino_norm_std"] = torch.ones(1, 3, 1, 1)
    torch.save(state, tmp_path / "in.pt")
    with pytest.raises(ValueError, match=r"dino_norm_std = \[1\.0, 1\.0, 1\.0\], expected ImageNet's"):
        map_released(tmp_path / "in.pt", image_size=32)


@pytest.mark.parametrize("kind", ["code", "truncated", "text", "empty", "missing", "folder", "legacy"])
def test_files_that_are_no_checkpoint_are_refused_and_run_no_code(tmp_path, kind):
    path, witness = tmp_path / "in.pt", tmp_path / "ran"
    _, state = small_state()
    if kind == "code":
        torch.save({"model": state, "hook": Code(f"touch {witness}")}, path)
    elif kind == "truncated":
        torch.save({"model": state}, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "folder":
        path.mkdir()
    elif kind == "legacy":
        torch.save({"hook": Code(f"touch {witness}")}, path, _use_new_zipfile_serialization=False)
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"these are not the weights")
    result = run("released", "import", path, "--out", tmp_path / "ours", "--image-size", 32)
    assert result.exit_code == 2
    assert f"error: {path}: " in result.output.replace("\n", "")
    assert not witness.exists()
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view_type_embedding": True}, "model.view_type_embedding: True"),
        ({"focal": "shared"}, "model.focal: shared"),
        ({"token_fusion": "linear"}, "model.token_fusion: linear"),
        ({"motion_head": MotionHeadConfig(blocks=1)}, "a motion head with 2 attention heads (it has 12)"),
        ({"motion_head": MotionHeadConfig(kind="convolutional")}, "model.motion_head.kind: convolutional"),
        ({"motion_head": MotionHeadConfig(blocks=1)}, "a motion head with model.patch_size: 8 (it has 16)"),
    ],
)
def test_what_the_release_cannot_express_is_not_exported(tmp_path, options, message):
    model = WildRayZer(ModelConfig(**(SMALL | {"motion_head": None} | options)))
    save_checkpoint(tmp_path / "ours", model, stage="joint", step=1, inputs=2, targets=1, config_digest="c")
    result = run("released", "export", tmp_path / "ours", "--out", tmp_path / "out.pt")
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out.pt").exists()


def test_describe_prints_counts_by_part(tmp_path):
    config, state = small_state()
    torch.save(state, tmp_path / "in.pt")
    import_released(tmp_path / "in.pt", tmp_path / "ours", image_size=32)
    result = run("released", "describe", tmp_path / "ours")
    assert result.exit_code == 0, result.output
    rows = dict(line.rsplit(maxsplit=1) for line in result.output.splitlines()[1:])
    rows = {name.strip(): int(number.replace(",", "")) for name, number in rows.items()}
    total = sum(int(np.prod(value.shape)) for value in state.values())
    assert rows.pop("total") == sum(rows.values()) == total
    assert rows["input rays"] == 6 * config.patch_size**2 * config.width
    assert "no motion head" in result.output
    (tmp_path / "bad.yaml").write_text("nothing: here\n")
    assert run("released", "describe", tmp_path / "bad.yaml").exit_code == 2


def test_describe_reads_a_configuration_and_names_deviations():
    result = run("released", "describe", CONFIGS / "paper.yaml")
    assert result.exit_code == 0, result.output
    assert "256 px, patch 16, width 768" in result.output
    assert "differs from the paper" not in result.output
    result = run("released", "describe", CONFIGS / "demo.yaml")
    assert result.exit_code == 0, result.output
    assert "differs from the paper  model.camera_encoder: pairwise" in result.output


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state},
        lambda state: {"module": state},
        lambda state: {"ema": {"module": state}},
        lambda state: {"ema": {"scene_code": torch.zeros(1)}, "model": state},
        lambda state: {"params": state, "params_ema": {name: 0 * value for name, value in state.items()}},
        lambda state: {"params_ema": state},
        lambda state: {"state_dict_ema": {"module": state}, "epoch": 3},
        lambda state: {f"params_ema.{name}": value for name, value in state.items()},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: {"model": {f"module._orig_mod.{name}": value for name, value in state.items()}},
        lambda state: {"state_dict": {f"_orig_mod.module.model.{name}": value for name, value in state.items()}},
        lambda state: {f"ema.{name}": value for name, value in state.items()},
        lambda state: {f"ema.{name}": 0 * value for name, value in state.items()} | state,
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_wrappers_and_prefixes_of_tools_are_removed_in_any_order(tmp_path, wrap, legacy):
    _, state = small_state()
    torch.save(wrap(state), tmp_path / "in.pt", _use_new_zipfile_serialization=not legacy)
    read = read_released(tmp_path / "in.pt")
    assert read.tensors.keys() == state.keys()
    assert all(torch.equal(read.tensors[name], value) for name, value in state.items())


@pytest.mark.parametrize("kind", ["index", "folder", "safetensors"])
def test_shards_and_safetensors_are_read(tmp_path, kind):
    _, state = small_state()
    names = sorted(state)
    halves = {f"model-0000{number + 1}-of-00002": names[number::2] for number in range(2)}
    suffix = ".safetensors" if kind == "safetensors" else ".bin"
    for file, part in halves.items():
        content = {name: state[name] for name in part}
        save_file(content, tmp_path / f"{file}{suffix}") if kind == "safetensors" else torch.save(
            content, tmp_path / f"{file}{suffix}"
        )
    if kind == "index":
        weight_map = {name: f"{file}{suffix}" for file, part in halves.items() for name in part}
        (tmp_path / "model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    read = read_released(tmp_path / "model.bin.index.json" if kind == "index" else tmp_path)
    assert all(torch.equal(read.tensors[name], value) for name, value in state.items())
    (tmp_path / f"model-00002-of-00002{suffix}").unlink()
    with pytest.raises(
        ValueError, match=r"which is not beside it; fetch all shards|holds 1 of 2 shards; fetch the others"
    ):
        read_released(tmp_path / "model.bin.index.json" if kind == "index" else tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(tmp_path, value, dtype):
    _, state = small_state()
    state["scene_code"] = state["scene_code"].to(dtype)
    state["scene_code"][0, :3] = value
    torch.save(state, tmp_path / "in.pt")
    with pytest.raises(ValueError, match=r"in\.pt: scene_code holds 3 of 160 values that are NaN or infinite"):
        read_released(tmp_path / "in.pt")


@pytest.mark.parametrize("value", [torch.zeros(5, 32, device="meta"), torch.zeros(1).expand(10**9, 10**6)])
def test_weights_without_values_are_refused(tmp_path, value):
    torch.save(changed(scene_code=value), tmp_path / "in.pt")
    with pytest.raises(ValueError, match=r"scene_code claims shape .* the file does not hold its values"):
        read_released(tmp_path / "in.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of git-LFS"),
        (b"<!DOCTYPE html>", "is a web page"),
        (bytes(5000), "begins with zeros"),
        (b'{"error": "no such file"}', "not readable as a checkpoint"),
        (b"/annex/objects/MD5-s3--aa", "not readable as a checkpoint"),
        (b"\x1f\x8b\x08" + bytes(40), "not readable as a checkpoint"),
        (b"PK\x03\x04" + bytes(40), "not readable as a checkpoint"),
    ],
)
def test_what_stands_in_for_a_checkpoint_is_said(tmp_path, content, message):
    (tmp_path / "in.pt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"in\.pt: {message}") as raised:
        read_released(tmp_path / "in.pt")
    assert "mmap" not in str(raised.value)


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (np.float64(3), "numpy._core.multiarray.scalar"),
        (Path("a"), "pathlib.PosixPath"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_an_object_beside_the_weights_is_named_and_stripped(tmp_path, beside, name, legacy):
    _, state = small_state()
    torch.save({"model": state, "args": beside, "more": [{"a": beside}]}, tmp_path / "in.pt",
               _use_new_zipfile_serialization=not legacy)  # fmt: skip
    with pytest.raises(
        ValueError, match=rf"holds an object of {re.escape(name)} beside the weights(.|\n)*released strip"
    ):
        read_released(tmp_path / "in.pt")
    result = run("released", "strip", tmp_path / "in.pt", "--out", tmp_path / "out.pt")
    assert (result.exit_code, f"{len(state)} tensors" in result.output) == (0, True), result.output
    assert torch.load(tmp_path / "out.pt", weights_only=True).keys() == {"model"}
    read = read_released(tmp_path / "out.pt")
    assert all(torch.equal(read.tensors[key], value) for key, value in state.items())
    assert run("released", "strip", tmp_path / "in.pt", "--out", tmp_path / "out.pt").exit_code == 0, "the same again"
    assert run("released", "strip", tmp_path / "in.pt", "--out", tmp_path / "in.pt").exit_code == 2
    (tmp_path / "link.pt").symlink_to("/nowhere")
    assert run("released", "strip", tmp_path / "in.pt", "--out", tmp_path / "link.pt").exit_code == 2
    result = run("released", "import", tmp_path / "out.pt", "--out", tmp_path / "in.pt", "--image-size", "32")
    assert (result.exit_code, "in.pt is a file or a broken link, not a folder" in result.stderr) == (2, True)


def test_stripping_runs_no_code(tmp_path):
    _, state = small_state()
    torch.save({"model": state, "hook": Code(f"touch {tmp_path / 'ran'}")}, tmp_path / "in.pt")
    assert strip(tmp_path / "in.pt", tmp_path / "out.pt") == len(state)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "text.pt").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"text\.pt: not readable as a checkpoint"):
        strip(tmp_path / "text.pt", tmp_path / "no.pt")
