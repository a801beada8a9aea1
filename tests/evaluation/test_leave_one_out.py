"""Masks without a motion head: thresholds from static clips, applied to leave-one-out maps."""

import numpy as np
import pytest

from tests.stages.test_scoring_stages import CONFIG, FEATURES, checkpoint, write_store  # noqa: F401
from wildrayzer.config.sections.masks import PseudoMasksConfig, ResidualsConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.methods.leave_one_out import leave_one_out_masks
from wildrayzer.evaluation.window_batches import read_windows, windows_of

RESIDUALS = ResidualsConfig(clusters=2, ssim_size=3)
OPTIONS = PseudoMasksConfig(absolute_test="patch", false_positive_rate=0.25, region_rate=0.5)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    path = write_store(tmp_path_factory.mktemp("stores") / "pairs.zarr")
    store = FrameStore(path)
    return path, read_windows(store, windows_of(store, "pairs_test", 2, CONFIG))


def masks_of(checkpoint_dir, calibration, options=OPTIONS, inputs=2):
    return leave_one_out_masks(
        checkpoint_dir, calibration, inputs=inputs, config=CONFIG, features=FEATURES, residuals=RESIDUALS,
        pseudo_masks=options,
    )  # fmt: skip


def test_the_calibration_clips_are_marked_at_the_configured_rate(batch, checkpoint):  # noqa: F811
    path, windows = batch
    row = masks_of(checkpoint, [path])
    assert row.row == "leave_one_out"
    found = row.masks(windows)
    assert found.shape == windows.images[:, :2, 0].shape
    # at most one patch off, because the threshold is a quantile between two patches
    patches = found.size // 4**2
    assert abs(found.mean() - OPTIONS.false_positive_rate) <= 1 / patches


def test_whole_patches_are_marked_and_a_window_does_not_depend_on_others(batch, checkpoint):  # noqa: F811
    path, windows = batch
    row = masks_of(checkpoint, [path], OPTIONS.model_copy(update={"absolute_test": "region"}))
    found = row.masks(windows)
    blocks = found.reshape(*found.shape[:2], found.shape[2] // 4, 4, -1, 4)
    assert (blocks == blocks[:, :, :, :1, :, :1]).all()
    store = FrameStore(path)
    one = read_windows(store, windows_of(store, "pairs_test", 2, CONFIG)[1:2])
    np.testing.assert_array_equal(row.masks(one)[0], found[1])


def test_voting_that_is_off_leaves_the_test_of_single_patches(batch, checkpoint):  # noqa: F811
    path, windows = batch
    off = masks_of(checkpoint, [path], OPTIONS.model_copy(update={"absolute_test": "off"}))
    np.testing.assert_array_equal(off.masks(windows), masks_of(checkpoint, [path]).masks(windows))
    assert off.about == {"absolute_test": "patch"}


def test_no_calibration_clips_are_refused(checkpoint):  # noqa: F811
    with pytest.raises(ValueError, match=r"leave_one_out needs static clips .* purpose: calibration"):
        masks_of(checkpoint, [])
