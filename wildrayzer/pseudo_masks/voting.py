"""Cluster voting: which clusters of a window are foreground (docs/method.md#voting)."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from wildrayzer.config.sections.masks import PseudoMasksConfig


def vote(
    saliency: Float[np.ndarray, "*w t g g2"], clusters: UInt8[np.ndarray, "*w t g g2"], config: PseudoMasksConfig
) -> Bool[np.ndarray, "*w t g g2"]:
    """Patches whose cluster is foreground in its window.

    A cluster is foreground if

    - its mean saliency over the window reaches the (1 − `top_share`) quantile of the means of all clusters that have a
      patch in the window, and
    - its median saliency in a frame reaches the `frame_quantile` quantile of all patches of that frame, in at least
      ⌈`frame_share` · t⌉ of the t frames. A frame where the cluster has no patch, or whose saliency is the same
      everywhere, gives no vote.

    Quantiles and medians interpolate linearly. Windows do not touch each other: any batching gives the same result.

    Args:
        saliency: fused saliency of a window's target frames, or of several windows of as many frames.
        clusters: cluster numbers 0 to 254.
        config: the `pseudo_masks` section.

    Raises:
        ValueError: saliency is not finite, or a patch has no cluster.
    """
    if not np.isfinite(saliency).all():
        raise ValueError("saliency holds NaN or infinity: residual maps are missing or broken; run residuals again")
    if (clusters == 255).any():
        raise ValueError("clusters hold 255, `not computed`; run the residuals stage again for these frames")
    shape = saliency.shape
    frames, patches = shape[-3], shape[-2] * shape[-1]
    values = saliency.reshape(-1, frames, patches).astype(np.float64)
    labels = clusters.reshape(-1, frames, patches).astype(np.int64)
    if not values.size:
        return np.zeros(shape, bool)
    count = int(labels.max()) + 1
    foreground = _salient(values, labels, count, config.top_share)
    foreground &= _votes(values, labels, count, config.frame_quantile) >= required_frames(frames, config)
    chosen = np.take_along_axis(foreground, labels.reshape(len(labels), -1), axis=1)
    return chosen.reshape(shape)


def required_frames(frames: int, config: PseudoMasksConfig) -> int:
    """Votes a cluster needs in a window of `frames` target frames: 4 of 6 at the default share of 2/3."""
    return max(1, math.ceil(config.frame_share * frames - 1e-9))


def _salient(
    values: Float[np.ndarray, "w t n"], labels: Int[np.ndarray, "w t n"], count: int, top_share: float
) -> Bool[np.ndarray, "w k"]:
    """Clusters whose mean saliency is among the window's highest."""
    windows = len(values)
    keys = (np.arange(windows)[:, None, None] * count + labels).ravel()
    sizes = np.bincount(keys, minlength=windows * count).reshape(windows, count)
    sums = np.bincount(keys, weights=values.ravel(), minlength=windows * count).reshape(windows, count)
    present = sizes > 0
    means = np.where(present, sums / np.maximum(sizes, 1), np.inf)
    threshold = _quantile_of_sorted(np.sort(means, axis=1), present.sum(axis=1), 1 - top_share)
    return present & (means >= threshold[:, None])


def _votes(
    values: Float[np.ndarray, "w t n"], labels: Int[np.ndarray, "w t n"], count: int, quantile: float
) -> Int[np.ndarray, "w k"]:
    """Frames in which each cluster's median reaches the frame's quantile."""
    windows, frames, patches = values.shape
    order = np.argsort(values, axis=-1)
    by_value = np.take_along_axis(values, order, axis=-1)
    limit = _quantile_of_sorted(by_value.reshape(-1, patches), np.full(windows * frames, patches), quantile)
    # A stable sort by cluster on top of the sort by value: the patches of a cluster lie together, in rising saliency.
    labels_by_value = np.take_along_axis(labels, order, axis=-1)
    regroup = np.argsort(labels_by_value.astype(np.uint8), axis=-1, kind="stable")
    grouped = np.take_along_axis(by_value, regroup, axis=-1).reshape(windows * frames, patches)
    frame = np.arange(windows * frames).reshape(windows, frames, 1)
    sizes = np.bincount((frame * count + labels).ravel(), minlength=windows * frames * count)
    sizes = sizes.reshape(windows * frames, count)
    start = np.cumsum(sizes, axis=1) - sizes
    low = np.minimum(start + np.maximum(sizes - 1, 0) // 2, patches - 1)
    high = np.minimum(start + sizes // 2, patches - 1)
    median = (np.take_along_axis(grouped, low, axis=1) + np.take_along_axis(grouped, high, axis=1)) / 2
    varied = (by_value[..., -1] > by_value[..., 0]).reshape(-1)
    voted = (sizes > 0) & (median >= limit[:, None]) & varied[:, None]
    return voted.reshape(windows, frames, count).sum(axis=1)


def _quantile_of_sorted(
    values: Float[np.ndarray, "r n"], counts: Int[np.ndarray, " r"], quantile: float
) -> Float[np.ndarray, " r"]:
    """Linearly interpolated quantile of the first `counts` entries of each sorted row, as numpy rounds it."""
    position = (counts - 1) * quantile
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, counts - 1)
    rows = np.arange(len(values))
    low, high = values[rows, below], values[rows, above]
    share = position - below
    step = high - low
    return np.where(share >= 0.5, high - step * (1 - share), low + step * share)
