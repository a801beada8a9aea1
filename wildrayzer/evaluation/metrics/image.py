"""Image metrics restricted to a region (paper, supplement B.2).

Every function works per image and returns NaN where its region is empty; `region` weighs pixels, 1 = counted. To score
the static part of a picture pass `1 - mask`, since masks mark the transient with 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def masked_psnr(
    prediction: Float[Tensor, "n 3 h w"], truth: Float[Tensor, "n 3 h w"], region: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio in dB of images in [0, 1]: −10 log10 Σ(I−Î)²M / ΣM, M repeated over channels.

    Two equal images give infinity, which enters no mean (`bootstrap.enters_mean`).
    """
    error = (prediction.double() - truth.double()).square().mean(1, keepdim=True)
    return -10.0 * torch.log10(region_mean(error, region))


def masked_ssim(
    prediction: Float[Tensor, "n 3 h w"],
    truth: Float[Tensor, "n 3 h w"],
    region: Float[Tensor, "n 1 h w"],
    *,
    padding: bool = True,
) -> Float[Tensor, " n"]:
    """Structural similarity of images in [0, 1]: Σ S M / ΣM with an 11×11 Gaussian window of σ 1.5.

    C1 = 0.01², C2 = 0.03², per channel; the region is area-pooled to the map's size. The images are padded by 5 pixels
    of zeros, as in the release, whose definition published values follow; without `padding` the map has only the
    places where the window fits, which lowers the value, since zeros agree with zeros.

    Raises:
        ValueError: an image is smaller than the window.
    """
    return region_mean(ssim_map(prediction, truth, padding=padding).mean(1, keepdim=True), region)


def ssim_map(
    prediction: Float[Tensor, "n 3 h w"], truth: Float[Tensor, "n 3 h w"], *, padding: bool = True
) -> Float[Tensor, "n 3 h2 w2"]:
    """SSIM at every place of the window, in float64; see `masked_ssim`."""
    if not padding and min(truth.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"images of {truth.shape[-2]}×{truth.shape[-1]} pixels are smaller than SSIM's {SSIM_WINDOW}×{SSIM_WINDOW} "
            "window; give larger ones"
        )
    x, y = prediction.double(), truth.double()
    down, across = (_window_matrix(side, padding, x.device) for side in x.shape[-2:])

    # Local means, variances and covariance under the Gaussian window, then the SSIM formula at every place.
    def blur(image: Tensor) -> Tensor:
        return down @ image @ across.T

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (var_x + var_y + c2)


def _window_matrix(length: int, padding: bool, device: torch.device) -> Float[Tensor, "o l"]:
    """The window as a banded matrix over a line of pixels: products are faster than convolutions in float64."""
    radius = SSIM_WINDOW // 2
    taps = torch.exp(
        -torch.arange(-radius, radius + 1, dtype=torch.float64, device=device).square() / (2 * SSIM_SIGMA**2)
    )
    padded = torch.zeros(length, length + 2 * radius, dtype=torch.float64, device=device)
    for offset, tap in enumerate(taps / taps.sum()):
        padded.diagonal(offset).fill_(tap)
    matrix = padded[:, radius : length + radius]
    return matrix if padding else matrix[radius : length - radius]


def region_mean(values: Float[Tensor, "n 1 h2 w2"], region: Float[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
    """Σ values · M / ΣM per image with the region area-pooled to the size of `values`; NaN for an empty region."""
    weight = region.to(values.dtype)
    if weight.shape[-2:] != values.shape[-2:]:
        weight = functional.interpolate(weight, size=values.shape[-2:], mode="area")
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
