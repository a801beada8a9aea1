"""Co-segmentation of backbone features: what the input views have in common and what stands out in each of them.

The baseline that gates a static renderer without any training. Clusters are formed over the patches of all input views
together; a cluster is foreground if it stands out from the views' borders in most views. Differs from the paper, which
names the baseline and does not describe it: published co-segmentation takes saliency from a transformer's class
attention, which DINOv3 features do not give. Here it is the distance from the mean feature of the view's border.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from wildrayzer.config.sections.benchmark import CosegConfig
from wildrayzer.pseudo_masks.clustering import kmeans, quantised_directions

_ITERATIONS = 30
_LEAST = 1e-6


def border_saliency(features: Float[Tensor, "b k fh fw c"], *, centre: bool) -> Float[Tensor, "b k fh fw"]:
    """How unlike its view's border a patch is: 1 − cosine with the mean feature of the border patches, standardised
    within the view (mean 0, standard deviation 1; a view without contrast becomes zeros).

    Args:
        features: patch features of the input views of windows.
        centre: subtract the window's mean first (see `FeatureBackbone.centre`).
    """
    if centre:
        features = features - features.mean(dim=(1, 2, 3), keepdim=True)
    height, width = features.shape[2:4]
    border = torch.ones(height, width, dtype=torch.bool, device=features.device)
    border[1:-1, 1:-1] = False
    mean = features[:, :, border].mean(dim=2)[:, :, None, None]
    values = 1 - functional.cosine_similarity(features, mean.expand_as(features), dim=-1)
    spread = values.std(dim=(2, 3), keepdim=True, correction=0)
    return (values - values.mean(dim=(2, 3), keepdim=True)) / spread.clamp(min=_LEAST) * (spread > _LEAST)


@torch.no_grad()
def cosegment(
    features: Float[Tensor, "b k fh fw c"],
    config: CosegConfig,
    *,
    centre: bool,
    anchor: float,
    seeds: list[int],
) -> Bool[np.ndarray, "b k fh fw"]:
    """Patches of foreground clusters, True = foreground.

    A cluster is foreground in a view where it has patches and their mean saliency exceeds `saliency`; it is foreground
    of the window, in every view, if that is so in at least `share` of the views.

    Args:
        features: patch features of the input views of windows.
        config: the `benchmark.coseg` section.
        centre: see `FeatureBackbone.centre`.
        anchor: see `FeatureBackbone.anchor`.
        seeds: of each window's clustering.
    """
    flat = features.flatten(2, 3)
    directions = quantised_directions(flat, centre=centre, anchor=anchor)
    # Clusters are formed over the patches of all views of a window together.
    clusters = kmeans(directions, clusters=config.clusters, iterations=_ITERATIONS, seeds=seeds)
    labels = clusters.reshape(flat.shape[:3]).astype(np.int64)
    # Sum of saliency and number of patches of each (window, view, cluster).
    saliency = border_saliency(features, centre=centre).flatten(2).double().cpu().numpy()
    sums, counts = (np.zeros((*labels.shape[:2], config.clusters)) for _ in range(2))
    batch, view, _ = np.indices(labels.shape)
    np.add.at(sums, (batch, view, labels), saliency)
    np.add.at(counts, (batch, view, labels), 1.0)
    # A cluster is foreground if its mean saliency is high in enough views; its patches in every view are then marked.
    salient = (counts > 0) & (sums > config.saliency * counts)
    foreground = salient.mean(axis=1) >= config.share - 1e-9
    chosen = np.take_along_axis(foreground[:, None].repeat(labels.shape[1], 1), labels, axis=2)
    return chosen.reshape(features.shape[:4])


def enlarge(patches: Bool[np.ndarray, "b k fh fw"], size: int) -> UInt8[np.ndarray, "b k h w"]:
    """Masks on the patch grid at image size, nearest patch; 1 = transient."""
    rows, columns = (np.arange(size) * count // size for count in patches.shape[2:])
    return patches[:, :, rows[:, None], columns].astype(np.uint8)
