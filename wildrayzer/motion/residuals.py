"""Residual maps between target and rendering (method.md, stage 2 steps 1 to 3)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wildrayzer.motion.features import anchored

_SSIM_SIGMA = 1.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
# Pixels filtered at once: what fits a core's cache.
_CHUNK_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 23}
_LEAST_MSE = 1e-10
# Lines up to this length are filtered by one matrix, longer ones in blocks of this many pixels.
_WHOLE_LINE, _BLOCK = 128, 32


def psnr(target: Float[Tensor, "n 3 h w"], rendered: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio of each frame in dB, images in [0, 1]; equal images give 100."""
    mse = (target - rendered).square().mean(dim=(1, 2, 3))
    return -10 * mse.clamp(min=_LEAST_MSE).log10()


def feature_dissimilarity(
    target: Float[Tensor, "w t n c"],
    rendered: Float[Tensor, "w t n c"],
    *,
    centre: bool,
    anchor: float = 0.0,
    floor: float = 1e-5,
) -> Float[Tensor, "w t n"]:
    """1 − cosine of the patch features of target and rendering, in [0, 2].

    Args:
        target: features of each window's target frames.
        rendered: features of their renderings.
        centre: subtract from both the mean of the window's target features first (see `FeatureBackbone.centre`).
        anchor: length of the constant channel beside them (see `FeatureBackbone.anchor`).
        floor: a shorter vector has no direction: two of them give 0, one of them gives 1.
    """
    if centre:
        mean = target.mean(dim=(1, 2), keepdim=True)
        target, rendered = target - mean, rendered - mean
    target, rendered = anchored(target, anchor), anchored(rendered, anchor)
    length_a, length_b = target.norm(dim=-1), rendered.norm(dim=-1)
    products = (target * rendered).sum(dim=-1) / (length_a.clamp(min=floor) * length_b.clamp(min=floor))
    flat_a, flat_b = length_a <= floor, length_b <= floor
    cosine = torch.where(flat_a | flat_b, (flat_a & flat_b).to(products.dtype), products)
    return (1 - cosine).clamp(0, 2)


