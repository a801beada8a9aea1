"""Structural similarity of target and rendering, pixel by pixel (docs/method.md#residual-maps)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

WINDOW = 11
"""Side of the window of published figures, in pixels."""
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
# Smaller frames are done before a second thread has started.
_WORTH_A_THREAD = 1 << 14
# Pixels that are multiplied with the matrices at once, to bound the memory of a GPU.
_CHUNK_PIXELS = 1 << 23

Image = TypeVar("Image", np.ndarray, Tensor)


Border = Literal["mirror", "zero", "valid"]
"""What lies beyond the image: `mirror` is the image mirrored, edge pixel repeated, as in scikit-image; `zero` is zeros;
`valid` leaves out the places where the window does not fit, so that the map is smaller by `size` − 1."""


def ssim_map(
    a: Float[Tensor, "n 3 h w"],
    b: Float[Tensor, "n 3 h w"],
    *,
    window: Literal["gaussian", "uniform"] = "gaussian",
    size: int = WINDOW,
    border: Border = "mirror",
) -> Float[Tensor, "n h2 w2"]:
    """Structural similarity of every pixel, mean over the channels, in [−1, 1], in the images' precision.

    `gaussian`: σ 1.5, images in [0, 1], population covariance (paper). `uniform`: box window on images cut to
    uint8 (towards zero), sample covariance (release).

    On a CPU, OpenCV filters float32 images with mirrored borders, frame by frame on as many threads as torch has; all
    else goes through banded matrices. On CUDA leave float32 products at full precision
    (`torch.set_float32_matmul_precision("highest")`), TF32 is too coarse for variances.

    Raises:
        ValueError: the window is even, or larger than images whose border is not `zero`.
    """
    height, width = a.shape[-2:]
    if size % 2 == 0 or (border != "zero" and size > min(height, width)):
        raise ValueError(
            f"an SSIM window of {size} pixels does not fit images of {height}×{width} pixels; choose an odd window of "
            "at most the image side (residuals.ssim_size), or give larger images"
        )
    chosen = _uniform(size) if window == "uniform" else _gaussian(size)
    if window == "uniform":
        a, b = ((image * 255).floor_().clamp_(0, 255) for image in (a, b))
    if a.device.type == "cpu" and a.dtype == torch.float32 and border == "mirror":
        return _by_frames(a, b, chosen)
    return _by_matrices(a, b, chosen, border)


@dataclass(frozen=True)
class _Window:
    """A separable window.

    Attributes:
        taps: weights of the window along one axis.
        area: sum of all its weights; sums are divided by it.
        correction: from population to sample covariance.
        data_range: largest value of a pixel.
    """

    taps: Float[np.ndarray, " k"]
    area: float
    correction: float
    data_range: float


def _gaussian(size: int) -> _Window:
    taps = np.exp(-0.5 * ((np.arange(size) - size // 2) / _SIGMA) ** 2)
    return _Window(taps / taps.sum(), area=1.0, correction=1.0, data_range=1.0)


def _uniform(size: int) -> _Window:
    # Weights of 1 on whole numbers keep sums up to 255² · 121 exact in float32; the division by the area comes after.
    area = float(size**2)
    return _Window(np.ones(size), area=area, correction=area / (area - 1), data_range=255.0)


def _by_frames(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"], window: _Window) -> Float[Tensor, "n h w"]:
    similarity = np.empty((len(a), *a.shape[-2:]), np.float32)

    def sums(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        return cv2.sepFilter2D(image, -1, window.taps, window.taps, borderType=cv2.BORDER_REFLECT)

    def fill(frame: int, x: Float[np.ndarray, "3 h w"], y: Float[np.ndarray, "3 h w"]) -> None:
        # One channel at a time, so that intermediate results stay in the core's cache.
        total = sum(_similarity(*channel, window, sums) for channel in zip(x, y, strict=True))
        np.divide(total, len(x), out=similarity[frame])

    large = a.shape[-2] * a.shape[-1] >= _WORTH_A_THREAD
    with ThreadPoolExecutor(torch.get_num_threads() if large else 1) as pool:
        list(pool.map(fill, range(len(a)), a.contiguous().numpy(), b.contiguous().numpy()))
    return torch.from_numpy(similarity)


def _by_matrices(
    a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"], window: _Window, border: Border = "mirror"
) -> Float[Tensor, "n h2 w2"]:
    # A separable filter as two products: one matrix filters the columns, the other the rows.
    down, across = (_band(side, window.taps, border).to(a) for side in a.shape[-2:])

    def sums(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        return down @ images @ across.T

    chunk = max(1, _CHUNK_PIXELS // (a.shape[-2] * a.shape[-1]))
    pairs = zip(a.split(chunk), b.split(chunk), strict=True)
    return torch.cat([_similarity(x, y, window, sums).mean(1) for x, y in pairs])


def _similarity(a: Image, b: Image, window: _Window, sums: Callable[[Image], Image]) -> Image:
    """SSIM of images; `sums` gives weighted sums over the window around every pixel.

    SSIM = (2 μa μb + c1) (2 σab + c2) / ((μa² + μb² + c1) (σa² + σb² + c2)), where only the sum of the two variances
    occurs. Four filtered images are therefore enough, each of the shape of `a`.
    """
    moments = [sums(values) for values in (a, b, a * a + b * b, a * b)]
    # All that follows is in place: memory traffic takes most of the time. The names say what an array holds at first.
    if window.area != 1:
        for moment in moments:
            moment /= window.area
    mean_a, mean_b, variance, covariance = moments
    # μa μb and μa² + μb², which turn the second moments into variances: E[a² + b²] − (μa² + μb²), E[ab] − μa μb.
    means = mean_a * mean_b
    mean_a *= mean_a
    mean_b *= mean_b
    mean_a += mean_b
    squares = mean_a
    variance -= squares
    variance *= window.correction
    covariance -= means
    covariance *= window.correction
    # The numerator collects in `means`, the denominator in `squares`.
    c1, c2 = (_K1 * window.data_range) ** 2, (_K2 * window.data_range) ** 2
    means *= 2
    means += c1
    covariance *= 2
    covariance += c2
    means *= covariance
    squares += c1
    variance += c2
    squares *= variance
    means /= squares
    return means


def _band(length: int, taps: Float[np.ndarray, " k"], border: Border) -> Float[Tensor, "o l"]:
    """Matrix, in float64, that filters a line of `length` pixels with `taps`."""
    radius = len(taps) // 2
    # Row i has the taps at the pixels around i, on a line that is longer by the radius at both ends.
    padded = torch.zeros(length, length + 2 * radius, dtype=torch.float64)
    for offset, tap in enumerate(taps.tolist()):
        padded.diagonal(offset).fill_(tap)
    matrix = padded[:, radius : length + radius].clone()
    if border == "mirror":
        # A pixel beyond an end is the one as far inside it: its weights are added there.
        matrix[:, :radius] += padded[:, :radius].flip(1)
        matrix[:, length - radius :] += padded[:, length + radius :].flip(1)
    return matrix[radius : length - radius] if border == "valid" else matrix
