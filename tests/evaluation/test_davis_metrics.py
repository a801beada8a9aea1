"""J and F by hand: a shifted square, empty masks, the edge of the frame, void."""

import numpy as np
import pytest

from wildrayzer.evaluation.metrics.davis import boundary, boundary_accuracy, davis_scores


def square(size, top, left, side=10):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def score(mask, truth):
    return {name: float(values[0]) for name, values in davis_scores(mask[None], truth[None]).items()}


def test_the_boundary_is_where_right_lower_or_diagonal_neighbours_differ():
    mask = np.zeros((5, 5), bool)
    mask[2:4, 2:4] = True
    expected = np.array([
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ])  # fmt: skip
    np.testing.assert_array_equal(boundary(mask), expected)
    assert not boundary(np.ones((4, 4), bool)).any(), "the edge of the frame is no boundary"


def test_a_square_shifted_within_the_tolerance_has_the_same_boundary():
    # a diagonal of 70.7 pixels: 0.8% are 0.57, rounded up to 1
    truth, shifted = square(50, 20, 20), square(50, 20, 21)
    found = score(shifted, truth)
    assert found["davis_j"] == pytest.approx(90 / 110)
    assert found["davis_f"] == 1
    assert found["davis_jf"] == pytest.approx((90 / 110 + 1) / 2)


def test_a_square_shifted_beyond_the_tolerance_loses_its_sides():
    truth, shifted = square(50, 20, 20), square(50, 20, 23)
    # The boundary of a square of side 10 is the ring of 40 pixels (19..29, 19..29). Shifted by 3 columns, the matching
    # pixels of the shifted ring are those within 1 pixel of the true one: its rows 19 and 29 in columns 22..30, nine
    # each, where the disk reaches column 30 from 29; of the right side nothing else, and of the left side (column 22)
    # rows 20 and 28, which are 1 pixel below and above the true rows.
    matching = 9 + 9 + 2
    assert boundary(shifted.astype(bool)).sum() == 40
    # F is symmetric here: precision equals recall
    assert score(shifted, truth)["davis_f"] == pytest.approx(matching / 40)
    assert score(shifted, truth)["davis_j"] == pytest.approx(70 / 130)


def test_empty_masks():
    empty, one = np.zeros((50, 50), np.uint8), square(50, 20, 20)
    assert score(empty, empty) == {"davis_jf": 1, "davis_j": 1, "davis_f": 1}
    assert score(one, empty) == {"davis_jf": 0, "davis_j": 0, "davis_f": 0}
    assert score(empty, one) == {"davis_jf": 0, "davis_j": 0, "davis_f": 0}


def test_boundaries_that_nowhere_meet_score_zero():
    assert boundary_accuracy(square(50, 0, 0).astype(bool), square(50, 35, 35).astype(bool)) == 0


def test_void_pixels_are_static_in_both_and_what_is_not_computed_is_nan():
    truth, mask = square(50, 20, 20), square(50, 20, 20)
    truth[:15] = 255
    mask[:10, :10] = 1
    assert score(mask, truth)["davis_j"] == 1
    assert score(mask, truth)["davis_f"] == 1
    mask[0, 0] = 255
    assert np.isnan(list(score(mask, truth).values())).all()
    assert np.isnan(list(score(square(50, 0, 0), np.full((50, 50), 255, np.uint8)).values())).all()


def test_a_larger_frame_has_a_larger_tolerance():
    # a diagonal of 282.8 pixels: 0.8% are 2.26, rounded up to 3
    truth, shifted = square(200, 60, 60, 80), square(200, 60, 63, 80)
    assert score(shifted, truth)["davis_f"] == 1
    assert score(square(200, 60, 64, 80), truth)["davis_f"] < 1
