"""PSNR and the nearest view by hand."""

import numpy as np
import torch

from wildrayzer.images.nearest import nearest_view
from wildrayzer.images.psnr import psnr


def test_psnr_of_any_batch_shape_and_of_equal_images():
    truth = torch.zeros(2, 2, 3, 4, 4)
    prediction = truth.clone()
    prediction[0, 0] = 0.1  # mean squared error 0.01
    prediction[0, 1] = 1.0
    prediction[1, 0, 0] = 0.3  # one channel of three: 0.03
    expected = torch.tensor([[20.0, 0.0], [15.2288, torch.inf]])
    torch.testing.assert_close(psnr(prediction, truth), expected, atol=1e-4, rtol=0)


def test_the_earlier_of_two_equally_near_inputs_is_taken_whatever_their_order():
    inputs = np.array([[10, 0, 4], [4, 10, 0]])
    targets = np.array([[7, 2, 9], [7, 2, 9]])
    assert nearest_view(inputs, targets).tolist() == [[2, 1, 0], [0, 2, 1]]
