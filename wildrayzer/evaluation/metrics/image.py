"""Image metrics restricted to a region (paper, supplement B.2).

Every function works per image and returns NaN where its region is empty; `region` weighs pixels, 1 = counted. To score
the static part of a picture pass `1 - mask`, since masks mark the transient with 1.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wildrayzer.images.psnr import decibels
from wildrayzer.images.ssim import ssim_map


def masked_psnr(
    prediction: Float[Tensor, "n 3 h w"], truth: Float[Tensor, "n 3 h w"], region: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio in dB of images in [0, 1]: −10 log10 Σ(I−Î)²M / ΣM, M repeated over channels.

    Two equal images give infinity, which enters no mean (`bootstrap.enters_mean`).
    """
    error = (prediction.double() - truth.double()).square().mean(1, keepdim=True)
    return decibels(region_mean(error, region))


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
    return region_mean(similarity_map(prediction, truth, padding=padding), region)


def similarity_map(
    prediction: Float[Tensor, "n 3 h w"], truth: Float[Tensor, "n 3 h w"], *, padding: bool = True
) -> Float[Tensor, "n 1 h2 w2"]:
    """The map that `masked_ssim` takes the mean of, in float64, mean over the channels."""
    return ssim_map(prediction.double(), truth.double(), border="zero" if padding else "valid")[:, None]


def region_mean(values: Float[Tensor, "n 1 h2 w2"], region: Float[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
    """Σ values · M / ΣM per image with the region area-pooled to the size of `values`; NaN for an empty region."""
    weight = region.to(values.dtype)
    if weight.shape[-2:] != values.shape[-2:]:
        weight = functional.interpolate(weight, size=values.shape[-2:], mode="area")
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
