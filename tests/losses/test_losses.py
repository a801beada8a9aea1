"""Photometric, motion and perceptual losses against hand-computed values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wildrayzer.config.sections.features import PerceptualConfig
from wildrayzer.losses import build_perceptual, gated_mse, motion_bce, psnr_filter


def images(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_gated_mse_by_hand():
    truth = torch.zeros(2, 1, 3, 1, 4)
    prediction = torch.tensor([0.5, 0.1, 0.3, 0.9]).expand(2, 1, 3, 1, 4)
    gate = torch.tensor([[[[[1.0, 0, 0, 1]]]], [[[[0.0, 1, 1, 1]]]]])
    loss = gated_mse(prediction, truth, gate)
    assert loss.value == pytest.approx(((0.01 + 0.09) / 2 + 0.25) / 2)
    assert loss.empty == 0
    assert gated_mse(prediction, truth).value == pytest.approx((0.25 + 0.01 + 0.09 + 0.81) / 4)


def test_gated_mse_normalises_each_sample_by_its_own_pixels():
    prediction, truth, gate = images(0, 2, 2, 3, 6, 6), images(1, 2, 2, 3, 6, 6), images(2, 2, 2, 1, 6, 6).round()
    both = gated_mse(prediction, truth, gate).value
    single = [gated_mse(prediction[i : i + 1], truth[i : i + 1], gate[i : i + 1]).value for i in range(2)]
    torch.testing.assert_close(both, torch.stack(single).mean())


def test_no_gradient_reaches_transient_pixels():
    prediction = images(0, 1, 1, 3, 4, 4).requires_grad_()
    gate = torch.zeros(1, 1, 1, 4, 4)
    gate[..., :2] = 1
    gated_mse(prediction, images(1, 1, 1, 3, 4, 4), gate).value.backward()
    assert prediction.grad[..., :2].abs().max() == 0
    assert prediction.grad[..., 2:].abs().min() > 0


def test_all_transient_sample_is_zero_with_zero_gradient_and_counted():
    prediction = images(0, 2, 1, 3, 4, 4).requires_grad_()
    gate = torch.zeros(2, 1, 1, 4, 4)
    gate[1] = 1
    truth = torch.zeros(2, 1, 3, 4, 4)
    loss = gated_mse(prediction, truth, gate)
    loss.value.backward()
    assert loss.empty == 1
    assert loss.value.item() == pytest.approx(prediction[0].square().mean().item() / 2)
    assert prediction.grad[1].abs().max() == 0
    assert prediction.grad.isfinite().all()


def test_excluded_pixel_that_is_not_finite_stays_out():
    prediction = torch.full((1, 1, 3, 1, 2), 0.5)
    prediction[..., 0] = math.nan
    prediction.requires_grad_()
    gate = torch.tensor([1.0, 0.0]).expand(1, 1, 1, 1, 2)
    loss = gated_mse(prediction, torch.zeros_like(prediction), gate).value
    loss.backward()
    assert loss.item() == pytest.approx(0.25)
    assert prediction.grad[0, 0, :, 0].tolist() == [[0.0, pytest.approx(1 / 3)]] * 3


def test_motion_bce_by_hand():
    logits = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1, 1)
    target = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)
    first, second = math.log(2), math.log(1 + math.exp(2))
    assert motion_bce(logits, target).value.item() == pytest.approx((first + second) / 2)
    weighted = motion_bce(logits, target, torch.tensor([[3.0, 1.0]]))
    assert weighted.value.item() == pytest.approx((3 * first + second) / 4)
    assert weighted.views == 2


def test_motion_bce_drops_filtered_views_whatever_they_hold():
    logits = images(0, 2, 3, 1, 4, 4).requires_grad_()
    target = images(1, 2, 3, 1, 4, 4).round()
    target[0, 1] = 255
    chosen = psnr_filter(torch.tensor([[20.0, 17.0, 18.0], [math.nan, 5.0, 30.0]]), 17.0)
    assert chosen.tolist() == [[True, False, True], [False, False, True]]
    loss = motion_bce(logits, target, chosen.float())
    loss.value.backward()
    assert loss.views == 3
    assert (logits.grad.abs().amax((2, 3, 4)) > 0).equal(chosen)
    alone = motion_bce(logits[:1, ::2], target[:1, ::2]).value + motion_bce(logits[1:, 2:], target[1:, 2:]).value
    torch.testing.assert_close(loss.value, alone / 2)


def test_motion_bce_without_views_is_zero_with_zero_gradient():
    logits = images(0, 2, 2, 1, 3, 3).requires_grad_()
    loss = motion_bce(logits, torch.full((2, 2, 1, 3, 3), math.nan), torch.zeros(2, 2))
    loss.value.backward()
    assert (loss.value.item(), loss.views.item(), logits.grad.abs().max().item()) == (0.0, 0, 0.0)


def pyramid(levels=2):
    return build_perceptual(PerceptualConfig(kind="pyramid", levels=levels))


def test_pyramid_by_hand():
    truth = torch.zeros(1, 3, 4, 4)
    ramp = torch.tensor([0.0, 0.1, 0.2, 0.3]).expand(1, 3, 4, 4)
    # level 0: horizontal 0.1, vertical 0; level 1: pooled 0.05, 0.25 gives 0.2 and 0
    assert pyramid(1)(ramp, truth, None).item() == pytest.approx(0.05)
    assert pyramid(2)(ramp, truth, None).item() == pytest.approx((0.05 + 0.1) / 2)
    assert pyramid(2)(truth + 0.3, truth, None).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("levels", [1, 3])
def test_pyramid_gate_shields_pixels_on_every_level(levels):
    prediction = images(0, 2, 3, 16, 16).requires_grad_()
    gate = torch.zeros(2, 1, 16, 16)
    gate[0, :, 3:9, 2:7] = 1
    gate[1] = 1
    truth = images(1, 2, 3, 16, 16)
    pyramid(levels)(prediction, truth, gate).backward()
    grad = prediction.grad.abs().amax(1, keepdim=True)
    assert grad[gate == 1].max() == 0
    assert grad[0].max() > 0
    changed = torch.where(gate == 1, torch.rand(2, 1, 16, 16), prediction.detach())
    torch.testing.assert_close(pyramid(levels)(changed, truth, gate), pyramid(levels)(prediction, truth, gate))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_pyramid_of_a_batch_is_the_mean_of_its_parts(seed, share):
    prediction, truth = images(seed, 2, 3, 8, 8), images(seed + 1, 2, 3, 8, 8)
    gate = (images(seed + 2, 2, 1, 8, 8) < share).float()
    loss = pyramid()
    parts = [loss(prediction[i : i + 1], truth[i : i + 1], gate[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(prediction, truth, gate), torch.stack(parts).mean())
    torch.testing.assert_close(loss(prediction, truth, torch.zeros_like(gate)), loss(prediction, truth, None))


def test_pyramid_refuses_images_too_small_for_its_levels():
    with pytest.raises(ValueError, match=r"perceptual\.levels = 4 is too many for images of 8 pixels"):
        pyramid(4)(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), None)


def test_names_say_what_the_loss_is():
    assert pyramid(3).name == "pyramid:3"
    none = build_perceptual(PerceptualConfig(kind="none"))
    assert none.name == "none"
    assert none(images(0, 1, 3, 4, 4), images(1, 1, 3, 4, 4), None).item() == 0


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """A MatConvNet file with VGG-19's layers at a fraction of their widths."""
    from scipy.io import savemat

    path = tmp_path_factory.mktemp("vgg") / "narrow.mat"
    savemat(path, {"layers": matconvnet_layers()})
    return path


