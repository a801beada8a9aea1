"""Refinement to pixels: each step by hand, GrabCut on a scene where the object is plain to see."""

import numpy as np
import pytest
from skimage.measure import label

from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.pseudo_masks.refinement import clean, refine_frame, refine_frames, sharpen, upsample

CONFIG = RefineConfig()


def scene(seed=0, size=64):
    """A textured disc on a background of another colour, its mask, and a coarse patch mask around it."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size]
    centre = rng.integers(24, 40, 2)
    disc = (row - centre[0]) ** 2 + (column - centre[1]) ** 2 <= 14**2
    image = np.where(disc[..., None], [200, 60, 50], [60, 120, 170]) + rng.integers(-20, 20, (size, size, 3))
    patches = disc.reshape(8, 8, 8, 8).mean((1, 3)) > 0.3
    return image.clip(0, 255).astype(np.uint8), disc, patches.astype(np.uint8)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_upsampling_repeats_patches():
    found = upsample(np.array([[0, 1], [1, 0]], np.uint8), 4, 6)
    assert found.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[1, 1, 1, 0, 0, 0]] * 2


def test_a_grid_of_another_store_is_refused():
    with pytest.raises(ValueError, match="patch grid of 3×3 does not divide frames of 64×64"):
        upsample(np.zeros((3, 3), np.uint8), 64, 64)


def test_morphology_fills_gaps_and_drops_specks():
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    mask[9, 9] = 0
    mask[2, 2] = 1
    found = clean(mask, RefineConfig(min_area=0.0))
    assert found[9, 9] == 1
    assert found[2, 2] == 0
    assert clean(mask, RefineConfig(morphology=0, min_area=0.0)).tolist() == mask.tolist()


def test_components_under_the_least_area_go():
    rng = np.random.default_rng(0)
    mask = (rng.random((40, 40)) < 0.35).astype(np.uint8)
    found = clean(mask, RefineConfig(morphology=0, min_area=0.005))
    regions = label(mask, connectivity=2)
    sizes = np.bincount(regions.ravel())
    expected = (regions > 0) & (sizes[regions] >= 0.005 * 1600)
    assert 0 < expected.sum() < mask.sum()
    np.testing.assert_array_equal(found, expected)


def test_grabcut_finds_the_object():
    for seed in range(3):
        image, disc, patches = scene(seed)
        coarse = upsample(patches, 64, 64) > 0
        found = refine_frame(patches, image, CONFIG, seed=seed) > 0
        assert iou(found, disc) > 0.95 > iou(coarse, disc)


def test_enlarging_keeps_the_size_and_the_object():
    image, disc, patches = scene()
    found = refine_frame(patches, image, RefineConfig(grabcut_scale=2), seed=0)
    assert found.shape == (64, 64)
    assert iou(found > 0, disc) > 0.93


def test_grabcut_near_the_band_changes_nothing_beyond_its_margin():
    image, disc, patches = scene()
    mask = upsample(patches, 64, 64)
    whole = refine_frame(patches, image, CONFIG, seed=0)
    near = refine_frame(patches, image, RefineConfig(grabcut_margin=4), seed=0)
    assert iou(near > 0, disc) > 0.95
    assert (near != whole).mean() < 0.01
    # A margin that reaches over every edge shows the whole image.
    np.testing.assert_array_equal(refine_frame(patches, image, RefineConfig(grabcut_margin=64), seed=0), whole)
    # The band ends 3 pixels, half of the erosion, outside of the mask; with 1 pixel of margin nothing else is shown.
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    elsewhere = np.ones_like(mask, bool)
    elsewhere[rows[0] - 4 : rows[-1] + 5, columns[0] - 4 : columns[-1] + 5] = False
    noise = np.where(elsewhere[..., None], 255 - image, image)
    one = RefineConfig(grabcut_margin=1)
    np.testing.assert_array_equal(refine_frame(patches, noise, one, seed=0), refine_frame(patches, image, one, seed=0))


@pytest.mark.parametrize("margin", [1, 7])
def test_masks_at_the_edges_have_a_band_too(margin):
    image, _, _ = scene()
    for columns in (slice(0, 2), slice(6, 8), slice(0, 7), slice(3, 4)):
        patches = np.zeros((8, 8), np.uint8)
        patches[:, columns] = 1
        found = refine_frame(patches, image, RefineConfig(grabcut_margin=margin), seed=0)
        # Three pixels beside an edge are undecided, all others are certain.
        start, stop = 8 * columns.start, 8 * columns.stop
        assert (found[:, start + 3 * (start > 0) : stop - 3 * (stop < 64)] == 1).all()
        assert (found[:, : max(0, start - 3)] == 0).all()
        assert (found[:, stop + 3 :] == 0).all()


def test_without_grabcut_the_cleaned_patches_stay():
    image, _, patches = scene()
    found = refine_frame(patches, image, RefineConfig(grabcut=False), seed=0)
    np.testing.assert_array_equal(found, clean(upsample(patches, 64, 64), CONFIG))


@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full_masks_stay(value):
    image, _, patches = scene()
    assert (refine_frame(np.full_like(patches, value), image, CONFIG, seed=0) == value).all()


def test_no_sure_background_leaves_the_mask():
    mask = np.ones((32, 32), np.uint8)
    mask[14:18, 14:18] = 0
    assert (sharpen(mask, np.zeros((32, 32, 3), np.uint8), CONFIG, seed=0) == mask).all()


def test_frames_that_were_not_computed_stay_so():
    image, _, patches = scene()
    assert (refine_frame(np.full_like(patches, 255), image, CONFIG, seed=0) == 255).all()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_frames_of_one_colour_give_a_mask(value):
    _, _, patches = scene()
    found = refine_frame(patches, np.full((64, 64, 3), value, np.uint8), CONFIG, seed=0)
    assert set(np.unique(found)) <= {0, 1}
    assert found.any()


def test_same_masks_for_any_worker_count_order_and_batch():
    scenes = [scene(seed) for seed in range(6)]
    images, patches = np.stack([s[0] for s in scenes]), np.stack([s[2] for s in scenes])

    def run(order, batch, workers):
        order = np.asarray(order)
        jobs = [(patches[part], images[part], part.tolist()) for part in np.split(order, range(batch, 6, batch))]
        return np.concatenate(list(refine_frames(jobs, CONFIG, workers=workers)))[np.argsort(order)]

    expected = run(range(6), 6, 1)
    np.testing.assert_array_equal(run(range(6), 2, 2), expected)
    np.testing.assert_array_equal(run([4, 2, 5, 0, 1, 3], 1, 3), expected)


def test_errors_in_workers_come_out():
    image, _, _ = scene()
    with pytest.raises(ValueError, match="patch grid of 5×5"):
        list(refine_frames([(np.ones((1, 5, 5), np.uint8), image[None], [0])], CONFIG, workers=2))
