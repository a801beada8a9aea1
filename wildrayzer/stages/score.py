"""Scoring jobs of renderings: one (method, split, number of inputs) at a time."""

from pathlib import Path
from typing import Any

import torch

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.methods.external import MASK_SUFFIXES, RENDERING_SUFFIXES, ExternalFiles
from wildrayzer.evaluation.methods.methods import check_finite, check_method, window_batches, windows_of
from wildrayzer.evaluation.methods.panels import Panels
from wildrayzer.evaluation.methods.renderings import IMAGE_DEFINITIONS
from wildrayzer.evaluation.methods.view_rows import ViewRow
from wildrayzer.evaluation.metrics.lpips import DEFINITIONS, NO_WEIGHTS, load_lpips
from wildrayzer.evaluation.metrics.view_synthesis import REGIONS, score_batch
from wildrayzer.evaluation.tables.scores import describe_split, rows_of, write_scores
from wildrayzer.models.precision import keep_float32
from wildrayzer.run.row_specs import RowSpec
from wildrayzer.run.stage_versions import STAGE_VERSIONS

DEFINED = {**IMAGE_DEFINITIONS, **DEFINITIONS}
STAGE_VERSION = STAGE_VERSIONS["score_views"]


def score_method(
    method: str,
    *,
    split: str,
    inputs: int,
    store_path: str | Path,
    checkpoint_dir: str | Path | None,
    config: BenchmarkConfig,
    features: FeaturesConfig,
    scores: str | Path,
    manifest: str | Path,
    panels: str | Path,
    device: str | torch.device = "cpu",
    force: bool = False,
    spec: RowSpec | None = None,
    folder: str | Path | None = None,
    variant: str | None = None,
) -> None:
    """Render, or read, and score one row on the evaluation windows of one set.

    Args:
        method: row of the tables.
        split: name of the set in the tables and in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames.
        checkpoint_dir: the checkpoint; None for rows without a network.
        config: the `benchmark` section.
        features: the `features` section, for motion heads and co-segmentation.
        scores: CSV of tidy rows to write.
        manifest: JSON to write beside it: definitions, counts of scenes, frames and NaN, digests.
        panels: NPZ to write with `scene`, `frame` and `view_synthesis.panel` of the first `benchmark.panels` scenes and
            of the worst of the others.
        device: where to render.
        force: score a number of inputs that the checkpoint was not trained with; the tables flag it.
        spec: of an external row; None looks up a built-in one.
        folder: of the masks or renderings that an external row reads.
        variant: ablation that the scores belong to; rows are then called `METHOD@VARIANT`.

    Raises:
        ValueError: a split without what the row needs or without windows, a number of inputs not trained for, files of
            another size, or a rendering that is not finite.
    """
    keep_float32()
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    spec = check_method(method, store, spec)
    windows = windows_of(store, split, inputs, config)
    windowless, files = len(windows.skipped), None
    if spec.entry is not None and folder is not None:
        files = ExternalFiles(folder, RENDERING_SUFFIXES if spec.finished else MASK_SUFFIXES)
        windows = files.complete(store, windows, inputs=not spec.finished)
    row = ViewRow.open(
        method,
        spec,
        checkpoint_dir=checkpoint_dir,
        files=files,
        features=features,
        coseg=config.coseg,
        device=device,
    )
    untrained = row.trained is not None and inputs not in row.trained
    if untrained and not (force or config.force_inputs):
        raise ValueError(
            f"benchmark.inputs = {inputs}: {checkpoint_dir} was trained with {list(row.trained or ())} input views; "
            "score those, or set benchmark.force_inputs: true and have the tables flag it"
        )
    label = method if variant is None else f"{method}@{variant}"
    lpips = load_lpips(config.lpips_weights, device) if config.lpips_weights else None
    rows: list[tuple[Any, ...]] = []
    shown = Panels(config.panels)
    for batch in window_batches(store, windows, device=device):
        rendering, result = row.render(batch)
        check_finite(rendering, batch.scenes, label)
        targets = batch.frames[:, inputs:]
        values = score_batch(rendering, batch, lpips=lpips)
        rows += rows_of(
            values,
            method=label,
            split=split,
            inputs=inputs,
            scenes=[scene for scene in batch.scenes for _ in range(targets.shape[1])],
            frames=targets.ravel().tolist(),
        )
        shown.add(rendering, batch, values, result)
    shown.write(panels)
    extra = {
        "kind": "views",
        "stage_version": STAGE_VERSION,
        "method": label,
        "split": split,
        "inputs": inputs,
        "forced": untrained,
        "definitions": {name: text for name, text in DEFINED.items() if name in {row[-2] for row in rows}},
        "regions": REGIONS,
        "lpips": "scored" if lpips else NO_WEIGHTS,
        **describe_split(
            len(store),
            windows.skipped,
            {"store": store.digest, **row.digests},
            without_files=len(windows.skipped) - windowless,
        ),
    }
    write_scores(rows, scores, manifest, extra)
