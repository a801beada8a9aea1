"""K-means against scikit-learn, and its independence of batches."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from wildrayzer.pseudo_masks.clustering import kmeans, quantised_directions


def blobs(windows=3, frames=2, patches=40, width=8, centres=6, spread=0.15, seed=0):
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((windows, centres, width))
    which = rng.integers(0, centres, (windows, frames * patches))
    points = np.take_along_axis(middle, which[..., None], 1) + spread * rng.standard_normal(
        (windows, frames * patches, width)
    )
    return torch.from_numpy(points.reshape(windows, frames, patches, width)).float(), which


def cluster(points, k=6, seeds=None, iterations=30, **options):
    return kmeans(points, clusters=k, iterations=iterations, seeds=seeds or list(range(len(points))), **options)


def inertia(points, labels):
    points = points.double().numpy()
    return sum(((points[labels == k] - points[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels))


def test_directions_are_unit_vectors_on_a_grid():
    features, _ = blobs()
    found = quantised_directions(features, centre=False)
    assert found.shape == (3, 80, 8)
    assert torch.equal(found * 2048, (found * 2048).round())
    torch.testing.assert_close(found, torch.nn.functional.normalize(features.flatten(1, 2), dim=-1), atol=3e-4, rtol=0)
    centred = quantised_directions(features + 100, centre=True)
    expected = features.flatten(1, 2) - features.flatten(1, 2).mean(1, keepdim=True)
    torch.testing.assert_close(centred, torch.nn.functional.normalize(expected, dim=-1), atol=2e-3, rtol=0)


def test_a_vector_without_direction_becomes_zero():
    assert not quantised_directions(torch.full((1, 2, 3, 4), 0.7), centre=True).any()
    assert not quantised_directions(torch.zeros(1, 2, 3, 4), centre=False).any()


def test_well_separated_blobs_are_found():
    features, which = blobs(spread=0.02)
    labels = cluster(quantised_directions(features, centre=False))
    for found, true in zip(labels, which, strict=True):
        assert len(np.unique(np.stack([found, true]), axis=1).T) == len(np.unique(true))


@pytest.mark.parametrize("seed", range(3))
def test_inertia_is_scikit_learns_within_a_few_percent(seed):
    features, _ = blobs(windows=2, patches=150, spread=0.8, seed=seed)
    points = quantised_directions(features, centre=True)
    labels = cluster(points, k=12, restarts=3)
    for window in range(2):
        oracle = KMeans(12, n_init=3, max_iter=30, random_state=0).fit(points[window].numpy()).inertia_
        assert inertia(points[window], labels[window]) < 1.04 * oracle


def plain_kmeans(points, clusters, iterations, seed):
    """Greedy k-means++ and Lloyd as one would say it, in float64: point by point, cluster by cluster."""
    draws = np.random.default_rng(seed).random((clusters, 2 + int(np.log(clusters))))

    def squared(centre):
        return ((points - centre) ** 2).sum(1)

    centres = [points[int(draws[0, 0] * len(points))]]
    for row in draws[1:]:
        nearest = np.min([squared(centre) for centre in centres], axis=0)
        cumulative = nearest.cumsum()
        candidates = [points[np.searchsorted(cumulative, draw * cumulative[-1], side="right")] for draw in row]
        gains = [np.minimum(nearest, squared(candidate)).sum() for candidate in candidates]
        centres.append(candidates[int(np.argmin(gains))])
    labels = np.argmin([squared(centre) for centre in centres], axis=0)
    for _ in range(iterations):
        for k in range(clusters):
            if (labels == k).any():
                mean = (points[labels == k].sum(0).astype(np.float32) / np.float32((labels == k).sum())) * 2048
                centres[k] = np.round(mean).astype(np.float64) / 2048
        before, labels = labels, np.argmin([squared(centre) for centre in centres], axis=0)
        if (before == labels).all():
            break
    return labels


@pytest.mark.parametrize(("clusters", "iterations", "spread"), [(6, 30, 0.3), (20, 30, 1.5), (20, 2, 1.5)])
def test_labels_are_those_of_plain_loops(clusters, iterations, spread):
    features, _ = blobs(windows=3, patches=100, spread=spread)
    points = quantised_directions(features, centre=True)
    found = cluster(points, k=clusters, iterations=iterations, seeds=[3, 1, 4])
    for window, seed in enumerate([3, 1, 4]):
        expected = plain_kmeans(points[window].double().numpy(), clusters, iterations, (seed, 0))
        np.testing.assert_array_equal(found[window], expected)


def test_labels_are_of_the_nearest_mean_once_settled():
    points = quantised_directions(blobs(spread=0.5)[0], centre=False)
    labels = cluster(points, iterations=200)
    for window in range(3):
        x = points[window].double().numpy()
        means = np.stack([x[labels[window] == k].mean(0) for k in range(6)])
        distances = ((x[:, None] - means) ** 2).sum(-1)
        own = distances[np.arange(len(x)), labels[window]]
        assert (own <= distances.min(1) + 2e-3).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_same_labels_in_any_batch_order_and_thread_count(threads):
    features, _ = blobs(windows=5, spread=0.8, width=64)
    points, seeds = quantised_directions(features, centre=True), [5, 17, 2, 900, 41]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = cluster(points, k=9, seeds=seeds, restarts=2)
        alone = [cluster(points[i : i + 1], k=9, seeds=seeds[i : i + 1], restarts=2)[0] for i in range(5)]
        backwards = cluster(points.flip(0), k=9, seeds=seeds[::-1], restarts=2)[::-1]
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(together, np.stack(alone))
    np.testing.assert_array_equal(together, backwards)


def test_arithmetic_on_the_grid_is_exact():
    """What makes labels independent of the order of summation: float32 products equal float64 ones bit for bit."""
    points = quantised_directions(torch.randn(1, 2, 300, 384, generator=torch.Generator().manual_seed(0)), centre=False)
    products = torch.bmm(points, points.transpose(1, 2))
    exact = torch.bmm(points.double(), points.double().transpose(1, 2))
    assert torch.equal(products.double(), exact)


def test_the_seed_decides():
    points = quantised_directions(blobs(windows=1, spread=2.0)[0], centre=False)
    assert (cluster(points, seeds=[1]) == cluster(points, seeds=[1])).all()
    assert (cluster(points, seeds=[1]) != cluster(points, seeds=[2])).any()


def test_more_clusters_than_distinct_points():
    features = torch.eye(4).repeat(5, 1).view(1, 1, 20, 4)
    labels = cluster(quantised_directions(features, centre=False), k=10)[0]
    assert len(np.unique(labels)) == 4
    assert (labels.reshape(5, 4) == labels[:4]).all()
    same = cluster(quantised_directions(torch.ones(1, 2, 6, 4), centre=True), k=8)
    assert (same == 0).all()


def test_more_restarts_never_raise_the_inertia():
    points = quantised_directions(blobs(windows=4, spread=1.0)[0], centre=False)
    one, four = cluster(points), cluster(points, restarts=4)
    assert all(inertia(points[i], four[i]) <= inertia(points[i], one[i]) * 1.001 for i in range(4))


def test_bad_input():
    points = quantised_directions(blobs()[0], centre=False)
    with pytest.raises(ValueError, match=r"residuals\.clusters = 256: choose 2 to 255"):
        cluster(points, k=256)
    with pytest.raises(ValueError, match="2 seeds for 3 windows"):
        cluster(points, seeds=[1, 2])
    with pytest.raises(ValueError, match="features to cluster contain NaN"):
        cluster(torch.full_like(points, float("nan")))
