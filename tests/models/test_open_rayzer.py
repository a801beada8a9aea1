"""Open-RayZer's options: rotary positions, attention of the camera encoder, the pi3 head and fusions."""

import math

import pytest
import torch

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.geometry.rotations import nearest_rotation
from wildrayzer.models import WildRayZer
from wildrayzer.models.camera_encoder import JointCameraEncoder
from wildrayzer.models.camera_head import Pi3Head
from wildrayzer.models.rotary import RotaryPositions, patch_angles, rotate

OPEN_RAYZER = {
    "camera_attention": "alternating",
    "camera_head": "pi3",
    "image_range": "unit",
    "patch_positions": "rope2d",
    "view_embedding": "none",
    "token_fusion": "pixel",
    "encoder_norm": True,
    "output_norm": "plain",
}
SMALL = {"image_size": 16, "patch_size": 4, "width": 32, "head_width": 16, "camera_blocks": 2, "scene_blocks": 1}
SMALL |= {"decoder_blocks": 1, "scene_tokens": 3, "init_std": 0.15, "motion_head": None}


def config_of(**options):
    return ModelConfig(**(SMALL | OPEN_RAYZER | options))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_frequencies_and_places_by_hand():
    angles = patch_angles(3, 64, 100.0)
    assert angles.shape == (9, 2, 16)
    assert angles[0, :, 0].tolist() == [1.0, 1.0]
    assert angles[5, :, 0].tolist() == [2.0, 3.0]  # second row, third column
    assert angles[0, 0, 15].item() == pytest.approx(0.01334, abs=1e-5)
    assert angles[7, 0, 4].item() == pytest.approx(3 * 100 ** (-4 / 16), rel=1e-6)


def test_a_rotation_by_hand():
    x = torch.tensor([1.0, 0.0, 0.0, 2.0]).view(1, 1, 1, 4)
    turned = rotate(x, torch.tensor([[[math.pi / 2], [math.pi]]]))
    torch.testing.assert_close(turned.flatten(), torch.tensor([0.0, 1.0, 0.0, -2.0]), atol=1e-6, rtol=0)


def test_rotation_keeps_norms_and_leaves_place_zero():
    positions = RotaryPositions(config_of())
    angles = positions(2, 3)
    x = torch.randn(2, len(angles), 2, 16)
    turned = rotate(x, angles)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5, rtol=0)
    assert torch.equal(turned[:, :2], x[:, :2])
    assert torch.equal(angles[2:18], angles[18:34])
    assert (turned[:, 2:] - x[:, 2:]).abs().max() > 0.1


def test_logits_depend_on_differences_of_places():
    places = torch.cartesian_prod(torch.arange(1.0, 4.0), torch.arange(1.0, 4.0))
    frequencies = 100.0 ** -(torch.arange(4) / 4)
    q, k = torch.randn(2, 1, 9, 1, 16)

    def logits(shift):
        angles = (places + torch.tensor(shift))[..., None] * frequencies
        return torch.einsum("bnhc,bmhc->nm", rotate(q, angles), rotate(k, angles))

    torch.testing.assert_close(logits([0.0, 0.0]), logits([5.0, -2.0]), atol=1e-4, rtol=0)
    one_sided = torch.einsum("bnhc,bmhc->nm", rotate(q, places[..., None] * frequencies), k)
    assert (one_sided - logits([0.0, 0.0])).abs().max() > 0.1


def encoder(**options):
    torch.manual_seed(1)
    return JointCameraEncoder(config_of(**options))


@pytest.mark.parametrize(
    ("attention", "blocks", "sees"),
    [("alternating", 1, True), ("joint", 1, True), ("per_view", 3, False), ("alternating", 2, True)],
)
def test_which_views_a_camera_depends_on(attention, blocks, sees):
    model = encoder(camera_attention=attention, camera_blocks=blocks)
    tokens = torch.randn(1, 3, 16, 32)
    other = tokens.clone()
    other[:, 2] = torch.randn(16, 32)
    (first,), (second,) = (model(torch.zeros(1, 3, 3, 16, 16), x, None) for x in (tokens, other))
    assert bool((first[:, 0] - second[:, 0]).abs().max() > 1e-4) is sees
    assert (first[:, 2] - second[:, 2]).abs().max() > 1e-4


