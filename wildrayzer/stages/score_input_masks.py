"""Scoring job of masks of the input views, where they gate: motion heads, co-segmentation, masks from files."""

import torch

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.methods.input_masks import InputMasks
from wildrayzer.evaluation.metrics.masks import MASK_DEFINITIONS, table_scores, true_masks
from wildrayzer.evaluation.scoring import ScoringJob, is_forced
from wildrayzer.evaluation.tables.scores import describe_split, write_scores
from wildrayzer.evaluation.window_batches import describe_windows, window_batches, windows_of
from wildrayzer.models.precision import keep_float32
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["score_input_masks"]


@torch.no_grad()
def score_input_masks(
    job: ScoringJob, masks: InputMasks, *, config: BenchmarkConfig, device: str | torch.device = "cpu"
) -> None:
    """Score masks of the input views of a split's evaluation windows, region `mask`.

    Args:
        job: the split, whose frames have true masks, and the files to write.
        masks: of `head_masks`, `cosegmented`, `leave_one_out_masks` or `masks_from_files`.
        config: the `benchmark` section.
        device: where to compute.

    Raises:
        ValueError: no windows, no true masks, a model without a motion head or not trained for this number of views,
            or files of another size.
    """
    keep_float32()
    store = FrameStore(job.store_path, preload_mb=PRELOAD_MB)
    windows = windows_of(store, job.split, job.inputs, config)
    described, without_window = describe_windows(windows, store, job.split, job.inputs, config), len(windows.skipped)
    if masks.files is not None:
        windows = masks.files.complete(store, windows, inputs=True)
    forced = is_forced(job.inputs, masks.trained, name=masks.row, config=config)
    rows = []
    for batch in window_batches(store, windows, device=device):
        starts = store.offsets[[store.scenes.index(scene) for scene in batch.scenes]]
        frames = batch.frames[:, : job.inputs]
        truth = true_masks(store, (starts[:, None] + frames).ravel())
        predicted = masks.masks(batch)
        columns = table_scores(predicted.reshape(-1, *predicted.shape[2:]), truth)
        values = {"mask": {metric: column.tolist() for metric, column in columns.items()}}
        scenes = [scene for scene in batch.scenes for _ in range(job.inputs)]
        rows += job.rows(masks.row, values, scenes=scenes, frames=frames.ravel().tolist())
    digests, without_files = {"store": store.digest, **masks.digests}, len(windows.skipped) - without_window
    about = {
        **job.about(masks.row, kind="masks", stage_version=STAGE_VERSION),
        "forced": forced,
        "evaluation_windows": described,
        "definitions": MASK_DEFINITIONS,
        **masks.about,
        **describe_split(len(store), windows.skipped, digests, without_files=without_files),
    }
    write_scores(rows, job.scores, job.manifest, about)