def matconvnet_layers(skip=()):
    rng = np.random.default_rng(0)
    layers, width = [], 3
    for block, count in enumerate((2, 2, 4, 4, 4), start=1):
        for index in range(1, count + 1):
            name, out = f"conv{block}_{index}", 2 + block
            weights = np.empty((1, 2), dtype=object)
            weights[0, 0] = rng.normal(size=(3, 3, width, out)).astype(np.float32) / 5
            weights[0, 1] = rng.normal(size=(1, out)).astype(np.float32)
            layers += [{"name": name, "type": "conv", "weights": weights}, {"name": f"relu{name}", "type": "relu"}]
            width = out
        layers.append({"name": f"pool{block}", "type": "pool"})
    kept = [layer for layer in layers if layer["name"] not in skip]
    row = np.empty((1, len(kept)), dtype=object)
    row[0, :] = kept
    return row


def reference_vgg(prediction, truth, keep):
    """The loss written out from the description, in the numbering of torchvision's `features`."""
    from torch.nn import functional

    rows = {layer["name"]: layer["weights"][0] for layer in matconvnet_layers()[0] if layer["type"] == "conv"}
    kinds = "CRCRPCRCRPCRCRCRCRPCRCRCRCRPCRCRC"
    kernels = iter(rows.values())

    parts = [(kind, next(kernels) if kind == "C" else None) for kind in kinds]

    def entering(x):
        found = [x]
        for number, (kind, kernel) in enumerate(parts):
            if number in (4, 9, 14, 23, 32):
                found.append(x)
            if kind == "C":
                weight = torch.from_numpy(kernel[0].transpose(3, 2, 0, 1))
                x = functional.conv2d(x, weight, torch.from_numpy(kernel[1][0]), padding=1)
            else:
                x = functional.relu(x) if kind == "R" else functional.avg_pool2d(x, 2)
        return found

    mean = torch.tensor([123.68, 116.779, 103.939])[:, None, None]
    total = 0
    pairs = zip(entering(255 * prediction - mean), entering(255 * truth - mean), strict=True)
    for (a, b), divisor in zip(pairs, (1, 2.6, 4.8, 3.7, 5.6, 0.15), strict=True):
        total += ((a - b).abs() * functional.adaptive_avg_pool2d(keep, a.shape[-2:])).mean() / divisor
    return total / 255


