"""Scoring jobs of cached pseudo-masks: one source on one split at a time."""

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
    thresholded_residual,
)
from wildrayzer.evaluation.tables.scores import describe_split, rows_of, write_scores
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["score_masks"]


def score_masks(
    *,
    split: str,
    source: MaskSource,
    store_path: str | Path,
    residuals_path: str | Path,
    patch_masks_path: str | Path,
    pixel_masks_path: str | Path | None,
    config: PseudoMasksConfig,
    inputs: int,
    scores: str | Path,
    manifest: str | Path,
    variant: str | None = None,
) -> None:
    """Score the pseudo-masks of one split and one source of "renderings", and the plain residual beside them.

    Methods in the rows: `pseudo:SOURCE` (patch masks enlarged), `refined:SOURCE` (pixel masks), `residual:SOURCE`
    (fused saliency over the threshold that is best on the split itself). Frames that no window had are NaN.
    Rows of an ablation are called `pseudo:SOURCE@VARIANT`, and have no plain residual beside them.

    Args:
        split: its name in the tables.
        source: what stood in for the rendering.
        store_path: the split's frames, with true masks.
        residuals_path: `residuals.zarr` of the split and source.
        patch_masks_path: `patch_masks.zarr` made from it.
        pixel_masks_path: `pixel_masks.zarr` made from that; None leaves the row out.
        config: the `pseudo_masks` section, for the fusion.
        inputs: `residuals.inputs`.
        scores: CSV of tidy rows to write, region `mask`.
        manifest: JSON to write beside it.
        variant: ablation that the masks belong to.

    Raises:
        ValueError: the split has no true masks, or a cache was made from something else.
    """
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    maps = ResidualMaps(residuals_path, expect={"store": store.digest})
    patches = PatchMasks(patch_masks_path, expect={"residuals": maps.digest})

    def residual(threshold: float) -> MaskSlice:
        return thresholded_residual(maps, config, store.image_size, threshold)

    sources = {"pseudo": patch_masks(patches, store.image_size)}
    threshold = {}
    if variant is None:
        value, choice = best_threshold(residual, store)
        sources["residual"] = residual(value)
        threshold = {"residual_threshold": {"value": value, "choice": choice}}
    suffix = source if variant is None else f"{source}@{variant}"
    if pixel_masks_path is not None:
        sources["refined"] = pixel_masks(PixelMasks(pixel_masks_path, expect={"patch_masks": patches.digest}))
    frames = np.arange(store.num_frames)
    owner = store.scene_of(frames)
    rows = [
        row
        for name, masks in sources.items()
        for row in rows_of(
            {"mask": {metric: column.tolist() for metric, column in score_split(masks, store).items()}},
            method=f"{name}:{suffix}",
            split=split,
            inputs=inputs,
            scenes=[store.scenes[scene] for scene in owner],
            frames=(frames - store.offsets[owner]).tolist(),
        )
    ]
    extra = {
        "kind": "masks",
        "stage_version": STAGE_VERSION,
        "method": f"masks:{suffix}",
        "split": split,
        "inputs": inputs,
        "definitions": MASK_DEFINITIONS,
        **threshold,
        **describe_split(
            len(store), {}, {"store": store.digest, "residuals": maps.digest, "patch_masks": patches.digest}
        ),
    }
    write_scores(rows, scores, manifest, extra)
