"""Scoring jobs of a renderer's health: cameras, order of frames, swapped poses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.metrics.camera_health import renderer_health
from wildrayzer.evaluation.tables.scores import describe_split
from wildrayzer.evaluation.window_batches import WindowBatch, describe_windows, window_batches, windows_of
from wildrayzer.io.files import write_json
from wildrayzer.io.provenance import code_versions
from wildrayzer.models.precision import keep_float32
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["score_renderer"]


def score_renderer_health(
    *,
    split: str,
    inputs: int,
    store_path: str | Path,
    checkpoint_dir: str | Path,
    config: BenchmarkConfig,
    out: str | Path,
    device: str | torch.device = "cpu",
) -> None:
    """Write one JSON with a renderer's camera R², sensitivity to frame order and to swapped poses; see `health`.

    Args:
        split: its name in the tables and in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames; without true cameras R² is left out, as for a network that is given them.
        checkpoint_dir: the static renderer.
        config: the `benchmark` section.
        out: JSON to write.
        device: where to render.

    Raises:
        ValueError: no windows, or windows with fewer than two targets, or a rendering that is not finite.
    """
    keep_float32()
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    windows = windows_of(store, split, inputs, config)
    model, about = load_checkpoint(checkpoint_dir, device=device)

    def batches() -> Iterator[tuple[WindowBatch, np.ndarray | None]]:
        given = model.config.cameras == "given"
        for batch in window_batches(store, windows, device=device, cameras=given):
            if given or not store.has_cameras:
                yield batch, None
                continue
            scenes = [store.scenes.index(scene) for scene in batch.scenes]
            c2w, _ = store.cameras((store.offsets[scenes][:, None] + batch.frames).ravel())
            yield batch, c2w.reshape(*batch.frames.shape, 4, 4)

    health = renderer_health(model.eval(), batches(), resamples=config.bootstrap, seed=config.seed)
    described = describe_windows(windows, store, split, inputs, config)
    extra = {"kind": "health", "stage_version": STAGE_VERSION, "split": split, "inputs": inputs,
             "evaluation_windows": described}  # fmt: skip
    about_split = describe_split(
        len(store), windows.skipped, {"store": store.digest, "checkpoint": about.weights_digest}
    )
    write_json(out, {"schema": 1, **code_versions(), **extra, **about_split, **health}, checksum=True)
