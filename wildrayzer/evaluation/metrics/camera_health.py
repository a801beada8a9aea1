"""Is the static renderer a renderer? Cameras, frame order and swapped poses, beside its PSNR.

Two shortcuts can mimic a good PSNR: blending the inputs by the view's index, and cameras that carry no information.
Cameras that follow the true ones (R²), and a PSNR that does not depend on the order of frames, rule them out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.evaluation.methods.render_method import check_finite
from wildrayzer.evaluation.metrics.bootstrap import bootstrap_mean
from wildrayzer.evaluation.metrics.cameras import camera_r2, camera_spread
from wildrayzer.evaluation.metrics.image import masked_psnr
from wildrayzer.evaluation.metrics.poses import pose_accuracy
from wildrayzer.evaluation.window_batches import WindowBatch
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.models import WildRayZer

HEALTH_METRICS = {
    "psnr": "PSNR of the targets, dB",
    "reordered": "change of PSNR when the target frames enter in another order, dB; 0 = order does not matter",
    "swapped": "change of PSNR when each target is rendered with the next target's pose, dB; far below 0 expected, "
    "but proves nothing alone",
}


@dataclass
class _Collected:
    metrics: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HEALTH_METRICS})
    scenes: list[str] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    true: list[np.ndarray] = field(default_factory=list)


def renderer_health(
    model: WildRayZer,
    batches: Iterable[tuple[WindowBatch, Float[np.ndarray, "b v 4 4"] | None]],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Health of a renderer without gating, as a JSON-like value.

    Args:
        model: the static renderer.
        batches: windows with at least two targets, and their true camera-to-world or None.
        resamples: bootstrap draws.
        seed: of the bootstrap.

    Returns:
        `figures`: mean and 95% interval over scenes of each of `HEALTH_METRICS`; `camera_r2`: of `camera_r2` over first
        input and targets (as many of the first ones as every window has), or None without true cameras or with fewer
        than two windows; `pose_accuracy`: of `pose_accuracy` over the same views, or None; `camera_spread`.

    Raises:
        ValueError: windows with fewer than two targets.
    """
    collected = _Collected()
    for batch, c2w in batches:
        _collect(collected, model, batch, c2w)
    scenes = pd.Series(collected.scenes)
    metrics = {
        name: vars(bootstrap_mean(pd.Series(values), scenes, resamples=resamples, seed=seed))
        for name, values in collected.metrics.items()
    }
    predicted = _stacked(collected.predicted)
    known = collected.true and len(predicted) >= 2
    return {
        "figures": metrics,
        "definitions": HEALTH_METRICS,
        "camera_r2": camera_r2(predicted, _stacked(collected.true)) if known else None,
        "pose_accuracy": pose_accuracy(predicted, _stacked(collected.true)) if collected.true else None,
        "camera_spread": camera_spread(predicted),
        "windows": len(predicted),
    }


def _stacked(batches: list[np.ndarray]) -> Float[np.ndarray, "s v 4 4"]:
    """Cameras of all windows, as many views as the shortest has: an index file may mix numbers of targets."""
    views = min(batch.shape[1] for batch in batches)
    return np.concatenate([batch[:, :views] for batch in batches])


@torch.no_grad()
def _collect(
    collected: _Collected, model: WildRayZer, batch: WindowBatch, c2w: Float[np.ndarray, "b v 4 4"] | None
) -> None:
    k, views = batch.num_inputs, batch.images.shape[1]
    if views - k < 2:
        raise ValueError("renderer health needs windows of at least 2 targets; raise benchmark.targets")
    # The targets enter once in another order, and once each with the pose of the next target.
    rolled = [*range(k), *range(k + 1, views), k]
    given = batch.cameras
    result = model(batch.images, k, cameras=given)
    check_finite(result.render, batch.scenes, "renderer health")
    poses = Cameras(c2w=result.cameras.c2w[:, rolled], intrinsics=result.cameras.intrinsics[:, rolled])
    truth = batch.images[:, k:]
    plain = _psnr(result.render, truth)
    again = model(batch.images[:, rolled], k, cameras=None if given is None else given.select(rolled))
    reordered = _psnr(again.render.roll(1, dims=1), truth)
    swapped = _psnr(model(batch.images, k, cameras=poses).render, truth)
    for name, values in (("psnr", plain), ("reordered", reordered - plain), ("swapped", swapped - plain)):
        collected.metrics[name] += values.flatten().tolist()
    collected.scenes += [scene for scene in batch.scenes for _ in range(views - k)]
    reference = [0, *range(k, views)]
    collected.predicted.append(result.cameras.c2w[:, reference].double().cpu().numpy())
    if c2w is not None:
        collected.true.append(c2w[:, reference])


def _psnr(rendering: Float[Tensor, "b t 3 h w"], truth: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t"]:
    everywhere = torch.ones_like(truth[:, :, :1])
    flat = masked_psnr(rendering.float().flatten(0, 1), truth.flatten(0, 1), everywhere.flatten(0, 1))
    return flat.unflatten(0, truth.shape[:2])
