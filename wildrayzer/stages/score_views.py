"""Jobs of the view-synthesis tables: scores of one row on one set, and the evaluation windows of a set as a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.data.sampling.index_file import EvaluationWindows
from wildrayzer.evaluation.methods.aligned import TwinClips
from wildrayzer.evaluation.methods.external import MASK_SUFFIXES, RENDERING_SUFFIXES, ExternalFiles
from wildrayzer.evaluation.methods.panels import Panels
from wildrayzer.evaluation.methods.render_method import check_finite, check_method
from wildrayzer.evaluation.methods.view_rows import ViewRow
from wildrayzer.evaluation.metrics.lpips import NO_WEIGHTS, load_lpips
from wildrayzer.evaluation.metrics.view_synthesis import (
    IMAGE_DEFINITIONS,
    LEAKAGE_DEFINITIONS,
    REGIONS,
    score_batch,
)
from wildrayzer.evaluation.scoring import ScoringJob, is_forced
from wildrayzer.evaluation.tables.scores import describe_split, write_scores
from wildrayzer.evaluation.window_batches import describe_windows, window_batches, windows_of
from wildrayzer.io.files import write_json
from wildrayzer.models.precision import keep_float32, rendering_in
from wildrayzer.run.row_specs import RowSpec
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["score_views"]


@dataclass(frozen=True, kw_only=True)
class ViewScoringJob(ScoringJob):
    """What renders, or is read, and scored: one row on one set."""

    row: str
    """Name of the row in the tables."""
    spec: RowSpec
    """How it renders."""
    config: BenchmarkConfig
    """The `benchmark` section."""
    features: FeaturesConfig
    """The `features` section, for motion heads and co-segmentation."""
    panels: str | Path
    """NPZ file of pictures to write: of the first `benchmark.panels` scenes, and of the worst of the others."""
    checkpoint_dir: str | Path | None = None
    """The checkpoint; None for rows without a network."""
    twin_path: str | Path | None = None
    """Frames of clips that share the camera paths of the set's split; None leaves transferred renderings out."""
    folder: str | Path | None = None
    """Masks or renderings that an external row reads."""
    device: str | torch.device = "cpu"
    """Where to render."""


def score_views(job: ViewScoringJob) -> None:
    """Render, or read, and score one row on the evaluation windows of one set.

    Raises:
        ValueError: a split without what the row needs or without windows, a number of inputs not trained for, files of
            another size, or a rendering that is not finite.
    """
    keep_float32()
    store = FrameStore(job.store_path, preload_mb=PRELOAD_MB)
    row, windows, without_files, described = _open(job, store)
    forced = is_forced(job.inputs, row.trained, name=str(job.checkpoint_dir), config=job.config)
    lpips = load_lpips(job.config.lpips_weights, job.device) if job.config.lpips_weights else None
    rows: list[tuple[Any, ...]] = []
    twins = None if job.twin_path is None else TwinClips(job.twin_path)
    panels = Panels(job.config.panels)
    for batch in window_batches(store, windows, device=job.device, cameras=row.takes_cameras):
        with rendering_in(job.config.precision, job.device):
            gate = row.gate_inputs(batch)
            rendering, result = row.render(batch, gate)
            others = {"psnr_aligned": row.render_aligned(batch, gate, rendering)}
            if twins is not None:
                others["psnr_transferred"] = row.render_transferred(batch, gate, twins.images(batch))
        check_finite(rendering, batch.scenes, job.label(job.row))
        values = score_batch(rendering, batch, lpips=lpips)
        for metric, other in others.items():
            for region, scores in (score_batch(other, batch) if other is not None else {}).items():
                values[region][metric] = scores["psnr"]
        targets = batch.frames[:, job.inputs :]
        # Values come window by window, the targets of a window together.
        scenes = [scene for scene in batch.scenes for _ in range(targets.shape[1])]
        rows += job.rows(job.row, values, scenes=scenes, frames=targets.ravel().tolist())
        panels.add(rendering, batch, values, result)
    panels.write(job.panels)
    scored, definitions = {row[-2] for row in rows}, IMAGE_DEFINITIONS | LEAKAGE_DEFINITIONS
    digests = {"store": store.digest, **row.digests, **({} if twins is None else {"twin": twins.store.digest})}
    about = {
        **job.about(job.row, kind="views", stage_version=STAGE_VERSION),
        "forced": forced,
        "gate": row.spec.gate,
        "precision": row.precision(job.config.precision, job.features),
        "evaluation_windows": described,
        "definitions": {name: text for name, text in definitions.items() if name in scored},
        "regions": REGIONS,
        "lpips": "scored" if lpips else NO_WEIGHTS,
        **describe_split(len(store), windows.skipped, digests, without_files=without_files),
    }
    write_scores(rows, job.scores, job.manifest, about)


def _open(job: ViewScoringJob, store: FrameStore) -> tuple[ViewRow, EvaluationWindows, int, dict[str, Any]]:
    """The row, its windows, the number of scenes that have a window but not all files that the row reads, and the
    manifest entry of the set's windows."""
    spec = check_method(job.row, store, job.spec)
    windows = windows_of(store, job.split, job.inputs, job.config)
    described = describe_windows(windows, store, job.split, job.inputs, job.config)
    without_window, files = len(windows.skipped), None
    if spec.entry is not None and job.folder is not None:
        files = ExternalFiles(job.folder, RENDERING_SUFFIXES if spec.finished else MASK_SUFFIXES)
        windows = files.complete(store, windows, inputs=not spec.finished)
    row = ViewRow.open(
        job.row,
        spec,
        checkpoint_dir=job.checkpoint_dir,
        files=files,
        features=job.features,
        coseg=job.config.coseg,
        device=job.device,
    )
    if row.takes_cameras and not store.has_cameras:
        raise ValueError(
            f"{job.row}: its network takes true cameras (model.cameras: given), which {store.path} has none of; "
            f"leave it out for this split, or set benchmark.checkpoints.{job.row}.cameras: given, which does so"
        )
    return row, windows, len(windows.skipped) - without_window, described


def write_index(split: str, *, inputs: int, store_path: str | Path, config: BenchmarkConfig, out: str | Path) -> None:
    """Write the evaluation windows of a set, for those who render elsewhere.

    The file is `{scene: {"context": [...], "target": [...]} or null}`, in frame numbers within the clip; null stands
    for a scene without a window.

    Args:
        split: name of the set in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames.
        config: the `benchmark` section.
        out: JSON to write; it can be given as `benchmark.index` to freeze the windows.

    Raises:
        ValueError: as `windows_of`.
    """
    store = FrameStore(store_path)
    chosen = windows_of(store, split, inputs, config).entries(store.scenes)
    write_json(out, {name: chosen.get(name) for name in store.scenes})