@pytest.mark.parametrize("attention", ["joint", "alternating", "per_view"])
def test_permuted_views_permute_cameras_and_leave_the_field_of_view(attention):
    model = WildRayZer(config_of(camera_attention=attention, camera_blocks=4)).eval()
    images = torch.rand(1, 4, 3, 16, 16)
    order = [2, 0, 3, 1]
    first, second = (model.predict_cameras(x, model.tokenize(x)) for x in (images, images[:, order]))
    torch.testing.assert_close(second.c2w, first.c2w[:, order], atol=1e-5, rtol=0)
    torch.testing.assert_close(second.intrinsics, first.intrinsics, atol=1e-5, rtol=0)
    assert (first.c2w[:, 0] - first.c2w[:, 1]).abs().max() > 1e-4


def test_attentions_agree_for_one_view():
    states = [encoder(camera_attention=name) for name in ("joint", "alternating", "per_view")]
    tokens = torch.randn(2, 1, 16, 32)
    results = [model(torch.zeros(2, 1, 3, 16, 16), tokens, None)[0] for model in states]
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(results[0], results[2], atol=1e-6, rtol=0)


def test_renderings_do_not_depend_on_the_order_of_inputs():
    model = WildRayZer(config_of()).eval()
    images = torch.rand(1, 5, 3, 16, 16)
    with torch.no_grad():
        first, second = model(images, 3).render, model(images[:, [2, 0, 1, 3, 4]], 3).render
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_equal_images_have_equal_cameras():
    model = WildRayZer(config_of()).eval()
    images = torch.rand(1, 1, 3, 16, 16).expand(1, 3, 3, 16, 16)
    cameras = model.predict_cameras(images, model.tokenize(images))
    torch.testing.assert_close(cameras.c2w, cameras.c2w[:, :1].expand(1, 3, 4, 4), atol=1e-5, rtol=0)


def test_nearest_rotation():
    matrices = torch.randn(50, 3, 3)
    for sign in (1, -1):
        rotation = nearest_rotation(sign * matrices)
        torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(nearest_rotation(rotation), rotation, atol=1e-5, rtol=0)
    # rows count by direction only
    torch.testing.assert_close(
        nearest_rotation(rotation * torch.tensor([[1.0], [2.0], [0.5]])), rotation, atol=1e-5, rtol=0
    )
    rows = torch.nn.functional.normalize(matrices, dim=-1)
    u, _, vt = torch.linalg.svd(rows)
    flip = torch.diag_embed(torch.stack([torch.ones(50), torch.ones(50), torch.linalg.det(u @ vt)], dim=-1))
    torch.testing.assert_close(nearest_rotation(matrices), u @ flip @ vt, atol=1e-4, rtol=0)


def test_the_gradient_of_a_rotation_is_finite():
    matrix = torch.tensor([[3.0, 0.1, 0.0], [0.0, 2.0, 0.3], [0.2, 0.0, 1.0]]).requires_grad_()
    (nearest_rotation(matrix) * torch.randn(3, 3)).sum().backward()
    assert matrix.grad.isfinite().all()
    assert matrix.grad.abs().max() > 1e-3


def test_the_field_of_view_of_a_fresh_head_and_its_focal_length():
    head = Pi3Head(config_of())
    torch.nn.init.zeros_(head.field_of_view.weight)
    torch.nn.init.zeros_(head.field_of_view.bias)
    cameras = head(torch.randn(2, 3, 16, 32))
    torch.testing.assert_close(cameras.field_of_view(), torch.full((2, 3), math.log(2)), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        cameras.intrinsics[..., 0], torch.full((2, 3), 0.5 / math.tan(math.log(2) / 2)), atol=1e-5, rtol=0
    )
    torch.nn.init.constant_(head.field_of_view.bias, 4.0)  # wider than π: the focal length is negative
    cameras = head(torch.randn(1, 2, 16, 32))
    assert (cameras.intrinsics[..., 0] < 0).all()
    torch.testing.assert_close(cameras.field_of_view(), torch.full((1, 2), 4.01815), atol=1e-4, rtol=0)


