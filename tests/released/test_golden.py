"""The recorded figures of the public release, and further cases against the network written down plainly."""

import pytest
import torch

from tests.helpers.golden import (
    case_config,
    draw_images,
    draw_weights,
    load_released,
    read_case,
    released_shapes,
    released_state,
    save_backbone,
)
from tests.helpers.plain_network import Plain
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.pseudo_masks.backbones.build import build_backbone

AIM = 1e-5


def assert_close(found, expected, atol):
    torch.testing.assert_close(found.float(), torch.as_tensor(expected).float(), atol=atol, rtol=0)


def test_tiny_renderer_gives_the_released_figures():
    case, keys, expected = read_case("tiny_renderer")
    model = load_released(case_config(case), released_state(keys, case["seed"]))
    images = draw_images(case["batch"], case["vin"] + case["vtg"], case["img"], case["seed"])
    with torch.no_grad():
        result = model(images, case["vin"])
    assert_close(result.cameras.c2w, expected["c2w"], AIM)
    assert_close(result.cameras.intrinsics.flatten(0, 1), expected["fxfycxcy"], AIM)
    assert_close(result.render, expected["render"], AIM)


def test_masked_small_gives_the_released_figures(tmp_path):
    case, keys, expected = read_case("masked_small")
    save_backbone(case, tmp_path)
    config = case_config(case)
    section = FeaturesConfig(weights=str(tmp_path), precision="float32")
    backbone = build_backbone(section, patch_size=case["ps"], device="cpu")
    model = load_released(config, released_state(keys, case["seed"]))
    inputs = case["vin"]
    images = draw_images(case["batch"], inputs + case["vtg"], case["img"], case["seed"])
    with torch.no_grad():
        features = backbone(images[0])[None]
        result = model(images, inputs, features=features, motion=True, render_inputs=True)
    assert_close(result.cameras.c2w, expected["c2w"], AIM)
    assert_close(result.cameras.intrinsics.flatten(0, 1), expected["fxfycxcy"], AIM)
    assert_close(result.render, expected["render"], AIM)
    assert_close(result.render_inputs, expected["render_input"], AIM)
    # the recorded logits carry about 2e-5 of float32 rounding: float64 differs from them as much
    assert_close(result.motion_logits[0, :inputs], expected["input_mask_logits"], 5e-5)
    assert_close(result.motion_logits[0, inputs:], expected["target_mask_logits"], 5e-5)
    assert_close(result.token_mask[0].view(inputs, 1, config.grid, config.grid), expected["input_patch_mask"], 0)
    assert 0 < expected["input_patch_mask"].mean() < 1


def test_the_plain_network_gives_the_released_figures():
    case, keys, expected = read_case("tiny_renderer")
    plain = Plain(draw_weights(keys, case["seed"]), case["img"], case["ps"], case["dh"], case["vin"])
    result = plain.run(draw_images(case["batch"], case["vin"] + case["vtg"], case["img"], case["seed"])[1])
    assert_close(result["c2w"], expected["c2w"][1], AIM)
    assert_close(result["render"], expected["render"][1], AIM)


@pytest.mark.parametrize(
    ("options", "inputs", "targets"),
    [
        ({"pose": "quaternion"}, 2, 2),
        ({"canonical_view": "middle"}, 2, 3),
        ({"canonical_view": "middle", "pose": "quaternion"}, 3, 1),
        ({"scene_blocks": 3, "camera_blocks": 1}, 3, 2),
        ({"width": 48, "head_width": 16, "decoder_blocks": 3, "scene_tokens": 5}, 4, 1),
        ({"image_size": 24, "patch_size": 4, "width": 40, "head_width": 8}, 2, 1),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_further_cases_agree_with_the_plain_network(options, inputs, targets):
    sizes = {"image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "scene_tokens": 7}
    sizes |= {"camera_blocks": 2, "scene_blocks": 2, "decoder_blocks": 2, "motion_head": None}
    config = ModelConfig(**(sizes | options))
    weights = draw_weights(released_shapes(config), 31)
    images = draw_images(1, inputs + targets, config.image_size, 31)
    plain = Plain(
        weights,
        config.image_size,
        config.patch_size,
        config.head_width,
        inputs,
        quaternion=config.pose == "quaternion",
        middle=config.canonical_view == "middle",
    )
    expected = plain.run(images[0])
    with torch.no_grad():
        result = load_released(config, weights)(images, inputs, render_inputs=True)
    assert_close(result.cameras.c2w[0], expected["c2w"], AIM)
    assert result.cameras.intrinsics[0, :, :2].sub(expected["focal"]).abs().max() < AIM
    assert_close(result.render[0], expected["render"], AIM)
    assert_close(result.render_inputs[0], expected["render_inputs"], AIM)


def test_a_masked_case_with_three_inputs_agrees_with_the_plain_network():
    inputs, own_heads = 3, 32
    head = MotionHeadConfig(blocks=1, feature_width=10, threshold=0.58, head_width=64)
    config = ModelConfig(
        image_size=32,
        patch_size=16,
        head_width=own_heads,
        camera_blocks=1,
        scene_blocks=1,
        decoder_blocks=1,
        scene_tokens=3,
        motion_head=head,
    )
    weights = draw_weights(released_shapes(config), 77)
    images = draw_images(1, inputs + 1, 32, 77)
    features = torch.randn(1, inputs + 1, 2, 2, 10, generator=torch.Generator().manual_seed(1))
    plain = Plain(weights, 32, 16, own_heads, inputs, threshold=0.58)
    expected = plain.run(images[0], features[0].flatten(1, 2))
    with torch.no_grad():
        result = load_released(config, weights)(images, inputs, features=features, motion=True, render_inputs=True)
    assert_close(result.motion_logits[0], expected["logits"], 5e-5)
    assert_close(result.token_mask[0], expected["masks"], 0)
    assert 0 < expected["masks"].float().mean() < 1
    assert_close(result.render[0], expected["render"], AIM)
    assert_close(result.render_inputs[0], expected["render_inputs"], AIM)
