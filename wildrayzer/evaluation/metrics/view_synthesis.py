"""Score renderings of a batch of windows by region, whatever truth the split has."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.evaluation.methods.methods import WindowBatch
from wildrayzer.evaluation.methods.renderings import image_metrics
from wildrayzer.evaluation.metrics.lpips import MaskedLPIPS
from wildrayzer.models import ViewSynthesis

REGIONS = {
    "full": "whole frame",
    "static": "pixels of the target without a transient (the ˢ of the paper)",
    "transient": "pixels of the target under a transient, against the clean frame",
    "ghost": "pixels under a transient in the target or, at the same coordinates, in any input view: a simple proxy "
    "for where the inputs' transients can leave a ghost; against the clean frame",
}


def target_regions(batch: WindowBatch) -> dict[str, Float[Tensor, "b t 1 h w"]]:
    """Regions of the targets that have a truth, 1 = counted.

    Clean twins: `full`, and with masks `static`, `transient`, `ghost`. Masks alone: `static`, since the truth under a
    transient is not known. Neither: `full` where nothing moves, and no region at all on dynamic clips, which have no
    truth then. Pixels of unknown mask (255) in the target are in no region but `full`; in an input view they put no
    pixel into `ghost`.
    """
    k, (b, v, _, h, w) = batch.num_inputs, batch.images.shape
    regions = {}
    if batch.clean is not None or (batch.masks is None and batch.still):
        regions["full"] = batch.images.new_ones(b, v - k, 1, h, w)
    if batch.masks is None:
        return regions
    target = batch.masks[:, k:, None]
    regions["static"] = (target == 0).float()
    if batch.clean is not None:
        regions["transient"] = (target == 1).float()
        in_inputs = (batch.masks[:, :k] == 1).any(1)[:, None, None]
        regions["ghost"] = ((target == 1) | ((target == 0) & in_inputs)).float()
    return regions


def score_batch(
    rendering: Float[Tensor, "b t 3 h w"], batch: WindowBatch, *, lpips: MaskedLPIPS | None = None
) -> dict[str, dict[str, list[float]]]:
    """`{region: {metric: value of each target frame}}`, frames of a window together, NaN where a region is empty."""
    regions = {name: region.flatten(0, 1) for name, region in target_regions(batch).items()}
    if not regions:
        return {}
    scores = image_metrics(rendering.float().clamp(0, 1).flatten(0, 1), batch.truth.flatten(0, 1), regions, lpips=lpips)
    return {region: {name: value.tolist() for name, value in values.items()} for region, values in scores.items()}


def panel(
    rendering: Float[Tensor, "b t 3 h w"], batch: WindowBatch, window: int, *, result: ViewSynthesis | None = None
) -> dict[str, Tensor]:
    """One window's pictures for the report, uint8: inputs `[k h w 3]`, and of its middle target `[h w 3]` the frame as
    recorded, the truth and the rendering; `token_mask` `[k g g]`, 1 = input token replaced, where the method gates."""
    target = rendering.shape[1] // 2

    def picture(image: Tensor) -> Tensor:
        return (image.clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1).cpu()

    gated = {}
    if result is not None and result.token_mask is not None:
        mask = result.token_mask[window]
        gated["token_mask"] = mask.unflatten(-1, (math.isqrt(mask.shape[-1]), -1)).to(torch.uint8).cpu()
    return {
        **gated,
        "inputs": picture(batch.images[window, : batch.num_inputs]),
        "recorded": picture(batch.images[window, batch.num_inputs + target]),
        "truth": picture(batch.truth[window, target]),
        "rendering": picture(rendering[window, target]),
    }
