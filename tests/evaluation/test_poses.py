"""Pose accuracy and alignment, with values computed by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildrayzer.evaluation.metrics.poses import align_cameras, pair_errors, pose_accuracy, transform_cameras, umeyama


def camera(degrees=0.0, centre=(0.0, 0.0, 0.0), axis="y"):
    c2w = np.eye(4)
    c2w[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    c2w[:3, 3] = centre
    return c2w


def random_cameras(count, seed=0):
    rng = np.random.default_rng(seed)
    cameras = np.tile(np.eye(4), (count, 1, 1))
    cameras[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    cameras[:, :3, 3] = rng.normal(size=(count, 3))
    return cameras


def test_rotations_of_4_16_and_31_degrees():
    # Three scenes of one pair each; the direction is exact, the second camera is turned too far.
    true = np.stack([[camera(), camera(10, (1, 0, 0))]] * 3)
    predicted = np.stack([[camera(), camera(10 + error, (2, 0, 0))] for error in (4, 16, 31)])
    rotation, translation = pair_errors(predicted, true)
    np.testing.assert_allclose(rotation[:, 0], [4, 16, 31], atol=1e-6)
    np.testing.assert_allclose(translation, 0, atol=1e-5)
    found = pose_accuracy(predicted, true)
    assert (found["rpa_5"], found["rpa_15"], found["rpa_30"]) == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    # (1 − 4/5) / 3; (1 − 4/10) / 3; (1 − 4/20 + 1 − 16/20) / 3
    assert (found["auc_5"], found["auc_10"], found["auc_20"]) == pytest.approx((0.2 / 3, 0.6 / 3, 1.0 / 3))


def test_direction_of_translation_and_what_has_none():
    true = np.array([[camera(), camera(0, (1, 0, 0)), camera(0, (1, 0, 0))]])
    # pairs 0-1 and 0-2: at right angles, and no predicted baseline; pair 1-2 has no true baseline
    predicted = np.array([[camera(), camera(0, (0, 3, 0)), camera()]])
    _, translation = pair_errors(predicted, true)
    np.testing.assert_allclose(translation[0], [90, 180, 0])


def test_pose_accuracy_does_not_depend_on_frame_and_scale():
    true = random_cameras(4)[None]
    moved = transform_cameras(true, (2.5, Rotation.from_euler("xyz", [0.3, -1, 2]).as_matrix(), np.array([1.0, 2, 3])))
    assert min(pose_accuracy(moved, true).values()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_a_known_similarity_is_undone(count):
    cameras = random_cameras(count)
    similarity = (0.4, Rotation.from_euler("xyz", [1, 2, -0.5]).as_matrix(), np.array([3.0, -1, 0.2]))
    found = align_cameras(cameras, transform_cameras(cameras, similarity))
    for value, expected in zip(found, similarity, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_umeyama_finds_a_rotation_where_a_reflection_fits_better():
    points = np.random.default_rng(0).normal(size=(8, 3))
    scale, rotation, _ = umeyama(points, points * [1, 1, -1])
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert scale > 0


@pytest.mark.parametrize("points", [np.zeros((4, 3)), np.outer(np.arange(4.0), [1, 2, 3])])
def test_degenerate_points_are_refused(points):
    with pytest.raises(ValueError, match="on a line or coincide"):
        umeyama(points, np.random.default_rng(0).normal(size=(4, 3)))


def test_cameras_in_one_place_are_refused():
    cameras = random_cameras(3)
    together = cameras.copy()
    together[:, :3, 3] = 1.0
    with pytest.raises(ValueError, match="determine no scale; use at least 2 cameras at different places"):
        align_cameras(together, cameras)
