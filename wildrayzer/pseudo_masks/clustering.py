"""Seeded K-means over the patch features of residual windows, many windows at once (docs/method.md#clustering)."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from wildrayzer.pseudo_masks.backbones.interface import anchored

MAX_CLUSTERS = 255
"""Cluster numbers are stored as uint8, where 255 means "not computed"."""

_STEPS = 2048.0
"""Grid of the unit vectors. Every product of two of them, and every partial sum of a dot product, is then an integer
under 2²⁴ in units of 2⁻²², which float32 (and TF32) holds exactly: no order of summation, batch size, thread count or
device can change a label."""


def quantised_directions(
    features: Float[Tensor, "w t n c"], *, centre: bool, anchor: float = 0.0, floor: float = 1e-5
) -> Float[Tensor, "w m d"]:
    """The points to cluster: L2-normalised features of each window's targets, rounded to multiples of 2⁻¹¹.

    Args:
        features: patch features of each window's target frames.
        centre: first subtract the window's mean (see `FeatureBackbone.centre`).
        anchor: length of the constant channel that is appended (see `FeatureBackbone.anchor`).
        floor: vectors that are shorter have no direction and become zero.

    Returns:
        One row per patch, frames in order (m = t·n).
    """
    points = features.flatten(1, 2).float()
    if centre:
        points = points - points.mean(dim=1, keepdim=True)
    points = anchored(points, anchor)
    length = points.norm(dim=-1, keepdim=True)
    unit = torch.where(length > floor, points / length.clamp(min=floor), torch.zeros_like(points))
    return (unit * _STEPS).round() / _STEPS


def kmeans(
    points: Float[Tensor, "w m c"],
    *,
    clusters: int,
    iterations: int,
    seeds: list[int],
    restarts: int = 1,
) -> UInt8[np.ndarray, "w m"]:
    """Cluster each window separately: greedy k-means++ start, then Lloyd until nothing changes.

    A window's labels depend only on its points and its seed. With more clusters than distinct points the surplus
    ones stay empty; a cluster that loses its last point keeps its centre.

    Args:
        points: rows of `quantised_directions`.
        clusters: k, at most 255.
        iterations: maximum number of Lloyd iterations.
        seeds: one per window, for example its first target frame, so that the order of windows does not matter.
        restarts: number of starts; the one with the least inertia is kept, the first one of equals.

    Returns:
        Cluster numbers from 0, in the order of the points.

    Raises:
        ValueError: too many clusters, a wrong number of seeds, or points that are not finite.
    """
    if not 1 <= clusters <= MAX_CLUSTERS:
        raise ValueError(f"residuals.clusters = {clusters}: choose 2 to {MAX_CLUSTERS}, labels are stored in a byte")
    if len(seeds) != len(points):
        raise ValueError(f"{len(seeds)} seeds for {len(points)} windows; give one per window")
    if not torch.isfinite(points).all():
        raise ValueError("the features to cluster contain NaN or infinity; check the images and the backbone")
    best, best_inertia = None, None
    for restart in range(restarts):
        centres = _plus_plus(points, clusters, [(seed, restart) for seed in seeds])
        labels, cost = _lloyd(points, centres, iterations)
        if best is None or best_inertia is None:
            best, best_inertia = labels, cost
            continue
        better = cost < best_inertia
        best = torch.where(better[:, None], labels, best)
        best_inertia = torch.where(better, cost, best_inertia)
    assert best is not None, "restarts is at least 1"
    return best.to(torch.uint8).cpu().numpy()


def _plus_plus(points: Float[Tensor, "w m c"], clusters: int, seeds: list[tuple[int, int]]) -> Float[Tensor, "w k c"]:
    """Start centres by greedy k-means++, for all windows at once.

    For each centre a few candidates are drawn with probability proportional to their squared distance from the centres
    so far; the one that lowers the cost most is taken.
    """
    windows, count, _ = points.shape
    trials = 2 + int(math.log(clusters))
    # All random numbers [w, k, trials] are drawn before, from each window's own seed: neither the batch nor the device
    # changes them.
    draws = np.stack([np.random.default_rng(seed).random((clusters, trials)) for seed in seeds])
    uniform = torch.from_numpy(draws).to(points.device)
    norms = points.square().sum(dim=-1)
    window = torch.arange(windows, device=points.device)
    # The first centre is any point. `nearest` [w, m] is each point's squared distance from its nearest centre so far.
    first = (uniform[:, 0, 0] * count).long().clamp(max=count - 1)
    chosen = [points[window, first]]
    nearest = _distances_from(chosen[0][:, None], points, norms)[:, 0]
    for step in range(1, clusters):
        # Draw by inverting the cumulative distribution: a point's share of the sum is its probability.
        cumulative = nearest.cumsum(dim=1, dtype=torch.float64)
        drawn = uniform[:, step] * cumulative[:, -1:]
        candidates = torch.searchsorted(cumulative, drawn, right=True).clamp(max=count - 1)
        rows = points[window[:, None], candidates]
        # `reached` [w, trials, m]: what `nearest` would be with each candidate. The least sum, the cost, wins.
        reached = torch.minimum(nearest[:, None], _distances_from(rows, points, norms))
        pick = reached.sum(dim=2, dtype=torch.float64).argmin(dim=1)
        chosen.append(rows[window, pick])
        nearest = reached[window, pick]
    return torch.stack(chosen, dim=1)


def _distances_from(
    rows: Float[Tensor, "w r c"], points: Float[Tensor, "w m c"], norms: Float[Tensor, "w m"]
) -> Float[Tensor, "w r m"]:
    """Squared distances of a few rows from all points; this order of the product takes half the time of the other."""
    products = torch.bmm(rows, points.transpose(1, 2))
    return products.mul_(-2).add_(norms[:, None]).add_(rows.square().sum(dim=-1)[..., None])


def _lloyd(
    points: Float[Tensor, "w m c"], centres: Float[Tensor, "w k c"], iterations: int
) -> tuple[Int[Tensor, "w m"], Float[Tensor, " w"]]:
    """Labels after at most `iterations` updates, and the cost to the centres that gave them.

    All windows run together until the last one has converged. A window that has converged does not change any more, so
    its result is the same in any batch. Only centres that gained or lost points are averaged again, and only distances
    to centres that moved are computed again: sums and products are exact, so this changes nothing but the time.
    """
    # Distances [w, m, k] are kept from one iteration to the next, and only their stale columns are replaced.
    norms = points.square().sum(dim=-1)
    distances = _squared_distances(points, norms, centres)
    labels = distances.argmin(dim=-1)
    touched = torch.ones(centres.shape[:2], dtype=torch.bool, device=points.device)
    for _ in range(iterations):
        # Average the clusters whose members changed; `columns` [w, j] are their numbers. The means go back to the grid
        # on which sums and products are exact.
        columns = _leading(touched)
        before = _rows(centres, columns)
        after = (_means(points, labels, columns, before) * _STEPS).round() / _STEPS
        centres = centres.scatter(1, columns[..., None].expand_as(after), after)
        # Of these, only centres that moved need new distances: a mean can come out as it was.
        columns = columns.gather(1, _leading((after != before).any(dim=-1)))
        fresh = _squared_distances(points, norms, _rows(centres, columns))
        distances.scatter_(2, columns[:, None].expand_as(fresh), fresh)
        # Assign again. No changed label in any window means that all have converged.
        previous, labels = labels, distances.argmin(dim=-1)
        changed = previous != labels
        if not changed.any():
            break
        touched = _touched(previous, labels, changed, clusters=centres.shape[1])
    return labels, distances.amin(dim=-1).double().sum(dim=1)


def _touched(
    previous: Int[Tensor, "w m"], labels: Int[Tensor, "w m"], changed: Bool[Tensor, "w m"], *, clusters: int
) -> Bool[Tensor, "w k"]:
    """Clusters that lost a point (its previous label) or gained one (its new label)."""
    moves = torch.zeros(len(labels), clusters, dtype=torch.int64, device=labels.device)
    for side in (previous, labels):
        moves.scatter_add_(1, side, changed.long())
    return moves > 0


def _leading(marked: Bool[Tensor, "w k"]) -> Int[Tensor, "w j"]:
    """The first j columns of each row when its marked ones come first; j is the largest number of marked ones.

    All rows of a tensor are equally long, so rows with fewer marked columns also get some unmarked ones.
    """
    return marked.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : int(marked.sum(dim=1).max())]


def _rows(centres: Float[Tensor, "w k c"], columns: Int[Tensor, "w j"]) -> Float[Tensor, "w j c"]:
    return centres.gather(1, columns[..., None].expand(-1, -1, centres.shape[-1]))


def _squared_distances(
    points: Float[Tensor, "w m c"], norms: Float[Tensor, "w m"], centres: Float[Tensor, "w k c"]
) -> Float[Tensor, "w m k"]:
    """|x|² − 2⟨x, c⟩ + |c|²: exact on the grid, see `_STEPS`."""
    products = torch.bmm(points, centres.transpose(1, 2))
    return norms[..., None] - 2 * products + centres.square().sum(dim=-1)[:, None]


def _means(
    points: Float[Tensor, "w m c"],
    labels: Int[Tensor, "w m"],
    columns: Int[Tensor, "w j"],
    empty: Float[Tensor, "w j c"],
) -> Float[Tensor, "w j c"]:
    """Mean of the points of the clusters `columns`; an empty cluster gets its row of `empty`."""
    # A sum of more than 2¹³ grid values may exceed the 24 bits of float32.
    exact = points if points.shape[1] <= 1 << 13 else points.double()
    # Membership [w, j, m] as a matrix of zeros and ones: one product then sums the points of all clusters.
    members = (labels[:, None] == columns[..., None]).to(exact.dtype)
    sums = torch.bmm(members, exact)
    counts = members.sum(dim=2)[..., None]
    return torch.where(counts > 0, (sums / counts.clamp(min=1)).to(empty.dtype), empty)
