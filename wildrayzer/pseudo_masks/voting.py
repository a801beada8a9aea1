"""Cluster voting: which clusters of a window are foreground (docs/method.md#voting)."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.images import UNKNOWN


def vote(
    saliency: Float[np.ndarray, "*w t g g2"], clusters: UInt8[np.ndarray, "*w t g g2"], config: PseudoMasksConfig
) -> Bool[np.ndarray, "*w t g g2"]:
    """Patches whose cluster is foreground in its window: True = transient.

    A cluster is foreground if

    - its mean saliency over the window reaches the (1 − `top_share`) quantile of the means of all clusters that have a
      patch in the window, and
    - its median saliency in a frame reaches the `frame_quantile` quantile of all patches of that frame, in at least
      ⌈`frame_share` · t⌉ of the t frames. A frame where the cluster has no patch, or whose saliency is the same
      everywhere, gives no vote.

    Quantiles and medians interpolate linearly. Windows are independent: any batching gives the same result.

    Args:
        saliency: fused saliency of a window's target frames, or of several windows with equally many frames.
        clusters: cluster numbers 0 to 254.
        config: the `pseudo_masks` section.

    Raises:
        ValueError: saliency is not finite, or a patch has no cluster.
    """
    if not np.isfinite(saliency).all():
        raise ValueError(
            "saliency contains NaN or infinity: residual maps are missing or damaged; run the stage residuals again"
        )
    if (clusters == UNKNOWN).any():
        raise ValueError("clusters contain 255 (not computed); run the stage residuals again for these frames")
    # Flatten to [w, t, n]: a grid is a list of n patches here, and a single window a batch of one.
    shape = saliency.shape
    frames, patches = shape[-3], shape[-2] * shape[-1]
    values = saliency.reshape(-1, frames, patches).astype(np.float64)
    labels = clusters.reshape(-1, frames, patches).astype(np.int64)
    if not values.size:
        return np.zeros(shape, bool)
    # Both rules give one value per window and cluster [w, k]; a patch is marked if its cluster passes both.
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
    # One key per (window, cluster), so that two counts give the means [w, k] without a loop.
    keys = (np.arange(windows)[:, None, None] * count + labels).ravel()
    sizes = np.bincount(keys, minlength=windows * count).reshape(windows, count)
    sums = np.bincount(keys, weights=values.ravel(), minlength=windows * count).reshape(windows, count)
    # Absent clusters get infinity: they sort behind the present ones, and the quantile leaves them out.
    present = sizes > 0
    means = np.where(present, sums / np.maximum(sizes, 1), np.inf)
    threshold = _quantile_of_sorted(np.sort(means, axis=1), present.sum(axis=1), 1 - top_share)
    return present & (means >= threshold[:, None])


def _votes(
    values: Float[np.ndarray, "w t n"], labels: Int[np.ndarray, "w t n"], count: int, quantile: float
) -> Int[np.ndarray, "w k"]:
    """Number of frames in which each cluster's median saliency reaches the frame's quantile."""
    windows, frames, patches = values.shape
    rows = windows * frames
    # Sort the patches of each frame by saliency; `by_value` [r, n] has one row per frame of any window. The frame's
    # quantile is then read at one position of its row.
    order = np.argsort(values, axis=-1)
    by_value = np.take_along_axis(values, order, axis=-1).reshape(rows, patches)
    labels_by_value = np.take_along_axis(labels, order, axis=-1).reshape(rows, patches)
    limit = _quantile_of_sorted(by_value, np.full(rows, patches), quantile)
    medians, sizes = _cluster_medians(by_value, labels_by_value, count)
    # A frame of equal values has no salient part: its quantile would be reached by every cluster.
    varied = by_value[:, -1] > by_value[:, 0]
    # A vote [r, k] takes a patch of the cluster, a high median and a frame that varies; count them over the frames.
    voted = (sizes > 0) & (medians >= limit[:, None]) & varied[:, None]
    return voted.reshape(windows, frames, count).sum(axis=1)


def _cluster_medians(
    values: Float[np.ndarray, "r n"], labels: Int[np.ndarray, "r n"], count: int
) -> tuple[Float[np.ndarray, "r k"], Int[np.ndarray, "r k"]]:
    """Median of each cluster's values in each row, and its number of values; rows are sorted by value."""
    rows, patches = values.shape
    # A stable sort by cluster keeps the order by value within each cluster: clusters lie one after the other, each in
    # rising order. Labels as bytes make NumPy take its radix sort.
    regroup = np.argsort(labels.astype(np.uint8), axis=-1, kind="stable")
    grouped = np.take_along_axis(values, regroup, axis=-1)
    # Count the members [r, k] with one key per (row, cluster); their running sum says where each cluster starts.
    keys = np.arange(rows)[:, None] * count + labels
    sizes = np.bincount(keys.ravel(), minlength=rows * count).reshape(rows, count)
    start = np.cumsum(sizes, axis=1) - sizes
    # The median is the mean of the two middle members, which are one and the same for an odd number. Positions of empty
    # clusters are kept inside the row; their medians mean nothing.
    low = np.minimum(start + np.maximum(sizes - 1, 0) // 2, patches - 1)
    high = np.minimum(start + sizes // 2, patches - 1)
    return (np.take_along_axis(grouped, low, axis=1) + np.take_along_axis(grouped, high, axis=1)) / 2, sizes


def _quantile_of_sorted(
    values: Float[np.ndarray, "r n"], counts: Int[np.ndarray, " r"], quantile: float
) -> Float[np.ndarray, " r"]:
    """Linearly interpolated quantile of the first `counts` entries of each sorted row, rounded as NumPy rounds it."""
    # The quantile lies between two neighbours of the row, `share` of the way from the lower to the upper one.
    position = (counts - 1) * quantile
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, counts - 1)
    rows = np.arange(len(values))
    low, high = values[rows, below], values[rows, above]
    share = position - below
    # Interpolate from the nearer neighbour, as NumPy does: both forms are equal but for the last bit.
    step = high - low
    return np.where(share >= 0.5, high - step * (1 - share), low + step * share)
