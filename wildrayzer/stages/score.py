"""Scoring jobs of renderings: one (method, split, number of inputs), or one renderer's health, at a time."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.benchmark import BenchmarkConfig, Method
from wildrayzer.config.features import FeaturesConfig
from wildrayzer.data.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.health import renderer_health
from wildrayzer.evaluation.lpips import DEFINITIONS, NO_WEIGHTS, load_lpips
from wildrayzer.evaluation.methods import (
    WindowBatch,
    check_method,
    load_backbone,
    render_method,
    window_batches,
    windows_of,
)
from wildrayzer.evaluation.renderings import IMAGE_DEFINITIONS
from wildrayzer.evaluation.scores import describe_split, rows_of, write_scores
from wildrayzer.evaluation.view_synthesis import REGIONS, panel, score_batch
from wildrayzer.models import ViewSynthesis
from wildrayzer.provenance import code_versions, write_bytes_atomic, write_json

DEFINED = {**IMAGE_DEFINITIONS, **DEFINITIONS}
STAGE_VERSION = 2
"""Raised when a change of code changes scores."""
_WORST = 3


def score_method(
    method: Method,
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
) -> None:
    """Render and score one method on the evaluation windows of one split.

    Args:
        method: row of the tables; `evaluation.methods.RECIPES[method].stage` says which checkpoint it loads.
        split: its name in the tables and in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames.
        checkpoint_dir: the checkpoint; None for the image-only controls.
        config: the `benchmark` section.
        features: the `features` section, for motion heads that use features.
        scores: CSV of tidy rows to write.
        manifest: JSON to write beside it: definitions, counts of scenes, frames and NaN, digests.
        panels: NPZ to write with `scene`, `frame` and `view_synthesis.panel` of the first `benchmark.panels` scenes and
            of the worst of the others.
        device: where to render.
        force: score a number of inputs that the checkpoint was not trained with; the tables flag it.

    Raises:
        ValueError: a split without what the method needs or without windows, or a number of inputs not trained for.
    """
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    recipe = check_method(method, store)
    windows = windows_of(store, split, inputs, config)
    model, backbone, digests, untrained = None, None, {}, False
    if recipe.stage is not None:
        if checkpoint_dir is None:
            raise ValueError(f"method {method} renders with the {recipe.stage} checkpoint; name its folder")
        model, about = load_checkpoint(checkpoint_dir, device=device)
        model.eval()
        digests = {"checkpoint": about.weights_digest, "checkpoint_stage": about.stage}
        untrained = inputs not in about.inputs
        if untrained and not force:
            raise ValueError(
                f"benchmark.inputs = {inputs}: {checkpoint_dir} was trained with {list(about.inputs)} input views; "
                "score those, or force it and have the tables flag it"
            )
        if recipe.gate == "own":
            backbone = load_backbone(model, features, device)
            digests["backbone"] = backbone.name if backbone else "none"
    lpips = load_lpips(config.lpips_weights, device) if config.lpips_weights else None
    rows: list[tuple[Any, ...]] = []
    panels_shown = _Panels(config.panels)
    for batch in window_batches(store, windows, device=device):
        rendering, result = render_method(method, batch, model=model, backbone=backbone)
        targets = batch.frames[:, inputs:]
        values = score_batch(rendering, batch, lpips=lpips)
        rows += rows_of(
            values,
            method=method,
            split=split,
            inputs=inputs,
            scenes=[scene for scene in batch.scenes for _ in range(targets.shape[1])],
            frames=targets.ravel().tolist(),
        )
        panels_shown.add(rendering, batch, values, result)
    _write_panels(panels, panels_shown.arrays())
    extra = {
        "kind": "views",
        "stage_version": STAGE_VERSION,
        "method": method,
        "split": split,
        "inputs": inputs,
        "forced": untrained,
        "definitions": {name: text for name, text in DEFINED.items() if name in {row[-2] for row in rows}},
        "regions": REGIONS,
        "lpips": "scored" if lpips else NO_WEIGHTS,
        **describe_split(len(store), windows.skipped, {"store": store.digest, **digests}),
    }
    write_scores(rows, scores, manifest, extra)


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
        store_path: the split's frames; with true cameras, or R² is left out.
        checkpoint_dir: the static renderer.
        config: the `benchmark` section.
        out: JSON to write.
        device: where to render.

    Raises:
        ValueError: no windows, or windows with fewer than two targets.
    """
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    windows = windows_of(store, split, inputs, config)
    model, about = load_checkpoint(checkpoint_dir, device=device)

    def batches() -> Iterator[tuple[WindowBatch, np.ndarray | None]]:
        for batch in window_batches(store, windows, device=device):
            if not store.has_cameras:
                yield batch, None
                continue
            scenes = [store.scenes.index(scene) for scene in batch.scenes]
            c2w, _ = store.cameras((store.offsets[scenes][:, None] + batch.frames).ravel())
            yield batch, c2w.reshape(*batch.frames.shape, 4, 4)

    health = renderer_health(model.eval(), batches(), resamples=config.bootstrap, seed=config.seed)
    extra = {"kind": "health", "stage_version": STAGE_VERSION, "split": split, "inputs": inputs}
    about_split = describe_split(
        len(store), windows.skipped, {"store": store.digest, "checkpoint": about.weights_digest}
    )
    write_json(out, {"schema": 1, **code_versions(), **extra, **about_split, **health})


class _Panels:
    """Pictures of the first scenes of a split, and of those that are rendered worst."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.first: list[dict[str, Any]] = []
        self.worst: list[tuple[float, dict[str, Any]]] = []

    def add(
        self,
        rendering: torch.Tensor,
        batch: WindowBatch,
        scores: dict[str, dict[str, list[float]]],
        result: ViewSynthesis | None,
    ) -> None:
        """Consider a batch; `scores` of `score_batch` rank its scenes, by the static region where there is one."""
        if not self.limit:
            return
        psnr = np.reshape(scores.get("static", scores.get("full", {}))["psnr"], (len(batch.scenes), -1))
        middle = batch.num_inputs + rendering.shape[1] // 2
        for number, scene in enumerate(batch.scenes):
            pictures = {name: value.numpy() for name, value in panel(rendering, batch, number, result=result).items()}
            shown = {"scene": scene, "frame": int(batch.frames[number, middle]), **pictures}
            if len(self.first) < self.limit:
                self.first.append(shown)
            elif np.isfinite(psnr[number]).any():
                self.worst.append((float(psnr[number][np.isfinite(psnr[number])].mean()), shown))
        self.worst = sorted(self.worst, key=lambda entry: entry[0])[:_WORST]

    def arrays(self) -> dict[str, np.ndarray]:
        """All pictures by name, first scenes first."""
        chosen = [*self.first, *(shown for _, shown in self.worst)]
        return {name: np.array([shown[name] for shown in chosen]) for name in (chosen[0] if chosen else {})}


def _write_panels(path: str | Path, pictures: dict[str, Any]) -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, **pictures)
    write_bytes_atomic(path, buffer.getvalue())
