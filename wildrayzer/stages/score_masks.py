"""Scoring job of cached pseudo-masks: one predictor on one split at a time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildrayzer.config.sections.benchmark import MaskSource
from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.metrics.masks import (
    MASK_DEFINITIONS,
    MaskSlice,
    best_threshold,
    patch_masks,
    pixel_masks,
    score_split,
    table_scores,
    thresholded_residual,
)
from wildrayzer.evaluation.scoring import ScoringJob
from wildrayzer.evaluation.tables.scores import describe_split, write_scores
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["score_masks"]


@dataclass(frozen=True, kw_only=True)
class MaskScoringJob(ScoringJob):
    """The pseudo-masks that one predictor gave on one split; `inputs` are those of the residuals."""

    predictor: MaskSource
    """What stands for the rendering."""
    residuals_path: str | Path
    """`residuals.json` of the split and predictor."""
    patch_masks_path: str | Path
    """`patch_masks.json` made from it."""
    pixel_masks_path: str | Path | None
    """`pixel_masks.json` made from that; None leaves the row out."""
    config: PseudoMasksConfig
    """The `pseudo_masks` section, for the fusion."""


def score_masks(job: MaskScoringJob) -> None:
    """Score the pseudo-masks of one split and predictor, and the plain residual beside them, region `mask`.

    Methods in the rows: `pseudo:PREDICTOR` (patch masks enlarged), `refined:PREDICTOR` (pixel masks),
    `residual:PREDICTOR` (fused saliency over the threshold that is best on the split itself). Frames that no window had
    are NaN. Rows of an ablation are called `pseudo:PREDICTOR@VARIANT`, and have no plain residual beside them.

    Raises:
        ValueError: the split has no true masks, or a cache was made from something else.
    """
    store = FrameStore(job.store_path, preload_mb=PRELOAD_MB)
    maps = ResidualMaps(job.residuals_path, expect={"store": store.digest})
    patches = PatchMasks(job.patch_masks_path, expect={"residuals": maps.digest})

    def residual(threshold: float) -> MaskSlice:
        return thresholded_residual(maps, job.config, store.image_size, threshold)

    masks, threshold = {"pseudo": patch_masks(patches, store.image_size)}, {}
    if job.variant is None:
        value, choice = best_threshold(residual, store)
        masks["residual"] = residual(value)
        threshold = {"residual_threshold": {"value": value, "choice": choice}}
    if job.pixel_masks_path is not None:
        masks["refined"] = pixel_masks(PixelMasks(job.pixel_masks_path, expect={"patch_masks": patches.digest}))
    frames = np.arange(store.num_frames)
    owner = store.scene_of(frames)
    scenes, numbers = [store.scenes[scene] for scene in owner], (frames - store.offsets[owner]).tolist()
    rows = []
    for name, of_split in masks.items():
        values = {metric: column.tolist() for metric, column in score_split(of_split, store, table_scores).items()}
        rows += job.rows(f"{name}:{job.predictor}", {"mask": values}, scenes=scenes, frames=numbers)
    digests = {"store": store.digest, "residuals": maps.digest, "patch_masks": patches.digest}
    about = {
        **job.about(f"masks:{job.predictor}", kind="masks", stage_version=STAGE_VERSION),
        "definitions": MASK_DEFINITIONS,
        **threshold,
        **describe_split(len(store), {}, digests),
    }
    write_scores(rows, job.scores, job.manifest, about)
