"""LVSM: its camera normalisation, and what its renderings depend on."""

import pytest
import roma
import torch

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.geometry.cameras import Cameras, normalise_poses, rigid
from wildrayzer.models import WildRayZer

SIZES = {"image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "decoder_blocks": 2, "init_std": 0.15}
CONFIGS = {
    "lvsm": ModelConfig(kind="lvsm", scene_blocks=2, scene_tokens=5, **SIZES),
    "lvsm_decoder_only": ModelConfig(kind="lvsm_decoder_only", **SIZES),
}


def poses(views, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    turns = roma.rotvec_to_rotmat(0.3 * torch.randn(batch, views, 3, generator=generator))
    return rigid(turns, torch.randn(batch, views, 3, generator=generator))


def sample(views, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(1, views, 3, 16, 16, generator=generator)
    return images, Cameras(poses(views, seed=seed), torch.tensor([1.0, 1.2, 0.5, 0.5]).expand(1, views, 4))


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    return WildRayZer(CONFIGS[request.param]).eval().requires_grad_(False)


def test_normalised_centres():
    c2w = normalise_poses(poses(4, batch=2))
    centres = c2w[..., :3, 3]
    torch.testing.assert_close(centres.mean(1), torch.zeros(2, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(centres.abs().amax((1, 2)), torch.full((2,), 1 / 1.35), atol=1e-6, rtol=0)
    forward = torch.nn.functional.normalize(c2w[..., :3, 2].mean(1), dim=-1)
    torch.testing.assert_close(forward, torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3), atol=1e-6, rtol=0)
    rotation = c2w[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)


def test_a_rigid_move_and_a_scaling_change_nothing():
    given = poses(4)
    moved = poses(1, seed=9)[:, 0] @ given
    moved = rigid(moved[..., :3, :3], 3.5 * moved[..., :3, 3])
    torch.testing.assert_close(normalise_poses(moved), normalise_poses(given), atol=1e-5, rtol=0)


def test_coinciding_centres_stay_finite():
    c2w = normalise_poses(torch.eye(4).expand(1, 3, 4, 4))
    torch.testing.assert_close(c2w, torch.eye(4).expand(1, 3, 4, 4), atol=0, rtol=0)


def test_renderings_do_not_depend_on_the_order_of_inputs(model):
    images, cameras = sample(5)
    order = [2, 0, 1, 3, 4]
    first, second = model(images, 3, cameras=cameras), model(images[:, order], 3, cameras=cameras.select(order))
    torch.testing.assert_close(first.render, second.render, atol=1e-5, rtol=0)
    assert (first.render[:, 0] - first.render[:, 1]).abs().max() > 1e-4


def test_targets_are_rendered_one_by_one_as_together(model):
    images, cameras = sample(5)
    whole = model(images, 2, cameras=cameras)
    rays = model.ray_tokens(whole.cameras, for_targets=True)
    inputs = slice(0, 2)
    rays_in = model.ray_tokens(whole.cameras.select(inputs), for_targets=False)
    context = model.encode_scene(images[:, inputs], model.tokenize(images[:, inputs]), rays_in)
    for place in range(3):
        one = model.decode(context, rays[:, 2 + place : 3 + place])
        torch.testing.assert_close(one[:, 0], whole.render[:, place], atol=1e-6, rtol=0)


def test_target_images_do_not_enter(model):
    images, cameras = sample(4)
    other = images.clone()
    other[:, 2:] = 0
    assert torch.equal(model(images, 2, cameras=cameras).render, model(other, 2, cameras=cameras).render)
    other[:, 1] = 0
    assert (model(images, 2, cameras=cameras).render - model(other, 2, cameras=cameras).render).abs().max() > 1e-4


def test_every_parameter_is_trained():
    images, cameras = sample(4)
    for config in CONFIGS.values():
        network = WildRayZer(config)
        network(images, 2, cameras=cameras).render.square().sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_cameras_are_needed(model):
    with pytest.raises(ValueError, match=r"model\.cameras: given, so the network predicts none; pass the cameras"):
        model(torch.rand(1, 3, 3, 16, 16), 2)


def test_our_renderer_with_given_cameras_has_no_camera_encoder():
    network = WildRayZer(ModelConfig(cameras="given", camera_blocks=2, scene_blocks=1, motion_head=None, **SIZES))
    images, cameras = sample(4)
    assert not any(name.startswith("camera_") for name, _ in network.named_parameters())
    assert network(images, 2, cameras=cameras).render.shape == (1, 2, 3, 16, 16)
