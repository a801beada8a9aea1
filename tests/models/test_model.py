import math

import pytest
import torch

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.parameters import parameter_counts

SMALL = {
    "image_size": 16,
    "patch_size": 8,
    "width": 32,
    "head_width": 16,
    "camera_blocks": 2,
    "scene_blocks": 1,
    "decoder_blocks": 2,
    "scene_tokens": 3,
    # large weights, so that everything has an effect
    "init_std": 0.15,
    "motion_head": MotionHeadConfig(blocks=1, feature_width=5, threshold=0.5),
}
DEVIATING = SMALL | {
    "camera_encoder": "pairwise",
    "view_embedding": "type",
    "matching_init": True,
    "ray_encoding": "fourier",
    "decoder_context": "scene_and_inputs",
    "decoder_attention": "cross",
    "token_fusion": "linear",
    "focal": "shared",
}
VARIANTS = {
    "paper": SMALL,
    "quaternion": SMALL | {"pose": "quaternion"},
    "middle": SMALL | {"canonical_view": "middle"},
    "roles": SMALL | {"view_type_embedding": True},
    "types": SMALL | {"view_embedding": "type"},
    "inputs in context": SMALL | {"decoder_context": "scene_and_inputs"},
    "cross, scene alone": SMALL | {"decoder_attention": "cross"},
    "no features": SMALL | {"motion_head": MotionHeadConfig(blocks=1, use_features=False, threshold=0.5)},
    "cross-view head": SMALL
    | {"motion_head": MotionHeadConfig(blocks=1, feature_width=5, threshold=0.5, cross_view=True)},
    "deviating": DEVIATING,
    "deviating, roles": DEVIATING | {"view_type_embedding": True, "matching_init": False, "focal": "predicted"},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def build(name="paper", **options):
    torch.manual_seed(3)
    return WildRayZer(ModelConfig(**(VARIANTS[name] | options)))


def sample(views, batch=1, size=16, seed=5, grid=3):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, views, 3, size, size, generator=generator)
    return images, torch.randn(batch, views, grid, grid, 5, generator=generator)


