"""All residual maps of a batch of windows: the part of stage 2 that needs features.

Sources: docs/method.md#residual-maps, docs/method.md#clustering.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float16, Float32, UInt8
from torch import Tensor

from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.images.ssim import ssim_map
from wildrayzer.pseudo_masks.backbones.base import FeatureBackbone
from wildrayzer.pseudo_masks.clustering import kmeans, quantised_directions
from wildrayzer.pseudo_masks.residuals import feature_dissimilarity, pool_to_patches, psnr


@dataclass(frozen=True)
class WindowMaps:
    """What the cache keeps of w windows with t targets each, on a patch grid g × g."""

    d_dino: Float16[np.ndarray, "w t g g2"]
    d_ssim: Float16[np.ndarray, "w t g g2"]
    clusters: UInt8[np.ndarray, "w t g g2"]
    psnr: Float32[np.ndarray, "w t"]


def window_maps(
    targets: Float[Tensor, "w t 3 h w2"],
    rendered: Float[Tensor, "w t 3 h w2"],
    *,
    backbone: FeatureBackbone,
    patch_size: int,
    config: ResidualsConfig,
    seeds: list[int],
) -> WindowMaps:
    """Residual maps and clusters; each window's are the same in any batch, as far as the backbone's features are.

    Two passes of the backbone, targets and renderings; the clusters are of the target features.

    Args:
        targets: frames in [0, 1].
        rendered: their renderings.
        backbone: gives features on the patch grid.
        patch_size: in pixels.
        config: the `residuals` section.
        seeds: one a window, for K-means.

    Raises:
        ValueError: images or features are not finite, or the backbone's grid is another.
    """
    for name, images in (("frames", targets), ("renderings", rendered)):
        if not images.isfinite().all():
            bad = int((~images.isfinite()).flatten(2).any(2).sum())
            raise ValueError(f"{bad} {name} hold NaN or infinity; the renderer's weights are broken or diverged")
    windows, count = targets.shape[:2]
    flat_targets, flat_rendered = targets.flatten(0, 1), rendered.flatten(0, 1)
    grid = tuple(side // patch_size for side in targets.shape[-2:])
    own, other = (backbone(images) for images in (flat_targets, flat_rendered))
    if own.shape[1:3] != grid:
        raise ValueError(f"backbone {backbone.name} gives a grid {tuple(own.shape[1:3])}, the patch grid is {grid}")
    for name, features in (("frames", own), ("renderings", other)):
        if not features.isfinite().all():
            bad = int((~features.isfinite()).flatten(1).any(1).sum())
            raise ValueError(
                f"backbone {backbone.name} gives NaN or infinity for {bad} {name}; check its weights and "
                "features.precision"
            )
    own, other = (features.reshape(windows, count, grid[0] * grid[1], -1) for features in (own, other))
    d_ssim = pool_to_patches(
        1 - ssim_map(flat_targets, flat_rendered, window=config.ssim_window, size=config.ssim_size), patch_size
    )
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
        psnr=psnr(flat_targets, flat_rendered).view(windows, count).float().cpu().numpy(),
    )


def _half(values: Tensor, shape: tuple[int, ...]) -> Float16[np.ndarray, "w t g g2"]:
    return values.float().cpu().numpy().astype(np.float16).reshape(shape)
