"""How scores depend on how much moves, and on how well the static renderer renders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.tables.scores import read_scores
from wildrayzer.images import UNKNOWN
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.report.page.charts import COLOURS, chart, legend_above, plain
from wildrayzer.report.page.page import Block, Figures, Note, Picture
from wildrayzer.report.run_files import is_cache, is_store
from wildrayzer.run.expected import ExpectedScores
from wildrayzer.run.layout import RunLayout

_BINS, _LEAST = 6, 4
_BATCH = 256
_MASKS = ("pseudo:renderer", "refined:renderer", "head:distill", "head:joint")
_VIEWS = ("nearest", "static", "joint", "unmasked", "static_true_masks")


def relations(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Plots of every dynamic or pairs test split that has true masks and scores."""
    splits = [*config.data.of(role="dynamic", purpose="test"), *config.data.of(role="pairs", purpose="test")]
    blocks: list[Block] = []
    for split in splits:
        scores = _scores(config, layout, split)
        store = FrameStore(layout.store(split)) if is_store(layout.store(split)) else None
        if scores is None or store is None or not store.has_masks:
            blocks.append(Note(f"{split}: no scores or no true masks yet, so scores against motion are left out."))
            continue
        blocks.append(_plots(config, layout, split, store, scores))
    return blocks


def _scores(config: RunConfig, layout: RunLayout, split: str) -> pd.DataFrame | None:
    expected = ExpectedScores(config, layout)
    inputs = config.benchmark.inputs_of(split)[0]
    files = [layout.view_scores(*job) for job in expected.view_jobs() if job[1:] == (split, inputs)]
    files += [layout.mask_scores(predictor, name) for predictor, name in expected.mask_jobs() if name == split]
    files += [layout.head_scores(head, name) for head, name in expected.input_mask_jobs() if name == split]
    there = [file for file in files if Path(file).is_file()]
    return read_scores(there) if there else None


def _plots(config: RunConfig, layout: RunLayout, split: str, store: FrameStore, scores: pd.DataFrame) -> Figures:
    frames = _frame_numbers(store)
    motion = {key: 100 * value for key, value in zip(frames, _motion(store), strict=True)}
    pictures = []
    masks = _of(scores, "mask", "iou", _MASKS, scale=100.0)
    if masks:
        pictures.append(_plot(masks, motion, x="share of the frame that moves (%)", y="mask IoU (%)",
                              caption="Mask IoU against the size of what moves in the frame."))  # fmt: skip
    maps = layout.residuals(config.rounds, split)
    if masks and is_cache(maps):
        psnr = dict(zip(frames, ResidualMaps(maps).psnr.tolist(), strict=True))
        pictures.append(_plot(masks, psnr, x="rendering PSNR of the frame (dB)", y="mask IoU (%)",
                              caption="Mask IoU against how well the frozen renderer renders the frame, transients "
                              "included."))  # fmt: skip
    region = "ghost" if (scores["region"] == "ghost").any() else "static"
    views = _of(scores, region, "psnr", _VIEWS)
    if views:
        where = "against the clean frame" if region == "ghost" else "where nothing moves"
        pictures.append(_plot(views, motion, x="share of the target that moves (%)", y=f"PSNR, {region} region (dB)",
                              caption=f"PSNR of the {region} region, {where}, against the size of what moves in the "
                              "target."))  # fmt: skip
    text = f"Means over frames in {_BINS} bins of equally many frames; bars: standard error over frames."
    return Figures(f"Scores of {split} against motion size and rendering quality", tuple(pictures), text)


def _frame_numbers(store: FrameStore) -> list[tuple[str, int]]:
    owner = store.scene_of(np.arange(store.num_frames))
    within = np.arange(store.num_frames) - store.offsets[owner]
    return [(store.scenes[scene], int(frame)) for scene, frame in zip(owner, within, strict=True)]


def _motion(store: FrameStore) -> list[float]:
    """Share of the known pixels of every frame that move; NaN where none is known."""
    shares: list[float] = []
    for start in range(0, store.num_frames, _BATCH):
        masks = store.read_masks(np.arange(start, min(start + _BATCH, store.num_frames)))
        known = (masks != UNKNOWN).sum((1, 2))
        shares += np.where(known > 0, (masks == 1).sum((1, 2)) / np.maximum(known, 1), np.nan).tolist()
    return shares


def _of(
    scores: pd.DataFrame, region: str, metric: str, methods: Sequence[str], scale: float = 1.0
) -> dict[str, pd.Series]:
    """Finite values of each method by (scene, frame)."""
    here = scores[(scores["region"] == region) & (scores["metric"] == metric) & np.isfinite(scores["value"])]
    finite = {method: here[here["method"] == method].set_index(["scene", "frame"])["value"] for method in methods}
    return {method: scale * values for method, values in finite.items() if len(values) >= _LEAST}


def _plot(
    rows: Mapping[str, pd.Series], against: Mapping[tuple[str, int], float], *, x: str, y: str, caption: str
) -> Picture:
    return Picture(chart(_drawing(rows, against, x, y)), f"{y} against {x}", caption)


def _drawing(
    rows: Mapping[str, pd.Series], against: Mapping[tuple[str, int], float], x: str, y: str
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for (method, values), colour in zip(rows.items(), COLOURS, strict=False):
            places = np.array([against[key] for key in values.index])
            centres, means, errors = binned(places, values.to_numpy(float))
            axes.errorbar(centres, means, yerr=errors, color=colour, marker="o", markersize=3.5, capsize=2,
                          label=plain(method))  # fmt: skip
        axes.set(xlabel=x, ylabel=y)
        legend_above(axes)

    return draw


def binned(places: np.ndarray, values: np.ndarray, *, bins: int = _BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean place, mean value and its standard error in bins of equally many points, in the order of the places.

    Points whose place is not finite are left out; with fewer points than bins a bin holds one point, without an error.
    """
    finite = np.isfinite(places) & np.isfinite(values)
    order = np.argsort(places[finite], kind="stable")
    groups = [group for group in np.array_split(order, min(bins, max(1, len(order)))) if len(group)]
    places, values = places[finite], values[finite]
    errors = [values[g].std(ddof=1) / np.sqrt(len(g)) if len(g) > 1 else 0.0 for g in groups]
    return (
        np.array([places[g].mean() for g in groups]),
        np.array([values[g].mean() for g in groups]),
        np.array(errors),
    )