@pytest.mark.parametrize("gated", [False, True])
def test_vgg_follows_the_description(vgg_file, gated, caplog):
    loss = build_perceptual(PerceptualConfig(kind="vgg19", weights=str(vgg_file)))
    assert "MD5" in caplog.text
    assert loss.name.startswith("vgg19:")
    prediction, truth = images(0, 2, 3, 32, 32).requires_grad_(), images(1, 2, 3, 32, 32)
    gate = (images(2, 2, 1, 32, 32) > 0.5).float()
    value = loss(prediction, truth, gate if gated else None)
    expected = reference_vgg(prediction, truth, 1 - gate if gated else torch.ones_like(gate))
    torch.testing.assert_close(value, expected)
    value.backward()
    assert prediction.grad.abs().max() > 0
    assert list(loss.parameters()) == []


def test_vgg_all_transient_is_zero(vgg_file):
    loss = build_perceptual(PerceptualConfig(kind="vgg19", weights=str(vgg_file)))
    prediction = images(0, 1, 3, 16, 16).requires_grad_()
    value = loss(prediction, images(1, 1, 3, 16, 16), torch.ones(1, 1, 16, 16))
    value.backward()
    assert (value.item(), prediction.grad.abs().max().item()) == (0, 0)


def test_vgg_refuses_what_is_not_the_file(tmp_path):
    from scipy.io import savemat

    def load(path):
        build_perceptual(PerceptualConfig(kind="vgg19", weights=str(path)))

    with pytest.raises(ValueError, match=r"perceptual\.weights = .*absent\.mat'.* no such file.*pyramid"):
        load(tmp_path / "absent.mat")
    (tmp_path / "text.mat").write_text("not a network, " * 50)
    with pytest.raises(ValueError, match="not a MatConvNet network"):
        load(tmp_path / "text.mat")
    savemat(tmp_path / "other.mat", {"weights": np.zeros(3)})
    with pytest.raises(ValueError, match="not a MatConvNet network"):
        load(tmp_path / "other.mat")
    savemat(tmp_path / "short.mat", {"layers": matconvnet_layers(skip=("conv3_2", "conv5_1"))})
    with pytest.raises(ValueError, match=r"convolutions \['conv3_2', 'conv5_1'\] are missing"):
        load(tmp_path / "short.mat")
