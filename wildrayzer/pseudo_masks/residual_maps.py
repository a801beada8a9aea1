"""Residual maps and clusters of a batch of windows: the part of stage 2 that needs features.

Sources: docs/method.md#residual-maps, docs/method.md#clustering.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.images.psnr import CAP, psnr
from wildrayzer.images.ssim import ssim_map
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone, anchored
from wildrayzer.pseudo_masks.clustering import kmeans, quantised_directions


@dataclass(frozen=True)
class WindowMaps:
    """What the cache keeps of w windows with t targets each, on a patch grid g × g."""

    d_dino: Float16[np.ndarray, "w t g g2"]
    """Feature dissimilarity in [0, 2]."""
    d_ssim: Float16[np.ndarray, "w t g g2"]
    """1 − SSIM in [0, 2], mean over the patch."""
    clusters: UInt8[np.ndarray, "w t g g2"]
    """Cluster numbers from 0; a number means the same cluster in all frames of a window."""
    psnr: Float32[np.ndarray, "w t"]
    """PSNR of the prediction in dB."""


def window_maps(
    targets: Float[Tensor, "w t 3 h w2"],
    predicted: Float[Tensor, "w t 3 h w2"],
    *,
    backbone: FeatureBackbone,
    patch_size: int,
    config: ResidualsConfig,
    seeds: list[int],
) -> WindowMaps:
    """Residual maps and clusters; those of a window are the same in any batch, if the backbone's features are.

    Args:
        targets: frames in [0, 1].
        predicted: their predictions.
        backbone: gives features on the patch grid.
        patch_size: in pixels.
        config: the `residuals` section.
        seeds: one per window, for K-means.

    Raises:
        ValueError: images or features are not finite, or the backbone has another grid.
    """
    _check_images(targets, predicted)
    windows, count = targets.shape[:2]
    flat_targets, flat_predicted = targets.flatten(0, 1), predicted.flatten(0, 1)
    grid = tuple(side // patch_size for side in targets.shape[-2:])
    # Two passes of the backbone, over targets and over predictions, so that each is as large as the backbone likes.
    features = _features(backbone, flat_targets, flat_predicted, grid)
    own, other = (values.reshape(windows, count, grid[0] * grid[1], -1) for values in features)
    # SSIM is computed per pixel and averaged over each patch, to lie on the grid of the features.
    similarity = ssim_map(flat_targets, flat_predicted, window=config.ssim_window, size=config.ssim_size)
    d_ssim = pool_to_patches(1 - similarity, patch_size)
    # Clusters are of the target features: parts of the scene, whatever the prediction made of them.
    labels = kmeans(
        quantised_directions(own, centre=backbone.centre, anchor=backbone.anchor),
        clusters=config.clusters,
        iterations=config.kmeans_iterations,
        restarts=config.kmeans_restarts,
        seeds=seeds,
    )
    shape = (windows, count, *grid)
    return WindowMaps(
        d_dino=_half(feature_dissimilarity(own, other, centre=backbone.centre, anchor=backbone.anchor), shape),
        d_ssim=_half(d_ssim, shape),
        clusters=labels.reshape(shape),
        psnr=psnr(flat_targets, flat_predicted).clamp(max=CAP).view(windows, count).float().cpu().numpy(),
    )


def feature_dissimilarity(
    target: Float[Tensor, "w t n c"],
    predicted: Float[Tensor, "w t n c"],
    *,
    centre: bool,
    anchor: float = 0.0,
    floor: float = 1e-5,
) -> Float[Tensor, "w t n"]:
    """1 − cosine of the patch features of target and prediction, in [0, 2].

    Args:
        target: features of each window's target frames.
        predicted: features of their predictions.
        centre: first subtract from both the mean of the window's target features (see `FeatureBackbone.centre`).
        anchor: length of the constant channel that is appended (see `FeatureBackbone.anchor`).
        floor: a shorter vector has no direction: two of them give 0, one of them gives 1.
    """
    if centre:
        mean = target.mean(dim=(1, 2), keepdim=True)
        target, predicted = target - mean, predicted - mean
    target, predicted = anchored(target, anchor), anchored(predicted, anchor)
    length_a, length_b = target.norm(dim=-1), predicted.norm(dim=-1)
    # The lengths are kept off zero, so that the quotient is finite where a vector has no direction ...
    products = (target * predicted).sum(dim=-1) / (length_a.clamp(min=floor) * length_b.clamp(min=floor))
    # ... and there the quotient is replaced: alike where both have none, unrelated where one has.
    flat_a, flat_b = length_a <= floor, length_b <= floor
    cosine = torch.where(flat_a | flat_b, (flat_a & flat_b).to(products.dtype), products)
    return (1 - cosine).clamp(0, 2)


def pool_to_patches(maps: Float[Tensor, "n h w"], patch_size: int) -> Float[Tensor, "n gh gw"]:
    """Mean of a map over each patch."""
    return functional.avg_pool2d(maps[:, None], patch_size)[:, 0]


def _check_images(targets: Float[Tensor, "w t 3 h w2"], predicted: Float[Tensor, "w t 3 h w2"]) -> None:
    for name, images in (("frames", targets), ("renderings", predicted)):
        if not images.isfinite().all():
            bad = int((~images.isfinite()).flatten(2).any(2).sum())
            raise ValueError(
                f"{bad} {name} contain NaN or infinity: the renderer's weights are damaged or training diverged; check "
                "the checkpoint"
            )


def _features(
    backbone: FeatureBackbone,
    targets: Float[Tensor, "n 3 h w"],
    predicted: Float[Tensor, "n 3 h w"],
    grid: tuple[int, ...],
) -> tuple[Float[Tensor, "n gh gw c"], Float[Tensor, "n gh gw c"]]:
    """Features of targets and predictions, checked to be finite and on the patch grid."""
    own, other = (backbone(images) for images in (targets, predicted))
    if own.shape[1:3] != grid:
        raise ValueError(f"backbone {backbone.name} gives a grid {tuple(own.shape[1:3])}, the patch grid is {grid}")
    for name, features in (("frames", own), ("renderings", other)):
        if not features.isfinite().all():
            bad = int((~features.isfinite()).flatten(1).any(1).sum())
            raise ValueError(
                f"backbone {backbone.name} gives NaN or infinity for {bad} {name}; check its weights and "
                "features.precision"
            )
    return own, other


def _half(values: Tensor, shape: tuple[int, ...]) -> Float16[np.ndarray, "w t g g2"]:
    return values.float().cpu().numpy().astype(np.float16).reshape(shape)
