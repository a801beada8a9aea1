"""Residual maps, z-scores and fusion against hand-computed values, scikit-image and the released procedure."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from wildrayzer.config.sections.masks import PseudoMasksConfig, ResidualsConfig
from wildrayzer.images.psnr import psnr
from wildrayzer.images.ssim import _by_matrices, ssim_map
from wildrayzer.pseudo_masks.fusion import dino_weight, fuse, zscore
from wildrayzer.pseudo_masks.residual_maps import feature_dissimilarity, pool_to_patches, window_maps

DATA = Path(__file__).parents[1] / "resources"


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_anchor_makes_small_differences_small():
    target = torch.tensor([[[[0.01, 0.0], [3.0, 0.0]]]])
    rendered = torch.tensor([[[[0.0, 0.01], [0.0, 3.0]]]])
    without = feature_dissimilarity(target, rendered, centre=False)
    found = feature_dissimilarity(target, rendered, centre=False, anchor=1.0)
    assert torch.allclose(without, torch.ones(1, 1, 2))
    assert torch.allclose(found, torch.tensor([[[1 - 1 / 1.0001, 1 - 1 / 10]]]), atol=1e-6)


def test_psnr_by_hand():
    target = torch.zeros(3, 3, 4, 4)
    rendered = torch.stack([torch.full((3, 4, 4), value) for value in (0.1, 1.0, 0.0)])
    torch.testing.assert_close(psnr(target, rendered), torch.tensor([20.0, 0.0, torch.inf]))


def test_dissimilarity_by_hand():
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]).view(1, 1, 5, 2)
    other = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]).view(1, 1, 5, 2)
    found = feature_dissimilarity(target, other, centre=False)
    torch.testing.assert_close(found[0, 0], torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0]))


def test_centring_uses_the_windows_targets_alone():
    target, other = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    found = feature_dissimilarity(target, other, centre=True)
    for window in range(2):
        mean = target[window].mean((0, 1))
        expected = 1 - torch.cosine_similarity(target[window] - mean, other[window] - mean, dim=-1)
        torch.testing.assert_close(found[window], expected, atol=1e-5, rtol=1e-4)
    alone = feature_dissimilarity(target[1:], other[1:], centre=True)
    assert torch.equal(alone, found[1:])


@pytest.mark.parametrize("size", [(24, 24), (19, 33), (150, 131)])
def test_gaussian_ssim_is_scikit_images(size):
    a, b = random(2, 3, *size), random(2, 3, *size, seed=1)
    found = ssim_map(a, b).numpy()
    for i in range(2):
        _, expected = structural_similarity(
            *(image[i].permute(1, 2, 0).double().numpy() for image in (a, b)),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=2,
            full=True,
        )
        np.testing.assert_allclose(found[i], expected.mean(2), atol=5e-5)


def test_uniform_ssim_is_scikit_images_on_bytes():
    a, b = random(1, 3, 20, 26), random(1, 3, 20, 26, seed=1)
    pixels = [(image[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy() for image in (a, b)]
    _, expected = structural_similarity(*pixels, win_size=7, data_range=255, channel_axis=2, full=True)
    found = ssim_map(a, b, window="uniform", size=7)[0].numpy()
    np.testing.assert_allclose(found, expected.mean(2), atol=2e-5)


def test_uniform_ssim_gives_the_released_values():
    golden = np.load(DATA / "ssim_uniform11.npz")
    a, b = (torch.from_numpy(golden[name]).float()[None] / 255 for name in ("target", "rendered"))
    found = 1 - ssim_map(a, b, window="uniform", size=11)[0]
    np.testing.assert_allclose(found.numpy(), golden["dissimilarity"], atol=2e-5)


@pytest.mark.parametrize(("window", "tolerance"), [("gaussian", 1e-5), ("uniform", 0)])
def test_matrices_of_a_gpu_give_what_the_filters_of_a_cpu_give(monkeypatch, window, tolerance):
    a, b = random(3, 3, 140, 170), random(3, 3, 140, 170, seed=1)
    found = ssim_map(a, b, window=window)
    monkeypatch.setattr("wildrayzer.images.ssim._by_frames", _by_matrices)
    monkeypatch.setattr("wildrayzer.images.ssim._CHUNK_PIXELS", 2 * 140 * 170)
    torch.testing.assert_close(found, ssim_map(a, b, window=window), atol=tolerance, rtol=0)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_ssim_does_not_depend_on_threads_or_on_how_images_lie_in_memory(window):
    a, b = random(4, 3, 150, 131), random(4, 3, 150, 131, seed=1)
    found = ssim_map(a, b, window=window)
    last = [image.contiguous(memory_format=torch.channels_last) for image in (a, b)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(ssim_map(*last, window=window), found)
    finally:
        torch.set_num_threads(before)
    assert ssim_map(a[:0], b[:0]).shape == (0, 150, 131)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_ssim_does_not_depend_on_the_batch(window):
    a, b = random(40, 3, 32, 32), random(40, 3, 32, 32, seed=1)
    together = ssim_map(a, b, window=window)
    apart = torch.cat([ssim_map(x[None], y[None], window=window) for x, y in zip(a, b, strict=True)])
    assert torch.equal(together, apart)
    torch.testing.assert_close(ssim_map(a[:2], a[:2], window=window), torch.ones(2, 32, 32), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [4, 13])
def test_a_window_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=f"window of {size} pixels does not fit images of 12×12"):
        ssim_map(random(1, 3, 12, 12), random(1, 3, 12, 12), size=size)


def test_pooling_is_the_mean_over_the_patch():
    maps = torch.arange(16.0).view(1, 4, 4)
    assert pool_to_patches(maps, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]


def test_zscore_by_hand():
    maps = np.array([[[1.0, 3.0], [1.0, 3.0]], [[0.5, 0.50005], [0.5, 0.5]]])
    np.testing.assert_allclose(zscore(maps), [[[-1, 1], [-1, 1]], [[0, 0], [0, 0]]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_zscore_of_a_broken_map_is_nan(value):
    maps = np.zeros((2, 2, 2))
    maps[0, 0, 0] = value
    found = zscore(maps)
    assert np.isnan(found[0]).any()
    assert (found[1] == 0).all()


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_zscore_forgets_scale_and_offset(seed, scale, offset):
    maps = np.random.default_rng(seed).random((2, 4, 4))
    np.testing.assert_allclose(zscore(maps * scale + offset), zscore(maps), atol=1e-6)
    np.testing.assert_allclose(zscore(maps).mean((1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(zscore(maps).std((1, 2)), 1)


def test_weights_follow_the_frames_psnr():
    levels = np.array([10.0, 17.0, 22.0, 27.0, 40.0])
    np.testing.assert_allclose(dino_weight(levels, PseudoMasksConfig()), [0.8, 0.8, 0.6, 0.4, 0.4])
    fixed = PseudoMasksConfig(weighting="fixed", dino_weight=0.6)
    np.testing.assert_allclose(dino_weight(levels, fixed), 0.6)


def test_fusion_weighs_z_scores_frame_by_frame():
    rng = np.random.default_rng(0)
    d_dino, d_ssim = rng.random((2, 3, 3)), rng.random((2, 3, 3))
    found = fuse(d_dino, d_ssim, np.array([17.0, 27.0]), PseudoMasksConfig())
    np.testing.assert_allclose(found[0], 0.8 * zscore(d_dino)[0] + 0.2 * zscore(d_ssim)[0])
    np.testing.assert_allclose(found[1], 0.4 * zscore(d_dino)[1] + 0.6 * zscore(d_ssim)[1])
    ssim_only = PseudoMasksConfig(weighting="fixed", dino_weight=0.0)
    np.testing.assert_allclose(fuse(d_dino, d_ssim, np.array([17.0, 27.0]), ssim_only), zscore(d_ssim))


CONFIG = ResidualsConfig(clusters=5, ssim_size=5)


def maps_of(targets, rendered, seeds=None, config=CONFIG):
    from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor

    return window_maps(
        targets,
        rendered,
        backbone=Descriptor(patch_size=4),
        patch_size=4,
        config=config,
        seeds=seeds or list(range(len(targets))),
    )


def test_window_maps_put_the_steps_together():
    from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor

    targets, rendered = random(2, 3, 3, 16, 16), random(2, 3, 3, 16, 16, seed=1)
    found = maps_of(targets, rendered)
    assert found.d_dino.shape == found.d_ssim.shape == found.clusters.shape == (2, 3, 4, 4)
    expected = pool_to_patches(1 - ssim_map(targets[1], rendered[1], size=5), 4)
    np.testing.assert_allclose(found.d_ssim[1], expected.numpy(), atol=1e-3)
    backbone = Descriptor(patch_size=4)
    own, other = backbone(targets[1]).view(1, 3, 16, 15), backbone(rendered[1]).view(1, 3, 16, 15)
    expected = feature_dissimilarity(own, other, centre=True, anchor=2.0).view(3, 4, 4)
    np.testing.assert_allclose(found.d_dino[1], expected.numpy(), atol=1e-3)
    np.testing.assert_allclose(found.psnr[1], psnr(targets[1], rendered[1]).numpy(), rtol=1e-6)
    assert found.clusters.max() < 5


def test_window_maps_are_the_same_in_any_batch_and_order():
    targets, rendered = random(4, 3, 3, 16, 16), random(4, 3, 3, 16, 16, seed=1)
    together = maps_of(targets, rendered, [7, 3, 9, 1])
    reversed_ = maps_of(targets.flip(0), rendered.flip(0), [1, 9, 3, 7])
    for i, seed in enumerate([7, 3, 9, 1]):
        alone = maps_of(targets[i : i + 1], rendered[i : i + 1], [seed])
        for name in ("d_dino", "d_ssim", "clusters", "psnr"):
            np.testing.assert_array_equal(getattr(together, name)[i], getattr(alone, name)[0])
            np.testing.assert_array_equal(getattr(reversed_, name)[3 - i], getattr(alone, name)[0])


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_equal_constant_frames_have_no_residual(value):
    frames = torch.full((1, 2, 3, 16, 16), value)
    found = maps_of(frames, frames.clone())
    assert found.d_dino.max() == 0
    assert abs(found.d_ssim).max() < 1e-3
    assert (found.clusters == 0).all()
    assert (found.psnr == 100).all()


def test_nan_frames_and_renderings_are_refused():
    frames = random(1, 2, 3, 16, 16)
    broken = frames.clone()
    broken[0, 1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="1 renderings contain NaN or infinity"):
        maps_of(frames, broken)
    with pytest.raises(ValueError, match="1 frames contain NaN or infinity"):
        maps_of(broken, frames)


def test_a_backbone_that_gives_nan_is_refused():
    from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor

    class Broken(Descriptor):
        def __call__(self, images):
            features = super().__call__(images)
            return features if images.mean() < 0.5 else features.index_fill(0, torch.tensor([1]), float("nan"))

    dark, bright = 0.3 * random(1, 3, 3, 16, 16), 1 - 0.3 * random(1, 3, 3, 16, 16)
    for frames, rendered, named in ((dark, bright, "renderings"), (bright, dark, "frames")):
        with pytest.raises(ValueError, match=f"backbone descriptor gives NaN or infinity for 1 {named}; check its"):
            window_maps(frames, rendered, backbone=Broken(patch_size=4), patch_size=4, config=CONFIG, seeds=[0])


def test_another_grid_is_refused():
    from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor

    with pytest.raises(ValueError, match=r"backbone descriptor gives a grid \(8, 8\), the patch grid is \(4, 4\)"):
        window_maps(
            random(1, 1, 3, 16, 16),
            random(1, 1, 3, 16, 16),
            backbone=Descriptor(patch_size=2),
            patch_size=4,
            config=CONFIG,
            seeds=[0],
        )