def outputs(result):
    return {
        "c2w": result.cameras.c2w,
        "intrinsics": result.cameras.intrinsics,
        "render": result.render,
        "render_inputs": result.render_inputs,
        "motion_logits": result.motion_logits,
        "token_mask": result.token_mask.float(),
    }


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("inputs", "targets"), [(2, 1), (3, 2), (4, 1)])
def test_shapes_ranges_and_batch_independence(name, inputs, targets):
    model = build(name).eval()
    images, features = sample(inputs + targets, batch=2)
    with torch.no_grad():
        both = outputs(model(images, inputs, features=features, motion=True, render_inputs=True))
        alone = [
            outputs(model(images[i : i + 1], inputs, features=features[i : i + 1], motion=True, render_inputs=True))
            for i in range(2)
        ]
    assert both["render"].shape == (2, targets, 3, 16, 16)
    assert both["render_inputs"].shape == (2, inputs, 3, 16, 16)
    assert both["motion_logits"].shape == (2, inputs + targets, 1, 16, 16)
    assert both["token_mask"].shape == (2, inputs, 4)
    assert both["render"].min() >= 0
    assert both["render"].max() <= 1
    canonical = (inputs + targets) // 2 if name == "middle" else 0
    assert torch.equal(both["c2w"][:, canonical], torch.eye(4).expand(2, 4, 4))
    assert (both["c2w"][0, 1:] - both["c2w"][1, 1:]).abs().max() > 1e-3
    for key, value in both.items():
        separate = torch.cat([part[key] for part in alone])
        torch.testing.assert_close(value, separate, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_reach_every_parameter(name):
    model = build(name)
    images, features = sample(5, batch=2)
    mask = torch.tensor([[True, False, False, False], [False, False, True, False]]).expand(2, 2, 4)
    result = model(images, 2, features=features, motion=True, token_mask=mask)
    weights = torch.randn_like(result.motion_logits)
    (result.render.square().sum() + (result.motion_logits * weights).sum()).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("name", ["paper", "deviating"])
@pytest.mark.parametrize(("size", "patch"), [(48, 6), (32, 4), (64, 8)])
def test_other_image_and_patch_sizes(name, size, patch):
    model = build(name, image_size=size, patch_size=patch)
    images, features = sample(3, size=size)
    with torch.no_grad():
        result = model(images, 2, features=features, motion=True)
    assert result.render.shape == (1, 1, 3, size, size)
    assert result.motion_logits.shape == (1, 3, 1, size, size)
    assert result.token_mask.shape == (1, 2, (size // patch) ** 2)


def test_targets_are_rendered_independently_of_each_other():
    for name in ("paper", "deviating"):
        model = build(name)
        context, rays = torch.randn(2, 6, 32), torch.randn(2, 3, 4, 32)
        together = model.decode(context, rays)
        torch.testing.assert_close(together[:, 1:2], model.decode(context, rays[:, 1:2]), atol=1e-6, rtol=0)


def test_the_motion_head_sees_one_view_at_a_time_unless_cross_view():
    images, features = sample(4)
    other = images.clone()
    other[:, 1] = 1 - other[:, 1]
    for name, depends in (("paper", False), ("cross-view head", True)):
        model = build(name)
        cameras = model(images, 2).cameras
        first, second = (
            model(x, 2, features=features, motion=True, cameras=cameras).motion_logits for x in (images, other)
        )
        assert bool((first[:, 0] - second[:, 0]).abs().max() > 1e-4) is depends
        assert (first[:, 1] - second[:, 1]).abs().max() > 1e-4
        # the gate of the inputs must not look at the targets
        third = model(torch.cat((images[:, :2], other[:, 1:3]), 1), 2, features=features, motion=True, cameras=cameras)
        torch.testing.assert_close(third.motion_logits[:, :2], first[:, :2], atol=1e-5, rtol=0)


def test_masked_tokens_do_not_reach_the_rendering():
    model = build()
    images, _ = sample(3)
    cameras = model(images, 2).cameras
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[0, 1, 3] = True
    changed = images.clone()
    changed[:, 1, :, 8:, 8:] = 0
    first, second = (model(x, 2, token_mask=mask, cameras=cameras).render for x in (images, changed))
    assert torch.equal(first, second)
    open_ = model(changed, 2, cameras=cameras).render
    assert (open_ - second).abs().max() > 1e-5


def test_gating_modes():
    model = build()
    images, features = sample(3)
    plain = model(images, 2)
    assert plain.token_mask is None
    assert plain.motion_logits is None
    gated = model(images, 2, features=features, motion=True)
    expected = model.token_mask_from_probability(gated.motion_logits[:, :2].sigmoid())
    assert torch.equal(gated.token_mask, expected)
    none = torch.zeros(1, 2, 4, dtype=torch.bool)
    overridden = model(images, 2, features=features, motion=True, token_mask=none)
    assert torch.equal(overridden.render, plain.render)
    assert torch.equal(overridden.motion_logits, gated.motion_logits)


def test_a_gate_alone_sees_the_inputs_and_asks_nothing_of_the_renderer():
    model = build()
    images, features = sample(3)
    whole = model(images, 2, features=features, motion=True)
    gate = model(images, 2, features=features[:, :2], motion=True, gate_only=True)
    assert torch.equal(gate.motion_logits, whole.motion_logits[:, :2])
    assert torch.equal(gate.token_mask, whole.token_mask)
    assert torch.equal(gate.render, whole.render)
    gate.motion_logits.sum().backward()
    assert all(parameter.grad is None for parameter in model.renderer_parameters())


def test_token_mask_is_the_mean_probability_of_a_patch():
    model = build()
    probability = torch.zeros(1, 1, 1, 16, 16)
    probability[..., :8, 8:] = 0.51
    probability[..., 8:, :4] = 1.0  # half of patch 2: a mean of 0.5 does not exceed 0.5
    assert model.token_mask_from_probability(probability).tolist() == [[[False, True, False, False]]]


def test_given_cameras_replace_the_predicted_ones():
    model = build()
    images, _ = sample(3)
    c2w = torch.eye(4).repeat(1, 3, 1, 1)
    c2w[:, 1:, 0, 3] = 0.3
    cameras = Cameras(c2w, torch.tensor([1.0, 1.0, 0.5, 0.5]).expand(1, 3, 4))
    result = model(images, 2, cameras=cameras)
    assert result.cameras is cameras
    assert (result.render - model(images, 2).render).abs().max() > 1e-4


def test_focal_and_identity_of_an_untrained_paper_model():
    torch.manual_seed(0)
    model = WildRayZer(ModelConfig(**(SMALL | {"init_std": 0.02})))
    cameras = model(sample(4)[0], 2).cameras
    torch.testing.assert_close(cameras.intrinsics[0, :, :2], torch.full((4, 2), 1.25), atol=0.05, rtol=0)
    assert torch.equal(cameras.intrinsics[..., 2:], torch.full((1, 4, 2), 0.5))
    torch.testing.assert_close(cameras.c2w, torch.eye(4).expand(1, 4, 4, 4), atol=0.05, rtol=0)


def test_roles_tell_inputs_from_targets():
    images, _ = sample(4)
    for name in ("roles", "deviating, roles"):
        model = build(name)
        tokens = model.tokenize(images)
        two, three = (model.predict_cameras(images, tokens, num_inputs=k).c2w for k in (2, 3))
        assert (two - three).abs().max() > 1e-4
        with pytest.raises(ValueError, match="view_type_embedding is on: pass num_inputs"):
            model.predict_cameras(images, tokens)


def test_order_of_targets_does_not_matter_without_view_numbers():
    model = build("deviating")
    images, _ = sample(5)
    swapped = images[:, [0, 1, 4, 2, 3]]
    torch.testing.assert_close(model(swapped, 2).render, model(images, 2).render[:, [2, 0, 1]], atol=1e-5, rtol=0)


def test_parameter_groups_are_disjoint_and_complete():
    model = build()
    renderer, head = list(model.renderer_parameters()), list(model.motion_head_parameters())
    assert not {id(p) for p in renderer} & {id(p) for p in head}
    assert {id(p) for p in model.parameters()} == {id(p) for p in renderer + head}
    assert {id(p) for p in model.motion_head.parameters()} == {id(p) for p in head}
    assert id(model.scene_encoder.noise_token) in {id(p) for p in renderer}
    assert not list(build(motion_head=None).motion_head_parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, f: m(x, 3), "num_inputs = 3 of 3 views"),
        (lambda m, x, f: m(x, 0), "num_inputs = 0 of 3 views"),
        (lambda m, x, f: m(x[..., :8, :8], 2), "images are 8 × 8 pixels, but model.image_size = 16"),
        (lambda m, x, f: m(x, 2, motion=True), "the motion head needs backbone features"),
        (lambda m, x, f: m(x, 2, motion=True, features=f[..., :4]), "4 wide, but model.motion_head.feature_width = 5"),
        (lambda m, x, f: m.predict_cameras(x[:, :1], m.tokenize(x[:, :1])), "at least 2 views, got 1"),
    ],
)
def test_faulty_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(build(), *sample(3))


def test_a_model_without_motion_head_says_so():
    model = build(motion_head=None)
    images, features = sample(3)
    with pytest.raises(ValueError, match="motion_head is null: this model has no motion head"):
        model(images, 2, features=features, motion=True)
    with pytest.raises(ValueError, match="the model has no noise token"):
        model(images, 2, token_mask=torch.zeros(1, 2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"motion_head\.threshold, but model\.motion_head is null"):
        model.token_mask_from_probability(torch.zeros(1, 1, 1, 16, 16))


def test_released_sizes_instantiate_with_known_counts():
    wildrayzer = parameter_counts(ModelConfig())
    rayzer = parameter_counts(
        ModelConfig(camera_blocks=8, scene_blocks=12, scene_tokens=3072, canonical_view="middle", motion_head=None)
    )
    block = 12 * 768**2 + 2 * 768 + 2 * 64
    assert wildrayzer["decoder"] == 12 * block + 2 * 768 + 768 * 768
    assert wildrayzer["camera encoder"] == 12 * block + 768 + 2 * (768 * 768 + 768)
    assert wildrayzer["input rays"] == wildrayzer["target rays"] == 6 * 16**2 * 768
    fuse = 2 * 768 + (2 * 768 * 768 + 768) + (768 * 768 + 768)
    assert wildrayzer["scene encoder"] == 8 * block + 768 * 768 + fuse + 768
    assert rayzer["scene encoder"] == 12 * block + 3072 * 768 + fuse
    assert rayzer["camera encoder"] == 8 * block + 768 + 2 * (768 * 768 + 768)
    assert "motion head" in wildrayzer
    assert "motion head" not in rayzer


def test_half_precision_autocast_keeps_cameras_exact():
    for name in ("paper", "deviating"):
        model = build(name)
        images, features = sample(3)
        with torch.autocast("cpu", torch.bfloat16):
            result = model(images, 2, features=features, motion=True)
        full = model(images, 2, features=features, motion=True)
        assert result.cameras.c2w.dtype == result.render.dtype == result.motion_logits.dtype == torch.float32
        rotation = result.cameras.c2w[..., :3, :3]
        torch.testing.assert_close(
            rotation @ rotation.transpose(-1, -2), torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(result.render, full.render, atol=0.1, rtol=0)
        assert model.attention_kernel_in(torch.bfloat16) == "sdpa"


def test_matching_starts_by_finding_the_same_content():
    torch.manual_seed(0)
    model = WildRayZer(
        ModelConfig(
            **(DEVIATING | {"image_size": 48, "patch_size": 6, "width": 96, "head_width": 24, "motion_head": None})
        )
    )
    encoder = model.camera_encoder
    scene = torch.rand(1, 3, 48, 54)
    images = torch.stack(
        (scene[..., :48], scene[..., 6:]), dim=1
    )  # the second view sees everything one patch further left

    asked = []
    encoder.blocks[0].attention.q_norm.register_forward_hook(lambda *call: asked.append(call[-1]))
    encoder.blocks[0].attention.k_norm.register_forward_hook(lambda *call: asked.append(call[-1]))
    model.predict_cameras(images, model.tokenize(images))
    queries, keys = asked
    weights = (torch.einsum("nhc,mhc->hnm", queries[0], keys[0]) / math.sqrt(24)).softmax(-1).mean(0)
    n = 64
    canonical, other = slice(2, 2 + n), slice(2 + n, 2 + 2 * n)
    assert weights[canonical, other].sum(-1).mean() > 0.9
    best = weights[canonical, other].argmax(-1).view(8, 8)[:, 1:]
    expected = torch.arange(n).view(8, 8)[:, :-1]
    assert (best == expected).float().mean() > 0.9
