"""Scoring jobs of masks: one source of pseudo-masks, or one motion head, at a time."""

from pathlib import Path

import numpy as np
import torch

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.benchmark import BenchmarkConfig, MaskSource
from wildrayzer.config.features import FeaturesConfig
from wildrayzer.config.masks import PseudoMasksConfig
from wildrayzer.data.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.mask_scoring import (
    MaskSlice,
    best_threshold,
    patch_masks,
    pixel_masks,
    score_frames,
    score_split,
    thresholded_residual,
    true_masks,
)
from wildrayzer.evaluation.methods import head_features, load_backbone, window_batches, windows_of
from wildrayzer.evaluation.scores import describe_split, rows_of, write_scores
from wildrayzer.motion.cache import PatchMasks, PixelMasks, ResidualMaps

STAGE_VERSION = 1
"""Raised when a change of code changes scores."""
MASK_DEFINITIONS = {
    "iou": "per frame, at pixels, over frames with true foreground",
    "recall": "as iou",
    "precision": "over frames with predicted foreground",
    "coverage": "share of the frame that is marked",
}


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
) -> None:
    """Score the pseudo-masks of one split and one source of "renderings", and the plain residual beside them.

    Methods in the rows: `pseudo:SOURCE` (patch masks enlarged), `refined:SOURCE` (pixel masks), `residual:SOURCE`
    (fused saliency over the threshold that is best on the split itself). Frames that no window had are NaN.

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

    Raises:
        ValueError: the split has no true masks, or a cache was made from something else.
    """
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    maps = ResidualMaps(residuals_path, expect={"store": store.digest})
    patches = PatchMasks(patch_masks_path, expect={"residuals": maps.digest})

    def residual(threshold: float) -> MaskSlice:
        return thresholded_residual(maps, config, store.image_size, threshold)

    threshold, choice = best_threshold(residual, store)
    sources = {"pseudo": patch_masks(patches, store.image_size), "residual": residual(threshold)}
    if pixel_masks_path is not None:
        sources["refined"] = pixel_masks(PixelMasks(pixel_masks_path, expect={"patch_masks": patches.digest}))
    frames = np.arange(store.num_frames)
    owner = store.scene_of(frames)
    rows = [
        row
        for name, masks in sources.items()
        for row in rows_of(
            {"mask": {metric: column.tolist() for metric, column in score_split(masks, store).items()}},
            method=f"{name}:{source}",
            split=split,
            inputs=inputs,
            scenes=[store.scenes[scene] for scene in owner],
            frames=(frames - store.offsets[owner]).tolist(),
        )
    ]
    extra = {
        "kind": "masks",
        "stage_version": STAGE_VERSION,
        "method": f"masks:{source}",
        "split": split,
        "inputs": inputs,
        "definitions": MASK_DEFINITIONS,
        "residual_threshold": {"value": threshold, "choice": choice},
        **describe_split(
            len(store), {}, {"store": store.digest, "residuals": maps.digest, "patch_masks": patches.digest}
        ),
    }
    write_scores(rows, scores, manifest, extra)


@torch.no_grad()
def score_head(
    name: str,
    *,
    split: str,
    inputs: int,
    store_path: str | Path,
    checkpoint_dir: str | Path,
    config: BenchmarkConfig,
    features: FeaturesConfig,
    scores: str | Path,
    manifest: str | Path,
    device: str | torch.device = "cpu",
) -> None:
    """Score a motion head's masks of the input views, where it gates, at `benchmark.mask_threshold`.

    Args:
        name: stage of the checkpoint, e.g. `distill` or `joint`; the rows' method is `head:NAME`.
        split: its name in the tables and in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames, with true masks.
        checkpoint_dir: the checkpoint.
        config: the `benchmark` section.
        features: the `features` section, for heads that use features.
        scores: CSV of tidy rows to write, region `mask`.
        manifest: JSON to write beside it.
        device: where to compute.

    Raises:
        ValueError: no windows, no true masks, or a model without a motion head.
    """
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    windows = windows_of(store, split, inputs, config)
    model, about = load_checkpoint(checkpoint_dir, device=device)
    model.eval()
    backbone = load_backbone(model, features, device)
    rows = []
    for batch in window_batches(store, windows, device=device):
        logits = model(batch.images, inputs, features=head_features(model, batch.images, backbone), motion=True)
        assert logits.motion_logits is not None
        marked = logits.motion_logits[:, :inputs, 0].float().sigmoid() > config.mask_threshold
        starts = store.offsets[[store.scenes.index(scene) for scene in batch.scenes]]
        truth = true_masks(store, (starts[:, None] + batch.frames[:, :inputs]).ravel())
        columns = score_frames(marked.to(torch.uint8).flatten(0, 1).cpu().numpy(), truth)
        rows += rows_of(
            {"mask": {metric: column.tolist() for metric, column in columns.items()}},
            method=f"head:{name}",
            split=split,
            inputs=inputs,
            scenes=[scene for scene in batch.scenes for _ in range(inputs)],
            frames=batch.frames[:, :inputs].ravel().tolist(),
        )
    digests = {
        "store": store.digest,
        "checkpoint": about.weights_digest,
        "backbone": backbone.name if backbone else "none",
    }
    extra = {
        "kind": "masks",
        "stage_version": STAGE_VERSION,
        "method": f"head:{name}",
        "split": split,
        "inputs": inputs,
        "definitions": MASK_DEFINITIONS,
        "mask_threshold": config.mask_threshold,
        **describe_split(len(store), windows.skipped, digests),
    }
    write_scores(rows, scores, manifest, extra)
