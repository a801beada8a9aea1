"""Scoring jobs of masks of the input views, where they gate: motion heads, co-segmentation, masks from files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.methods.external import MASK_SUFFIXES, ExternalFiles
from wildrayzer.evaluation.methods.methods import WindowBatch, head_features, load_backbone, window_batches, windows_of
from wildrayzer.evaluation.methods.view_rows import coseg_masks, file_masks
from wildrayzer.evaluation.metrics.masks import MASK_DEFINITIONS, score_frames, true_masks
from wildrayzer.evaluation.tables.scores import describe_split, rows_of, write_scores
from wildrayzer.models.precision import keep_float32
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["score_input_masks"]


@dataclass(frozen=True)
class InputMasks:
    """A row of the mask tables that speaks of input views."""

    row: str
    """Name of the row."""
    masks: Callable[[WindowBatch], UInt8[np.ndarray, "b k h w"]]
    """Masks of the input views of a batch, 1 = transient."""
    digests: dict[str, str]
    """What they are made from."""
    about: dict[str, Any] = field(default_factory=dict)
    """Further entries of the manifest."""
    files: ExternalFiles | None = None
    """Where they lie, if they are files."""
    trained: tuple[int, ...] | None = None
    """Numbers of input views that the checkpoint was trained with; None where there is none."""


def head_masks(
    name: str,
    checkpoint_dir: str | Path,
    *,
    config: BenchmarkConfig,
    features: FeaturesConfig,
    device: str | torch.device = "cpu",
) -> InputMasks:
    """A motion head's masks at `benchmark.mask_threshold`, row `head:NAME`.

    Raises:
        ValueError: a broken checkpoint, or one without a motion head.
    """
    model, about = load_checkpoint(checkpoint_dir, device=device)
    model.eval()
    backbone = load_backbone(model, features, device)

    def masks(batch: WindowBatch) -> np.ndarray:
        count = batch.num_inputs
        own = head_features(model, batch.images[:, :count], backbone)
        result = model(batch.images, count, features=own, motion=True, gate_only=True)
        assert result.motion_logits is not None
        marked = result.motion_logits[:, :, 0].float().sigmoid() > config.mask_threshold
        return marked.to(torch.uint8).cpu().numpy()

    digests = {"checkpoint": about.weights_digest, "backbone": backbone.name if backbone else "none"}
    extra = {"mask_threshold": config.mask_threshold}
    return InputMasks(f"head:{name}", masks, digests, extra, trained=about.inputs)


def cosegmented(
    *, config: BenchmarkConfig, features: FeaturesConfig, patch_size: int, device: str | torch.device = "cpu"
) -> InputMasks:
    """Co-segmentation of backbone features, row `coseg`."""
    backbone = build_backbone(features, patch_size=patch_size, device=device)
    return InputMasks("coseg", lambda batch: coseg_masks(batch, backbone, config.coseg), {"backbone": backbone.name})


def masks_from_files(name: str, folder: str | Path) -> InputMasks:
    """Masks of another tool, row `file:NAME`.

    Raises:
        ValueError: no such folder.
    """
    files = ExternalFiles(folder, MASK_SUFFIXES)
    return InputMasks(f"file:{name}", lambda batch: file_masks(batch, files), files.digests, files=files)


@torch.no_grad()
def score_input_masks(
    source: InputMasks,
    *,
    split: str,
    inputs: int,
    store_path: str | Path,
    config: BenchmarkConfig,
    scores: str | Path,
    manifest: str | Path,
    device: str | torch.device = "cpu",
    variant: str | None = None,
) -> None:
    """Score masks of the input views of a split's evaluation windows.

    Args:
        source: of `head_masks`, `cosegmented` or `masks_from_files`.
        split: its name in the tables and in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames, with true masks.
        config: the `benchmark` section.
        scores: CSV of tidy rows to write, region `mask`.
        manifest: JSON to write beside it.
        device: where to compute.
        variant: ablation that the masks belong to; the row is then called `ROW@VARIANT`.

    Raises:
        ValueError: no windows, no true masks, a model without a motion head or not trained for this number of views,
            or files of another size.
    """
    keep_float32()
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    windows = windows_of(store, split, inputs, config)
    windowless = len(windows.skipped)
    if source.files is not None:
        windows = source.files.complete(store, windows, inputs=True)
    untrained = source.trained is not None and inputs not in source.trained
    if untrained and not config.force_inputs:
        raise ValueError(
            f"benchmark.inputs = {inputs}: {source.row} was trained with {list(source.trained or ())} input views; "
            "score those, or set benchmark.force_inputs: true and have the tables flag it"
        )
    label = source.row if variant is None else f"{source.row}@{variant}"
    rows = []
    for batch in window_batches(store, windows, device=device):
        starts = store.offsets[[store.scenes.index(scene) for scene in batch.scenes]]
        frames = batch.frames[:, :inputs]
        truth = true_masks(store, (starts[:, None] + frames).ravel())
        found = source.masks(batch)
        columns = score_frames(found.reshape(-1, *found.shape[2:]), truth)
        rows += rows_of(
            {"mask": {metric: column.tolist() for metric, column in columns.items()}},
            method=label,
            split=split,
            inputs=inputs,
            scenes=[scene for scene in batch.scenes for _ in range(inputs)],
            frames=frames.ravel().tolist(),
        )
    extra = {
        "kind": "masks",
        "stage_version": STAGE_VERSION,
        "method": label,
        "split": split,
        "inputs": inputs,
        "forced": untrained,
        "definitions": MASK_DEFINITIONS,
        **source.about,
        **describe_split(
            len(store),
            windows.skipped,
            {"store": store.digest, **source.digests},
            without_files=len(windows.skipped) - windowless,
        ),
    }
    write_scores(rows, scores, manifest, extra)