def test_pixel_fusion_without_colours_depends_on_rays_only():
    model = WildRayZer(config_of())
    torch.nn.init.zeros_(model.scene_encoder.fuse.projection.weight)
    images = torch.rand(1, 3, 3, 16, 16)
    cameras = model(images, 2).cameras
    first, second = (model(x, 2, cameras=cameras).render for x in (images, 1 - images))
    assert torch.equal(first, second)


def test_half_precision_keeps_cameras_in_float32():
    model = WildRayZer(config_of())
    images = torch.rand(1, 3, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        cameras = model(images, 2).cameras
    assert cameras.c2w.dtype == cameras.intrinsics.dtype == torch.float32
    rotation = cameras.c2w[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)


def test_recomputed_blocks_with_rotary_positions_have_the_same_gradients():
    images, gradients = torch.rand(1, 3, 3, 16, 16), []
    for every in (0, 1):
        torch.manual_seed(2)
        model = WildRayZer(config_of(checkpoint_every=every))
        model(images, 2).render.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


HEAD = MotionHeadConfig(blocks=1, feature_width=5, threshold=0.5)
ALONE = [{name: value} for name, value in OPEN_RAYZER.items()] + [
    {"token_fusion": "residual"},
    {"patch_positions": "none"},
    OPEN_RAYZER,
    OPEN_RAYZER | {"token_fusion": "residual", "decoder_context": "scene_and_inputs"},
    OPEN_RAYZER | {"decoder_attention": "cross", "decoder_context": "scene_and_inputs"},
    OPEN_RAYZER | {"camera_head": "relative", "view_embedding": "type"},
    OPEN_RAYZER | {"view_type_embedding": True, "camera_attention": "joint"},
    {"camera_encoder": "pairwise", "view_embedding": "type", "token_fusion": "pixel", "patch_positions": "rope2d"},
]


@pytest.mark.parametrize("options", ALONE, ids=lambda options: "-".join(options))
def test_each_option_trains_every_parameter_with_the_motion_head(options):
    model = WildRayZer(ModelConfig(**(SMALL | {"motion_head": HEAD} | options)))
    images, features = torch.rand(2, 5, 3, 16, 16), torch.randn(2, 5, 4, 4, 5)
    mask = torch.zeros(2, 2, 16, dtype=torch.bool)
    mask[:, :, 3] = True
    result = model(images, 2, features=features, motion=True, token_mask=mask)
    assert result.render.shape == (2, 3, 3, 16, 16)
    (result.render.square().sum() + (result.motion_logits * torch.randn_like(result.motion_logits)).sum()).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert silent == []


def test_the_noise_token_replaces_fused_tokens_of_pixel_fusion():
    model = WildRayZer(config_of(motion_head=HEAD))
    images = torch.rand(1, 3, 3, 16, 16)
    cameras = model(images, 2).cameras
    mask = torch.zeros(1, 2, 16, dtype=torch.bool)
    mask[0, 1, 0] = True
    changed = images.clone()
    changed[:, 1, :, :4, :4] = 0
    first, second = (model(x, 2, token_mask=mask, cameras=cameras).render for x in (images, changed))
    assert torch.equal(first, second)
    assert (model(changed, 2, cameras=cameras).render - second).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera_encoder": "pairwise", "view_embedding": "type", "camera_attention": "alternating"},
         "camera_attention: alternating needs the tokens of all views, but model.camera_encoder: pairwise"),
        ({"camera_encoder": "pairwise", "view_embedding": "type", "camera_head": "pi3"}, "camera_head: pi3 needs"),
        ({"camera_head": "pi3", "view_embedding": "type"}, "camera_head: pi3 has no canonical view"),
        ({"patch_positions": "rope2d", "head_width": 2 * 3, "width": 48}, "choose multiples of 4"),
        ({"camera_blocks": 0}, "model.camera_blocks = 0, but model.cameras: predicted"),
        ({"scene_tokens": 0}, "model.scene_tokens = 0 leaves model.decoder_context: scene without content"),
        ({"kind": "lvsm", "camera_blocks": 0, "token_fusion": "mlp"}, "kind: lvsm needs model.token_fusion: pixel"),
        ({"kind": "lvsm", "camera_blocks": 0, "motion_head": {}}, "kind: lvsm needs model.motion_head: null"),
    ],
)  # fmt: skip
def test_contradicting_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**(SMALL | options))
