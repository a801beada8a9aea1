"""The absolute test: calibration to a false-positive rate, by patch and by cluster."""

import numpy as np
import pytest

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.io.files import read_json, write_json
from wildrayzer.pseudo_masks.calibration import (
    AbsoluteThresholds,
    apply_threshold,
    calibrate,
    cluster_means,
    motion_score,
)

RATE = 0.05
OFF, PATCH, CLUSTER, REGION = (
    PseudoMasksConfig(absolute_test=mode, false_positive_rate=RATE, region_rate=0.2)
    for mode in ("off", "patch", "cluster", "region")
)
RATES = {"false_positive_rate": RATE, "region_rate": 0.2}
W = {name: getattr(REGION, name) for name in ("weighting", "dino_weight", "dino_weight_low", "dino_weight_high")}
W |= {"psnr_low": REGION.psnr_low, "psnr_high": REGION.psnr_high}


def static_maps(seed, frames=60, scale=1.0):
    rng = np.random.default_rng(seed)
    d_dino = (scale * rng.gamma(2.0, 0.1, (frames, 8, 8))).astype(np.float16)
    d_ssim = (scale * rng.gamma(2.0, 0.05, (frames, 8, 8))).astype(np.float16)
    clusters = np.broadcast_to(np.arange(16, dtype=np.uint8).reshape(4, 4).repeat(2, 0).repeat(2, 1), (frames, 8, 8))
    return d_dino, d_ssim, rng.uniform(18, 28, frames).astype(np.float32), clusters.copy()


@pytest.mark.parametrize("config", [PATCH, CLUSTER])
def test_new_static_clips_pass_at_the_stated_rate(config):
    thresholds = calibrate(*static_maps(0, frames=400), config)
    *maps, clusters = static_maps(1, frames=400)
    values = motion_score(*maps, config, thresholds)
    share = apply_threshold(values, clusters, np.ones(values.shape, bool), config, thresholds).mean()
    assert 0.6 * RATE < share < 1.4 * RATE


@pytest.mark.parametrize("config", [PATCH, CLUSTER, REGION])
def test_motion_is_over_the_threshold(config):
    thresholds = calibrate(*static_maps(0), config)
    d_dino, d_ssim, psnr, clusters = static_maps(1)
    moving = clusters == 5
    d_dino[moving] += 1
    values = motion_score(d_dino, d_ssim, psnr, config, thresholds)
    found = apply_threshold(values, clusters, np.ones(values.shape, bool), config, thresholds)
    assert found[moving].mean() > 0.95
    assert found[~moving].mean() < (2 * RATE if config is not REGION else 0.25)


def test_regions_by_hand():
    """A region stays whole if it has one patch over the upper threshold; corners and other frames do not connect."""
    thresholds = AbsoluteThresholds(1.0, 1.0, patch=3.0, cluster=0.0, region=1.0, **RATES, patches=1, weighting=W)
    values = np.array([[[4.0, 2.0, 0.5], [0.5, 2.0, 0.5], [2.0, 0.5, 3.0]], [[2.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3]])
    voted = np.ones(values.shape, bool)
    clusters = np.zeros(values.shape, np.uint8)
    expected = np.array([[[1, 1, 0], [0, 1, 0], [0, 0, 0]], np.zeros((3, 3))], bool)
    np.testing.assert_array_equal(apply_threshold(values, clusters, voted, REGION, thresholds), expected)
    voted[0, 0, 0] = False
    assert not apply_threshold(values, clusters, voted, REGION, thresholds).any()


def test_motion_score_by_hand():
    thresholds = AbsoluteThresholds(0.5, 0.1, 1.0, 1.0, 1.0, **RATES, patches=1, weighting={})
    d_dino, d_ssim = np.full((2, 1, 1), 1.0), np.full((2, 1, 1), 0.3)
    found = motion_score(d_dino, d_ssim, np.array([17.0, 27.0]), PATCH, thresholds)
    np.testing.assert_allclose(found.ravel(), [0.8 * 2 + 0.2 * 3, 0.4 * 2 + 0.6 * 3])


def test_an_average_static_patch_has_score_one():
    maps = static_maps(0)
    thresholds = calibrate(*maps, PATCH)
    assert thresholds.scale_dino == pytest.approx(maps[0].astype(np.float64).mean())
    assert motion_score(*maps[:3], PATCH, thresholds).mean() == pytest.approx(1.0, abs=0.02)
    assert thresholds.patches == maps[0].size


def test_cluster_means_by_hand():
    values = np.array([[[1.0, 3.0], [5.0, 7.0]], [[0.0, 2.0], [4.0, 6.0]]])
    clusters = np.array([[[0, 0], [0, 9]], [[9, 9], [0, 0]]], np.uint8)
    np.testing.assert_allclose(cluster_means(values, clusters), [[[3, 3], [3, 7]], [[1, 1], [5, 5]]])


def test_off_lets_all_pass():
    thresholds = calibrate(*static_maps(0), OFF)
    everything = np.ones((1, 8, 8), bool)
    assert apply_threshold(np.zeros((1, 8, 8)), np.zeros((1, 8, 8), np.uint8), everything, OFF, thresholds).all()


def test_perfect_renderings_of_static_clips_give_no_false_positives():
    d_dino, d_ssim, psnr, clusters = static_maps(0)
    thresholds = calibrate(d_dino * 0, d_ssim * 0, psnr, clusters, PATCH)
    values = motion_score(d_dino * 0, d_ssim * 0, psnr, PATCH, thresholds)
    assert not apply_threshold(values, clusters, np.ones(values.shape, bool), PATCH, thresholds).any()


def test_thresholds_survive_the_disk(tmp_path):
    thresholds = calibrate(*static_maps(0), PATCH, made_from={"renderer": "abc"})
    thresholds.save(tmp_path / "t.json")
    again = AbsoluteThresholds.load(tmp_path / "t.json")
    assert again == thresholds
    assert again.digest == thresholds.digest


def test_thresholds_of_other_options_are_refused():
    thresholds = calibrate(*static_maps(0), PATCH)
    with pytest.raises(ValueError, match=r"rate of 0\.05, but pseudo_masks\.false_positive_rate = 0\.1"):
        thresholds.check(PseudoMasksConfig(false_positive_rate=0.1))
    with pytest.raises(ValueError, match=r"region rate of 0\.2, but pseudo_masks\.region_rate = 0\.3"):
        thresholds.check(REGION.model_copy(update={"region_rate": 0.3}))
    with pytest.raises(ValueError, match=r"pseudo_masks\.weighting = adaptive, but it is now fixed"):
        thresholds.check(PseudoMasksConfig(false_positive_rate=RATE, weighting="fixed"))


def test_bad_calibration_input(tmp_path):
    d_dino, d_ssim, psnr, clusters = static_maps(0)
    with pytest.raises(ValueError, match="0 static patches are too few"):
        calibrate(d_dino[:0], d_ssim[:0], psnr[:0], clusters[:0], PATCH)
    with pytest.raises(ValueError, match="NaN or infinity"):
        calibrate(d_dino * np.float16("nan"), d_ssim, psnr, clusters, PATCH)
    (tmp_path / "t.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="these are no thresholds of the absolute test"):
        AbsoluteThresholds.load(tmp_path / "t.json")
    calibrate(*static_maps(0), PATCH).save(tmp_path / "t.json")
    write_json(tmp_path / "t.json", read_json(tmp_path / "t.json") | {"patch": "high", "weighting": None})
    with pytest.raises(ValueError, match=r"t\.json is damaged or of another version \(patch: .*; weighting: "):
        AbsoluteThresholds.load(tmp_path / "t.json")
