"""Metrics of renderings by region, for whatever truth the split has."""

from jaxtyping import Float
from torch import Tensor

from wildrayzer.evaluation.metrics.image import masked_psnr, region_mean, similarity_map
from wildrayzer.evaluation.metrics.lpips import DEFINITIONS as LPIPS_DEFINITIONS
from wildrayzer.evaluation.metrics.lpips import MaskedLPIPS
from wildrayzer.evaluation.window_batches import WindowBatch

IMAGE_DEFINITIONS = {
    "psnr": "dB, −10 log10 Σ(I−Î)²M / ΣM",
    "ssim": "11×11 Gaussian, σ 1.5, images padded by 5 pixels of zeros (release), region area-pooled",
    "ssim_valid": "the same without padding",
    **LPIPS_DEFINITIONS,
}
"""What the metrics of the view-synthesis tables mean."""
LEAKAGE_DEFINITIONS = {
    "psnr_aligned": "PSNR with input cameras from the inputs only; a similarity carries target cameras into their "
    "frame",
    "psnr_transferred": "PSNR with all cameras predicted from another clip, in another room along the same camera path",
}
"""The metrics of rows with predicted cameras."""
REGIONS = {
    "full": "whole frame",
    "static": "pixels of the target without a transient (the ˢ of the paper)",
    "transient": "pixels of the target under a transient, against the clean frame",
    "ghost": "pixels under a transient in the target or, at the same coordinates, in any input view: a simple proxy "
    "for where the inputs' transients can leave a ghost; against the clean frame",
    "release": "whole frame against the recorded frame, transients included: `full (release)`, which the public "
    "release computes by default",
}


def image_metrics(
    prediction: Float[Tensor, "n 3 h w"],
    truth: Float[Tensor, "n 3 h w"],
    regions: dict[str, Float[Tensor, "n 1 h w"]],
    *,
    lpips: MaskedLPIPS | None = None,
) -> dict[str, dict[str, Float[Tensor, " n"]]]:
    """`{region: {metric: value of each image}}` for images in [0, 1]; NaN where a region is empty."""
    similarity = similarity_map(prediction, truth)  # once: `masked_ssim` of every region
    scores = {
        name: {"psnr": masked_psnr(prediction, truth, region), "ssim": region_mean(similarity, region)}
        for name, region in regions.items()
    }
    if lpips is not None:
        for name, values in lpips(prediction, truth, regions).items():
            scores[name].update(values)
    return scores


def target_regions(batch: WindowBatch) -> dict[str, Float[Tensor, "b t 1 h w"]]:
    """Regions of the targets that have a truth, 1 = counted.

    Clean twins: `full`, and with masks `static`, `transient`, `ghost`. Only masks: `static`, since the truth under a
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
    """`{region: {metric: value of each target frame}}`, frames of a window together, NaN where a region is empty.

    Clips in which something moves also have the region `release`, whose truth is the recorded frame, if they have any
    other.
    """
    regions = {name: region.flatten(0, 1) for name, region in target_regions(batch).items()}
    if not regions:
        return {}
    prediction, recorded = (
        rendering.float().clamp(0, 1).flatten(0, 1),
        batch.images[:, batch.num_inputs :].flatten(0, 1),
    )
    whole = {} if batch.still else {"release": recorded.new_ones(len(recorded), 1, *recorded.shape[-2:])}
    if batch.clean is None:
        scores = image_metrics(prediction, recorded, regions | whole, lpips=lpips)
    else:
        scores = image_metrics(prediction, batch.truth.flatten(0, 1), regions, lpips=lpips)
        scores |= image_metrics(prediction, recorded, whole, lpips=lpips) if whole else {}
    return {region: {name: value.tolist() for name, value in values.items()} for region, values in scores.items()}
