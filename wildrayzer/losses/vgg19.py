"""The VGG-19 features of the perceptual loss, read from MatConvNet's file."""

import hashlib
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

logger = logging.getLogger(__name__)

MD5 = "106118b7cf60435e6d8e04f6a6dc3657"
MEAN_RGB = (123.68, 116.779, 103.939)
CONVOLUTIONS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4"),
    *("conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2"),
)
TAPS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
"""Convolutions whose rectified output enters layers 4, 9, 14, 23 and 32 of `features`."""


class VGG19Features(nn.Module):
    """VGG-19 up to conv5_2 with average instead of max pooling; weights are frozen buffers."""

    def __init__(self, convolutions: dict[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        for name in CONVOLUTIONS:
            weight, bias = convolutions[name]
            self.register_buffer(f"{name}_weight", weight)
            self.register_buffer(f"{name}_bias", bias)
        self.register_buffer("mean", torch.tensor(MEAN_RGB)[:, None, None])

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _c _h _w"]]:
        """Feature maps at the five taps of RGB images in [0, 1]; sides must be at least 16 pixels."""
        x = images * 255.0 - self.get_buffer("mean")
        maps = []
        for name in CONVOLUTIONS:
            if name.endswith("_1") and name != "conv1_1":
                x = functional.avg_pool2d(x, 2)
            weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            if name in TAPS:
                maps.append(x)
        return maps


def load_vgg19(path: str | Path) -> tuple[VGG19Features, str]:
    """Read `imagenet-vgg-verydeep-19.mat`; returns the network and the file's MD5.

    A file with another MD5 is used with a warning: its digest is in the loss's name and so in every manifest.

    Raises:
        ValueError: missing or unreadable file, or layers that are not VGG-19's; names `perceptual.weights`.
    """
    path = Path(path)
    fix = "give MatConvNet's imagenet-vgg-verydeep-19.mat or set perceptual.kind: pyramid"
    if not path.is_file():
        raise ValueError(f"perceptual.weights = {str(path)!r}: no such file; {fix}")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "md5").hexdigest()
    if digest != MD5:
        logger.warning("%s: MD5 %s is not the published file's %s", path, digest, MD5)
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        layers = loadmat(str(path), struct_as_record=False, squeeze_me=True)["layers"]
    except (MatReadError, ValueError, NotImplementedError, KeyError, OSError, TypeError) as error:
        raise ValueError(
            f"perceptual.weights = {str(path)!r}: not a MatConvNet network ({type(error).__name__}: {error}); {fix}"
        ) from None
    found = {str(layer.name): layer for layer in np.atleast_1d(layers) if getattr(layer, "type", None) == "conv"}
    missing = [name for name in CONVOLUTIONS if name not in found]
    if missing:
        raise ValueError(f"perceptual.weights = {str(path)!r}: convolutions {missing} are missing; {fix}")
    convolutions = {name: _convolution(found[name], name, path) for name in CONVOLUTIONS}
    widths = [convolutions[name][0].shape for name in CONVOLUTIONS]
    if widths[0][1] != 3 or any(after[1] != before[0] for before, after in pairwise(widths)):
        raise ValueError(f"perceptual.weights = {str(path)!r}: widths of neighbouring layers do not fit; {fix}")
    return VGG19Features(convolutions), digest


def _convolution(layer: Any, name: str, path: Path) -> tuple[Tensor, Tensor]:
    """Kernel `[out, in, 3, 3]` and bias `[out]` of a MatConvNet layer, stored as (row, column, in, out)."""
    kernel = np.asarray(layer.weights[0], dtype=np.float32)
    bias = np.asarray(layer.weights[1], dtype=np.float32).reshape(-1)
    if kernel.ndim != 4 or kernel.shape[:2] != (3, 3) or kernel.shape[3] != bias.size:
        raise ValueError(
            f"perceptual.weights = {str(path)!r}: {name} has a kernel of shape {kernel.shape} and {bias.size} biases, "
            "expected (3, 3, in, out) and out; give MatConvNet's imagenet-vgg-verydeep-19.mat"
        )
    return torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()), torch.from_numpy(bias.copy())
