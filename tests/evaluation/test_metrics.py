"""Image and mask metrics: recorded values of the public release, hand-computed cases, empty regions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wildrayzer.evaluation.metrics.image import masked_psnr, masked_ssim, similarity_map
from wildrayzer.evaluation.metrics.lpips import CONVOLUTIONS, load_lpips
from wildrayzer.evaluation.metrics.masks import mask_scores

RECORDED = Path(__file__).parents[1] / "resources" / "metrics_shared.npz"


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED) as archive:
        arrays = {name: torch.from_numpy(archive[name].astype(np.float32)) for name in archive.files}
    arrays["regions"] = {"transient": arrays["mask"], "static": 1 - arrays["mask"]}
    return arrays


def vgg16_weights():
    """VGG-16 drawn by the rule under which the values were recorded, keyed as the lpips package does."""
    slices = {index: 1 + sum(index >= first for first in (4, 9, 16, 23)) for index in CONVOLUTIONS}
    inputs = dict(zip(CONVOLUTIONS, (3, *CONVOLUTIONS.values()), strict=False))
    shapes = {}
    for index, width in CONVOLUTIONS.items():
        shapes[f"slice{slices[index]}.{index}.weight"] = (width, inputs[index], 3, 3)
        shapes[f"slice{slices[index]}.{index}.bias"] = (width,)
    state = {}
    for i, name in enumerate(sorted(shapes)):
        z = np.random.default_rng(11007 + i).standard_normal(shapes[name]).astype(np.float32)
        scale = 0.1 if len(z.shape) == 1 else 1 / np.sqrt(np.prod(z.shape[1:]))
        state[name] = torch.from_numpy(z * np.float32(scale))
    return state


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg16") / "lpips.pth"
    torch.save(vgg16_weights(), path)
    return path


@pytest.mark.parametrize("region", ["transient", "static"])
def test_recorded_psnr_and_ssim(recorded, region):
    weight = recorded["regions"][region]
    psnr = masked_psnr(recorded["pred"], recorded["gt"], weight)
    ssim = masked_ssim(recorded["pred"], recorded["gt"], weight)
    np.testing.assert_allclose(psnr, recorded[f"psnr_{region}"], atol=1e-3)
    np.testing.assert_allclose(ssim, recorded[f"ssim_{region}"], atol=1e-4)
    assert psnr.isnan().tolist() == [False, False, region == "transient"]


def test_recorded_lpips_in_both_definitions(recorded, vgg16_file):
    scores = load_lpips(vgg16_file)(recorded["pred"], recorded["gt"], recorded["regions"])
    for region in ("transient", "static"):
        np.testing.assert_allclose(scores[region]["lpips"], recorded[f"lpips_paper_{region}"], atol=1e-4)
        np.testing.assert_allclose(scores[region]["lpips_released"], recorded[f"lpips_spatial_{region}"], atol=1e-4)


def test_lpips_of_a_batch_equals_that_of_its_parts(recorded, vgg16_file):
    lpips = load_lpips(vgg16_file)
    both = lpips(recorded["pred"][:2], recorded["gt"][:2], {"x": recorded["mask"][:2]})["x"]
    for i in range(2):
        part = slice(i, i + 1)
        alone = lpips(recorded["pred"][part], recorded["gt"][part], {"x": recorded["mask"][part]})["x"]
        for name, value in both.items():
            torch.testing.assert_close(value[part], alone[name], atol=1e-6, rtol=1e-5)


def test_lpips_reads_torchvision_keys_and_ignores_the_classifier(tmp_path, recorded, vgg16_file):
    state = {f"features.{key.split('.', 1)[1]}": value for key, value in vgg16_weights().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg.pth")
    arguments = (recorded["pred"][:1, :, :16, :16], recorded["gt"][:1, :, :16, :16], {"x": torch.ones(1, 1, 16, 16)})
    ours, theirs = load_lpips(tmp_path / "vgg.pth")(*arguments), load_lpips(vgg16_file)(*arguments)
    assert torch.equal(ours["x"]["lpips"], theirs["x"]["lpips"])
    with pytest.raises(ValueError, match="too small for LPIPS"):
        load_lpips(vgg16_file)(*(x[..., :12, :12] for x in arguments[:2]), {"x": torch.ones(1, 1, 12, 12)})


def test_lpips_refuses_what_is_not_vgg16(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.pth'.* no such file.*vgg16-397923af"):
        load_lpips(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match="not a state dict"):
        load_lpips(tmp_path / "text.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "short.pth")
    with pytest.raises(ValueError, match=r"layers \['features\.0', 'features\.2'.* are missing"):
        load_lpips(tmp_path / "short.pth")
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "narrow.pth")
    with pytest.raises(ValueError, match=r"features\.0\.weight has shape \(8, 3, 3, 3\), VGG-16 has \(64, 3, 3, 3\)"):
        load_lpips(tmp_path / "narrow.pth")


def test_psnr_by_hand():
    truth = torch.zeros(1, 3, 1, 3)
    prediction = torch.tensor([0.1, 0.3, 1.0]).expand(1, 3, 1, 3)
    region = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 1, 1, 3)
    assert masked_psnr(prediction, truth, region).item() == pytest.approx(-10 * np.log10((0.01 + 0.09) / 2))
    assert masked_psnr(truth, truth, region).item() == np.inf
    assert masked_psnr(prediction, truth, torch.zeros(1, 1, 1, 3)).isnan().all()


def test_ssim_of_constant_images_by_hand():
    x, y = torch.full((1, 3, 12, 12), 0.2), torch.full((1, 3, 12, 12), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)  # no structure: the second factor is 1
    assert similarity_map(x, y, padding=False).shape == (1, 1, 2, 2)
    assert masked_ssim(x, y, torch.ones(1, 1, 12, 12), padding=False).item() == pytest.approx(expected)
    assert masked_ssim(x, x, torch.ones(1, 1, 12, 12)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="window of 11 pixels does not fit images of 10×12"):
        similarity_map(x[..., :10, :], y[..., :10, :], padding=False)


def test_ssim_against_scikit_image():
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1, 3, 24, 20, generator=generator)
    _, full = structural_similarity(
        x[0].double().numpy(), y[0].double().numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=1.0, channel_axis=0, full=True, truncate=3.4,
    )  # fmt: skip
    np.testing.assert_allclose(similarity_map(x, y, padding=False)[0, 0], full[:, 5:-5, 5:-5].mean(0), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_region_mean_is_consistent(seed):
    """The squared error of the whole is the mix of its parts by their areas."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, 2, 3, 6, 7, generator=generator)
    mask = torch.rand(2, 1, 6, 7, generator=generator).round()
    share = mask.mean((1, 2, 3)).double()
    mse = [10 ** (-masked_psnr(x, y, region) / 10) for region in (mask, 1 - mask, torch.ones_like(mask))]
    torch.testing.assert_close(share * mse[0].nan_to_num() + (1 - share) * mse[1].nan_to_num(), mse[2])


def test_mask_scores_by_hand():
    truth = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]]).astype(bool)
    prediction = np.array([[[0, 1, 1, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]]).astype(bool)
    scores = mask_scores(prediction, truth)
    nan = np.nan
    np.testing.assert_allclose(scores["iou"], [1 / 3, nan, 0, nan])
    np.testing.assert_allclose(scores["recall"], [1 / 2, nan, 0, nan])
    np.testing.assert_allclose(scores["precision"], [1 / 2, 0, nan, nan])
    np.testing.assert_allclose(scores["coverage"], [0.5, 0.25, 0, 0])
