"""The descriptor: patch features from colours and gradients, for machines without DINOv3 weights."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wildrayzer.io.digests import digest_json
from wildrayzer.pseudo_masks.backbones.interface import check_images

_BINS = 9
_LAB_SCALE = 1 / 25
_SPREAD_WEIGHT = 0.15
_GRADIENT_WEIGHT = 0.5
_GRADIENT_FLOOR = 0.15
_VERSION = 2
# Pixels that are processed at once: on a CPU, what fits into a core's cache is twice as fast as a large batch.
_CHUNK_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 23}

_SRGB_KNEE = 0.04045
_LAB_KNEE = 216 / 24389
# sRGB primaries to CIE XYZ, rows divided by the D65 white point.
_RGB_TO_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)


class Descriptor:
    """Colour statistics and oriented gradients of a patch, 15 channels.

    - 0–2: mean CIE Lab colour of the patch, divided by 25 (so L* spans 0 to 4).
    - 3–5: standard deviation of the same within the patch, times 0.15. A blurred rendering lowers it wherever there
      is texture, whether something moved or not.
    - 6–14: histogram of gradient directions without sign, 9 bins of 20°, each pixel shared between the two nearest
      bins and weighted by its Sobel magnitude, averaged over the patch and its neighbours (3×3 patches, edges
      mirrored), divided by its Euclidean norm + 0.15, times 0.5.

    Differs from the paper, which uses only DINOv3. The features are meaningful only relative to a window's mean:
    therefore `centre` is true, and `anchor` keeps patches close to that mean comparable.
    """

    name = "descriptor"
    width = 6 + _BINS
    centre = True
    anchor = 2.0

    def __init__(self, *, patch_size: int) -> None:
        self.patch_size = patch_size
        self.digest = digest_json(["descriptor", _VERSION])

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n fh fw 15"]:
        """Features of RGB images in [0, 1] (values outside are clamped).

        Raises:
            ValueError: the image does not divide into patches.
        """
        check_images(images, self.patch_size)
        if not len(images):
            grid = [side // self.patch_size for side in images.shape[-2:]]
            return images.new_zeros(0, *grid, self.width)
        chunk = max(1, _CHUNK_PIXELS.get(images.device.type, 1 << 15) // (images.shape[2] * images.shape[3]))
        return torch.cat([self._describe(part.float().clamp(0, 1)) for part in images.split(chunk)])

    def _describe(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n fh fw 15"]:
        lab = rgb_to_lab(images) * _LAB_SCALE
        mean = functional.avg_pool2d(lab, self.patch_size)
        # Subtract the mean before squaring: as a difference of two large squares, the spread of flat patches would be
        # rounding errors.
        patches = lab.unflatten(3, (-1, self.patch_size)).unflatten(2, (-1, self.patch_size))
        centred = (patches - mean[:, :, :, None, :, None]).flatten(4, 5).flatten(2, 3)
        variance = functional.avg_pool2d(centred.square(), self.patch_size)
        histogram = functional.avg_pool2d(orientation_votes(luma(images)), self.patch_size)
        context = functional.avg_pool2d(functional.pad(histogram, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        context = context / (context.norm(dim=1, keepdim=True) + _GRADIENT_FLOOR)
        spread = variance.sqrt()
        parts = [mean, spread * _SPREAD_WEIGHT, context * _GRADIENT_WEIGHT]
        return torch.cat(parts, dim=1).permute(0, 2, 3, 1).contiguous()


def luma(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Rec. 601 luma of gamma-coded RGB in [0, 1]."""
    red, green, blue = images.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def rgb_to_lab(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """CIE Lab (D65) of sRGB in [0, 1]: L* in [0, 100], a* and b* about ±128."""
    # Both curves are straight up to a knee and a power beyond it: the power of the values clamped from below, plus the
    # line of the values clamped from above. This is faster than a choice per pixel.
    linear = _power((images.clamp(min=_SRGB_KNEE) + 0.055) / 1.055, 2.4)
    linear = linear + (images.clamp(max=_SRGB_KNEE) - _SRGB_KNEE) / 12.92
    xyz = (_rgb_to_xyz(images.device) @ linear.flatten(2)).view_as(linear)
    root = _power(xyz.clamp(min=_LAB_KNEE), 1 / 3) + (xyz.clamp(max=_LAB_KNEE) - _LAB_KNEE) * (841 / 108)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


@cache
def _rgb_to_xyz(device: torch.device) -> Float[Tensor, "3 3"]:
    return torch.tensor(_RGB_TO_XYZ, device=device)


def _power(values: Float[Tensor, "n 3 h w"], exponent: float) -> Float[Tensor, "n 3 h w"]:
    """Positive values to a power, by logarithms: four times as fast as `pow` on a CPU."""
    return values.log().mul_(exponent).exp_()


def orientation_votes(grey: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 9 h w"]:
    """Gradient magnitude of each pixel, split linearly over the two nearest of 9 unsigned directions.

    Directions are angles of the gradient modulo 180°; bin b is centred on 20° · b. Sobel 3×3, mirrored at the border
    without repeating the edge pixel.
    """
    # Sobel in two steps: smooth along one axis with 1, 2, 1, then take differences along the other.
    padded = functional.pad(grey, (1, 1, 1, 1), mode="reflect")
    smooth_rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    smooth_columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    horizontal = smooth_rows[..., 2:] - smooth_rows[..., :-2]
    vertical = smooth_columns[:, :, 2:] - smooth_columns[:, :, :-2]
    magnitude = (horizontal.square() + vertical.square()).sqrt()
    # Angles in units of bins, so that the distance from a bin's centre is at most half the circle of 9 bins.
    angle = (torch.atan2(vertical, horizontal) * (_BINS / torch.pi)) % _BINS
    bins = torch.arange(_BINS, device=grey.device, dtype=grey.dtype)[:, None, None]
    distance = (angle - bins).abs()
    distance = torch.minimum(distance, _BINS - distance)
    return (1 - distance).clamp(min=0) * magnitude
