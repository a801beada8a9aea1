"""Voting against a plain double loop, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers.inspect_run import write_residuals
from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.pseudo_masks.patch_masks import SAME_ORIGIN, calibrate_on, vote_frames
from wildrayzer.pseudo_masks.voting import required_frames, vote


def plain_vote(saliency, clusters, config):
    """The rule as one would say it: cluster by cluster, frame by frame."""
    frames = len(saliency)
    members = {int(k): saliency[clusters == k].tolist() for k in np.unique(clusters)}
    means = {k: sum(values) / len(values) for k, values in members.items()}  # one by one: NumPy's mean rounds otherwise
    threshold = np.quantile(list(means.values()), 1 - config.top_share)
    mask = np.zeros(saliency.shape, bool)
    for k, mean in means.items():
        if mean < threshold:
            continue
        votes = 0
        for frame in range(frames):
            own = saliency[frame][clusters[frame] == k]
            if len(own) and np.ptp(saliency[frame]) > 0:
                votes += np.median(own) >= np.quantile(saliency[frame], config.frame_quantile)
        if votes >= max(1, math.ceil(config.frame_share * frames - 1e-9)):
            mask |= clusters == k
    return mask


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(1, 7),
    grid=st.integers(2, 6),
    clusters=st.integers(1, 12),
    top_share=st.floats(0.05, 1.0),
    quantile=st.floats(0.0, 0.95),
    share=st.floats(0.1, 1.0),
)
@example(seed=0, frames=1, grid=2, clusters=3, top_share=0.9999999999999999, quantile=0.0, share=1.0)
def test_vote_is_the_double_loop(seed, frames, grid, clusters, top_share, quantile, share):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, clusters, (frames, grid, grid)).astype(np.uint8)
    saliency = rng.standard_normal((frames, grid, grid)) + 1.5 * rng.standard_normal(clusters)[labels]
    config = PseudoMasksConfig(top_share=top_share, frame_quantile=quantile, frame_share=share)
    np.testing.assert_array_equal(vote(saliency, labels, config), plain_vote(saliency, labels, config))


def test_votes_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, (20, 6, 5, 5)).astype(np.uint8)
    saliency = (
        rng.standard_normal((20, 6, 5, 5)) + rng.standard_normal((20, 8))[np.arange(20)[:, None, None, None], labels]
    )
    config = PseudoMasksConfig(top_share=0.3, frame_quantile=0.5)
    together = vote(saliency, labels, config)
    assert 0 < together.mean() < 1
    np.testing.assert_array_equal(
        together, np.stack([vote(s, k, config) for s, k in zip(saliency, labels, strict=True)])
    )
    np.testing.assert_array_equal(together[::-1], vote(saliency[::-1], labels[::-1], config))


def four_clusters(frames_hot, frames=6):
    """Cluster 3 stands out in the first frames, clusters fill a quarter each."""
    labels = np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(4, 4)
    labels = np.broadcast_to(labels, (frames, 4, 4)).copy()
    saliency = np.linspace(0, 0.1, 16).reshape(1, 4, 4).repeat(frames, 0)
    saliency[:frames_hot, 3] += 5
    saliency[frames_hot:, 3] -= 1
    return saliency, labels


@pytest.mark.parametrize(("hot", "fires"), [(3, False), (4, True), (6, True)])
def test_four_of_six_frames_make_a_cluster_foreground(hot, fires):
    saliency, labels = four_clusters(hot)
    mask = vote(saliency, labels, PseudoMasksConfig(top_share=0.25))
    np.testing.assert_array_equal(mask, (labels == 3) & fires)


@pytest.mark.parametrize(("frames", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4)])
def test_required_frames(frames, needed):
    assert required_frames(frames, PseudoMasksConfig()) == needed


def test_frames_without_contrast_cast_no_vote():
    labels = np.zeros((6, 4, 4), np.uint8)
    assert not vote(np.zeros((6, 4, 4)), labels, PseudoMasksConfig()).any()


def test_absent_cluster_numbers_do_not_shift_the_quantile():
    saliency, labels = four_clusters(6)
    config = PseudoMasksConfig(top_share=0.25)
    np.testing.assert_array_equal(vote(saliency, labels, config), vote(saliency, labels * 60, config))


def test_missing_maps_and_clusters_are_refused():
    saliency, labels = four_clusters(6)
    with pytest.raises(ValueError, match="saliency contains NaN"):
        vote(np.full_like(saliency, np.nan), labels, PseudoMasksConfig())
    labels[0, 0, 0] = 255
    with pytest.raises(ValueError, match="clusters contain 255"):
        vote(saliency, labels, PseudoMasksConfig())


@pytest.mark.parametrize(("name", "value"), [("d_dino", np.nan), ("d_ssim", np.inf), ("psnr", np.nan)])
def test_broken_residuals_are_refused_by_frame(tmp_path, name, value):
    columns = {name: np.random.default_rng(0).random((6, 2, 2)) for name in ("d_dino", "d_ssim")}
    columns["psnr"] = np.full(6, 20.0)
    columns[name].reshape(6, -1)[4, 0] = value
    window, digests = np.array([-1, 0, 0, 0, 0, 0]), dict.fromkeys(SAME_ORIGIN, "x")
    maps = write_residuals(tmp_path, **columns, window=window, lengths=[2, 4], digests=digests)
    message = r"residuals\.zarr: the residuals of 1 frames contain NaN or infinity, the first is frame 2 of clip_1; "
    with pytest.raises(ValueError, match=message):
        vote_frames(maps, PseudoMasksConfig())
    with pytest.raises(ValueError, match=message):
        calibrate_on([maps.path], PseudoMasksConfig(false_positive_rate=0.5))


def test_no_windows_give_no_masks():
    assert vote(np.zeros((0, 6, 4, 4)), np.zeros((0, 6, 4, 4), np.uint8), PseudoMasksConfig()).shape == (0, 6, 4, 4)
