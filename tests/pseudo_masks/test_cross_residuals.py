"""Leave-one-out residuals: what the other inputs predict of a view, and how the motion head takes it."""

import pytest
import torch

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.cross_residuals import CrossResiduals, cross_residuals_of

HEAD = {"blocks": 1, "feature_width": 2, "cross_residual": True, "ssim_size": 3}
SMALL = {
    "image_size": 8, "patch_size": 4, "width": 16, "head_width": 8, "camera_blocks": 1, "scene_blocks": 1,
    "decoder_blocks": 1, "scene_tokens": 2, "init_std": 0.15, "motion_head": HEAD,
}  # fmt: skip


class MeanColour:
    """Two channels on the patch grid: mean red and mean green."""

    name = digest = "mean"
    width, centre, anchor = 2, False, 0.0

    def __call__(self, images):
        return torch.nn.functional.avg_pool2d(images[:, :2], 4).permute(0, 2, 3, 1)


def build(**options):
    torch.manual_seed(0)
    return WildRayZer(ModelConfig(**SMALL | options)).eval()


def views(count=4, seed=0):
    return torch.rand(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def run(model, images, k, **options):
    backbone = MeanColour()
    features = backbone(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    compare = cross_residuals_of(model.config, backbone)
    return model(images, k, features=features, motion=True, compare=compare, **options)


def test_maps_by_hand():
    compare = CrossResiduals(MotionHeadConfig(ssim_size=3), 4, MeanColour())
    recorded = torch.zeros(1, 2, 3, 8, 8)
    recorded[:, :, 0] = 1.0  # red everywhere
    rendered = recorded.clone()
    rendered[0, 1, :, :4, :4] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # one patch of the second view is green
    maps = compare(recorded, rendered)
    assert maps.shape == (1, 2, 3, 2, 2)
    assert maps[0, 0].abs().max() < 1e-5, "equal views differ nowhere, whatever the other view shows"
    error, similarity, features = maps[0, 1]
    torch.testing.assert_close(error, torch.tensor([[2 / 3, 0.0], [0.0, 0.0]]))  # two of three channels differ by 1
    torch.testing.assert_close(features, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))  # red and green are orthogonal
    assert similarity[0, 0] > 0.5
    assert similarity[1, 1] < 0.1
    without = CrossResiduals(MotionHeadConfig(ssim_size=3), 4)(recorded, rendered)
    assert torch.equal(without, maps[:, :, :2])


@pytest.mark.parametrize("k", [2, 3])
def test_a_view_is_rendered_without_itself(k):
    model, images = build(), views(k + 2)
    tokens = model.tokenize(images)
    cameras = model.predict_cameras(images, tokens, num_inputs=k)
    plain = model.leave_one_out(images, tokens, cameras, k, views=k + 2)
    for view in range(k):
        other = tokens.clone()
        other[:, view] += 1.0
        changed = (model.leave_one_out(images, other, cameras, k, views=k + 2) - plain).flatten(2).abs().amax(2)[0]
        left_out = [number if number < k else (number - k) % k for number in range(k + 2)]
        assert [bool(value > 1e-4) for value in changed] == [out != view for out in left_out]


@pytest.mark.parametrize("kind", ["transformer", "convolutional"])
def test_the_gate_alone_gives_the_same_logits_of_the_inputs(kind):
    model, images = build(motion_head=HEAD | {"kind": kind}), views()
    whole, gate = run(model, images, 2), run(model, images, 2, gate_only=True)
    torch.testing.assert_close(gate.motion_logits, whole.motion_logits[:, :2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["transformer", "convolutional"])
def test_the_maps_reach_the_logits_but_no_gradient_reaches_the_renderer(kind):
    model, images = build(motion_head=HEAD | {"kind": kind}), views()
    tokens = model.tokenize(images).detach()
    cameras = model.predict_cameras(images, tokens, num_inputs=2)
    rays = model.ray_tokens(cameras, for_targets=True).detach()
    features = MeanColour()(images.flatten(0, 1)).unflatten(0, (2, 4))
    compare = cross_residuals_of(model.config, MeanColour())
    maps = model.cross_residuals(images, tokens, cameras, 2, views=4, features=features, compare=compare)
    assert not maps.requires_grad
    plain = model.motion_logits(features, tokens, rays, maps)
    assert (model.motion_logits(features, tokens, rays, maps + 0.5) - plain).abs().max() > 1e-3
    plain.sum().backward()
    assert all(parameter.grad is None for parameter in model.renderer_parameters())
    assert all(parameter.grad is not None for parameter in model.motion_head_parameters())


def test_what_is_missing_is_named():
    model, images = build(), views()
    with pytest.raises(ValueError, match=r"needs at least 2 input views, got 1; give more views"):
        run(model, images, 1)
    features = torch.zeros(2, 4, 2, 2, 2)
    with pytest.raises(ValueError, match="takes leave-one-out residuals; pass compare"):
        model(images, 2, features=features, motion=True)
    plain = build(motion_head=HEAD | {"cross_residual": False})
    assert cross_residuals_of(plain.config, MeanColour()) is None
    with pytest.raises(ValueError, match=r"ssim_size = 9: choose an odd number up to model\.image_size = 8"):
        ModelConfig(**SMALL | {"motion_head": HEAD | {"ssim_size": 9}})
    attention = HEAD | {"kind": "convolutional", "cross_view": True}
    with pytest.raises(
        ValueError, match=r"cross_view: True needs attention, which .*kind: convolutional does not have"
    ):
        ModelConfig(**SMALL | {"motion_head": attention})
