"""Plots of a cache: distributions of PSNR, coverage and disagreement over frames, the split and the image."""

import numpy as np
from matplotlib.axes import Axes

from wildrayzer.report.page.charts import BLUE, GREEN, GREY, ORANGE, PURPLE, chart, legend_above
from wildrayzer.report.page.page import Picture
from wildrayzer.report.page.pictures import heat, map_uri
from wildrayzer.tools.inspect.files import CacheFiles
from wildrayzer.tools.inspect.frame_statistics import FrameStatistics

_BINS = 30
_GROUPS = 40
_SHARE = "share of the frames (%)"


def plots(files: CacheFiles, statistics: FrameStatistics) -> tuple[Picture, ...]:
    """All plots that the cache has values for."""
    pictures = [_psnr(files, statistics)]
    if files.patches:
        pictures.append(_coverage(statistics))
    pictures.append(_disagreement(statistics))
    pictures.append(_along(files, statistics))
    if files.patches:
        pictures.append(_coverage_by_psnr(files, statistics))
    return tuple(pictures)


def places(files: CacheFiles, statistics: FrameStatistics) -> tuple[Picture, ...]:
    """Means of maps and masks at each place of the image, where borders or corners that are always marked show."""
    frames = statistics.frame[statistics.finite]
    pictures = []
    for name, title in (("d_dino", "feature residual"), ("d_ssim", "SSIM residual")):
        if len(frames):
            pictures.append(_place(files.maps.all(name)[frames].mean(0, dtype=np.float64), f"Mean {title}"))
    if files.patches:
        pictures.append(
            _place((files.patches.all("mask")[statistics.frame] == 1).mean(0), "Patch marked, share of frames")
        )
    return tuple(pictures)


def _place(values: np.ndarray, name: str) -> Picture:
    high = max(float(values.max()), 1e-6)
    caption = f"{name}: black 0, brightest {high:.3g}; mean {float(values.mean()):.3g}."
    return Picture(map_uri(heat(values, 0.0, high)), f"{name} at each place of the image", caption)


def _histogram(axes: Axes, values: np.ndarray, edges: np.ndarray, colour: str, label: str) -> None:
    values = values[np.isfinite(values)]
    if len(values):
        weights = np.full(len(values), 100 / len(values))
        axes.hist(
            values, bins=edges.tolist(), weights=weights, histtype="step", color=colour, label=label, linewidth=1.6
        )


def _psnr(files: CacheFiles, statistics: FrameStatistics) -> Picture:
    values = statistics.psnr[np.isfinite(statistics.psnr)]
    low, high = (float(np.floor(values.min())), float(np.ceil(values.max()))) if len(values) else (0.0, 1.0)
    edges = np.linspace(low, max(high, low + 1), _BINS + 1)

    def draw(axes: Axes) -> None:
        _histogram(axes, values, edges, BLUE, "frames")
        axes.axvline(files.psnr_filter, color="black", linestyle="--", linewidth=1, label="filter")
        axes.set(xlabel="rendering PSNR of a frame (dB)", ylabel=_SHARE)
        legend_above(axes)

    text = f"Rendering PSNR. Frames left of the dashed line, {files.psnr_filter:g} dB, do not train the motion head."
    return Picture(chart(draw), "Histogram of rendering PSNR", text)


def _coverage(statistics: FrameStatistics) -> Picture:
    shown = [
        ("patch masks", statistics.patch, ORANGE),
        ("refined masks", statistics.pixel, BLUE),
        ("truth", statistics.true, GREEN),
    ]
    shown = [entry for entry in shown if np.isfinite(entry[1]).any()]
    edges = np.linspace(0, 100 * max(float(np.nanmax(values)) for _, values, _ in shown) + 1e-6, _BINS + 1)

    def draw(axes: Axes) -> None:
        for label, values, colour in shown:
            _histogram(axes, 100 * values, edges, colour, label)
        axes.set(xlabel="frame covered (%)", ylabel=_SHARE)
        legend_above(axes, columns=3)

    return Picture(chart(draw), "Histogram of mask coverage", "Coverage of the masks; empty masks are in the bar at 0.")


def _disagreement(statistics: FrameStatistics) -> Picture:
    shown = [("maps: 1 − correlation", statistics.maps, PURPLE), ("masks: 1 − IoU", statistics.masks, BLUE)]

    def draw(axes: Axes) -> None:
        for label, values, colour in shown:
            _histogram(axes, values, np.linspace(0, 2, 41), colour, label)
        axes.set(xlabel="disagreement", ylabel=_SHARE)
        legend_above(axes)

    text = (
        "Disagreement of the two maps (0 equal, 1 unrelated, 2 opposite), and of patch mask and refined mask (0 equal, "
        "1 disjoint)."
    )
    return Picture(chart(draw), "Histogram of disagreement", text)


def _along(files: CacheFiles, statistics: FrameStatistics) -> Picture:
    groups = np.array_split(np.arange(len(statistics)), min(_GROUPS, len(statistics)))
    where = [100 * (float(statistics.frame[rows].mean()) + 0.5) / files.maps.num_frames for rows in groups]
    lines = [("kept by the filter", statistics.psnr > files.psnr_filter, BLUE)]
    if files.patches:
        lines += [("empty masks", statistics.coverage == 0, GREY), ("coverage", statistics.coverage, ORANGE)]

    def draw(axes: Axes) -> None:
        for label, values, colour in lines:
            axes.plot(where, [100 * float(np.nanmean(values[rows])) for rows in groups], color=colour, label=label)
        axes.set(xlabel="place in the split (% of its frames)", ylabel="%", ylim=(-2, 102))
        legend_above(axes, columns=3)

    text = "Along the split, in groups of neighbouring frames: damaged frames or other data show as a step."
    return Picture(chart(draw), "Kept share, empty masks and coverage along the split", text)


def _coverage_by_psnr(files: CacheFiles, statistics: FrameStatistics) -> Picture:
    known = np.isfinite(statistics.psnr) & np.isfinite(statistics.coverage)
    order = np.flatnonzero(known)[np.argsort(statistics.psnr[known], kind="stable")]
    groups = [rows for rows in np.array_split(order, min(20, max(1, len(order)))) if len(rows)]
    where = [float(statistics.psnr[rows].mean()) for rows in groups]
    quartiles = [np.quantile(100 * statistics.coverage[rows], (0.25, 0.5, 0.75)) for rows in groups]
    low, middle, high = np.array(quartiles).reshape(-1, 3).T

    def draw(axes: Axes) -> None:
        axes.fill_between(where, low, high, color=BLUE, alpha=0.18, linewidth=0, label="middle half of the frames")
        axes.plot(where, middle, color=BLUE, label="median")
        axes.axvline(files.psnr_filter, color="black", linestyle="--", linewidth=1)
        axes.set(xlabel="rendering PSNR (dB)", ylabel="frame covered (%)")
        legend_above(axes)

    text = "Coverage by PSNR. The filter leaves out the frames left of the dashed line."
    return Picture(chart(draw), "Coverage by rendering PSNR", text)