def ssim_map(
    a: Float[Tensor, "n 3 h w"],
    b: Float[Tensor, "n 3 h w"],
    *,
    window: Literal["gaussian", "uniform"] = "gaussian",
    size: int = 11,
) -> Float[Tensor, "n h w"]:
    """Structural similarity of every pixel, mean over the channels, in [−1, 1].

    `gaussian`: σ 1.5, images in [0, 1], population covariance (paper). `uniform`: box window on images cut to
    uint8 (towards zero), sample covariance (release). Images are mirrored at the border, edge pixel repeated, as
    scikit-image does.

    Windows are banded matrices, so that images go through batched matrix products; large images go through them in
    blocks of rows and columns, which leaves out most of the zeros. On CUDA leave float32 products at full precision
    (`torch.set_float32_matmul_precision("highest")`), TF32 is too coarse for variances.

    Raises:
        ValueError: the window is even or larger than the image.
    """
    height, width = a.shape[-2:]
    if size % 2 == 0 or size > min(height, width):
        raise ValueError(
            f"residuals.ssim_size = {size} does not fit images of {height}×{width} pixels; choose an odd window of at "
            "most the image side"
        )
    taps = torch.ones(size, dtype=torch.float64)
    if window == "gaussian":
        taps = torch.exp(-0.5 * ((torch.arange(size) - size // 2) / _SSIM_SIGMA).double() ** 2)
        taps /= taps.sum()
    down, across = (_band_blocks(side, taps, a.device) for side in (height, width))
    chunk = max(1, _CHUNK_PIXELS.get(a.device.type, 1 << 15) // (height * width))
    similarity = _ssim_uniform if window == "uniform" else _ssim_gaussian
    parts = [
        torch.cat([similarity(x[..., band.source, :], y[..., band.source, :], band, across) for band in down], dim=1)
        for x, y in zip(a.split(chunk), b.split(chunk), strict=True)
    ]
    return torch.cat(parts) if parts else a.new_zeros(0, height, width)


@dataclass(frozen=True)
class _Band:
    """The filter of a block of pixels of a line, and which pixels it reads."""

    source: slice
    matrix: Float[Tensor, "o s"]


def _ssim_gaussian(
    a: Float[Tensor, "n 3 s w"], b: Float[Tensor, "n 3 s w"], down: _Band, across: list[_Band]
) -> Float[Tensor, "n o w"]:
    return _ssim(*_moments(a, b, down, across), correction=1.0, data_range=1.0)


def _ssim_uniform(
    a: Float[Tensor, "n 3 s w"], b: Float[Tensor, "n 3 s w"], down: _Band, across: list[_Band]
) -> Float[Tensor, "n o w"]:
    area = float(down.matrix[0].sum() * across[0].matrix[0].sum())
    # Sums of whole numbers up to 255² · 121 are exact in float32; the division comes after.
    a, b = ((image * 255).floor().clamp(0, 255) for image in (a, b))
    moments = (moment / area for moment in _moments(a, b, down, across))
    return _ssim(*moments, correction=area / (area - 1), data_range=255.0)


def _moments(
    a: Float[Tensor, "n 3 s w"], b: Float[Tensor, "n 3 s w"], down: _Band, across: list[_Band]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Windowed sums of a, b, a² + b² and a · b, at the rows of `down`."""
    images = torch.stack([a, b, a.square() + b.square(), a * b]).flatten(0, 2)
    count = len(images)
    columns = torch.bmm(down.matrix.expand(count, -1, -1), images)
    blocks = [torch.bmm(columns[..., band.source], band.matrix.T.expand(count, -1, -1)) for band in across]
    sums = torch.cat(blocks, dim=2).view(4, *a.shape[:2], *columns.shape[1:])
    return sums[0], sums[1], sums[2], sums[3]


def _ssim(
    mean_a: Tensor, mean_b: Tensor, square: Tensor, product: Tensor, *, correction: float, data_range: float
) -> Float[Tensor, "n h w"]:
    # In place: the arguments are temporaries, and memory traffic is most of the time.
    means, mean_squares = mean_a * mean_b, mean_a.square_().add_(mean_b.square_())
    variance, covariance = square.sub_(mean_squares).mul_(correction), product.sub_(means).mul_(correction)
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    above = means.mul_(2).add_(c1).mul_(covariance.mul_(2).add_(c2))
    return above.div_(mean_squares.add_(c1).mul_(variance.add_(c2))).mean(dim=1)


def _band_blocks(length: int, taps: Float[Tensor, " k"], device: torch.device) -> list[_Band]:
    """`_band` in blocks of rows, each with the columns that it reads; one block for a short line."""
    matrix = _band(length, taps).to(device, torch.float32)
    if length <= _WHOLE_LINE:
        return [_Band(slice(0, length), matrix)]
    radius, blocks = len(taps) // 2, []
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        source = slice(max(0, start - radius), min(length, stop + radius))
        blocks.append(_Band(source, matrix[start:stop, source].contiguous()))
    return blocks


def _band(length: int, taps: Float[Tensor, " k"]) -> Float[Tensor, "l l"]:
    """Matrix that filters a line of `length` pixels with `taps`, mirrored at both ends, edge pixel repeated."""
    radius = len(taps) // 2
    source = torch.arange(length)[:, None] + torch.arange(-radius, radius + 1)
    source = torch.where(source < 0, -1 - source, source)
    source = torch.where(source >= length, 2 * length - 1 - source, source)
    return torch.zeros(length, length, dtype=taps.dtype).scatter_add_(1, source, taps.expand(length, -1))


def pool_to_patches(maps: Float[Tensor, "n h w"], patch_size: int) -> Float[Tensor, "n gh gw"]:
    """Mean of a map over each patch."""
    return functional.avg_pool2d(maps[:, None], patch_size)[:, 0]
