"""Distributions of rendering PSNR and mask coverage over the frames of each split."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.evaluation.metrics.masks import BATCH
from wildrayzer.images import UNKNOWN
from wildrayzer.report.page.charts import COLOURS, chart, legend_above, plain
from wildrayzer.report.page.page import Block, Figures, Note, Picture, TextTable
from wildrayzer.report.run_files import NO_WINDOWS, MaskFiles
from wildrayzer.run.layout import RunLayout


@dataclass(frozen=True)
class SplitMasks:
    """Measures of every computed frame of a split's pseudo-masks from one predictor."""

    split: str
    predictor: str
    psnr: Float[np.ndarray, " f"]
    """Rendering PSNR, dB."""
    patch: Float[np.ndarray, " f"]
    """Share of the frame that the patch mask marks."""
    pixel: Float[np.ndarray, " f"]
    """Share of the frame that the refined mask marks; NaN for controls, which are not refined."""
    true: Float[np.ndarray, " f"] | None
    """Share of the known pixels that the true mask marks."""


def mask_distributions(config: RunConfig, layout: RunLayout) -> list[Block]:
    """A table over splits and predictors, and plots of what the renderer's masks look like."""
    learned = [config.data.dynamic_train] if config.data.dynamic_train else []
    shown = (*learned, *config.data.of(purpose="test"), *config.data.of(purpose="control"))
    measured: list[SplitMasks] = []
    notes: list[Block] = []
    for split in shown:
        predictors = ("renderer",) if split == config.data.dynamic_train else config.benchmark.mask_sources
        for predictor in predictors:
            files = MaskFiles.open(layout, config, split, predictor)
            if files is None:
                continue
            if files.any_computed:
                measured.append(_measure(files, predictor))
            else:
                notes.append(Note(f"{split}, {predictor}: {NO_WINDOWS}, so its distributions are left out."))
    if not measured:
        return notes or [Note("No pseudo-masks are made yet, so their distributions are left out.")]
    own = [masks for masks in measured if masks.predictor == "renderer"]
    if not own:
        notes.append(Note("The renderer's pseudo-masks are not made yet, so their distributions are left out."))
        return [_table(measured, config), *notes]
    return [_table(measured, config), Figures("Distributions", (_psnr(own, config), _coverage(own))), *notes]


def _measure(files: MaskFiles, predictor: str) -> SplitMasks:
    frames = np.flatnonzero(files.maps.window >= 0)
    patch = (files.patches.all("mask")[frames] == 1).mean((1, 2))
    pixel = np.full(len(frames), np.nan)
    if files.pixels is not None:
        parts = (
            (files.pixels.span("mask", start, start + BATCH) == 1).mean((1, 2))
            for start in range(0, files.pixels.num_frames, BATCH)
        )
        pixel = np.concatenate(list(parts))[frames]
    true = None
    if files.store.has_masks:
        masks = files.store.read_masks(frames)
        true = (masks == 1).sum((1, 2)) / np.maximum((masks != UNKNOWN).sum((1, 2)), 1)
    return SplitMasks(files.split, predictor, files.maps.psnr[frames], patch, pixel, true)


def _table(measured: list[SplitMasks], config: RunConfig) -> TextTable:
    limit = config.distill.psnr_filter
    rows = [_table_row(masks, limit) for masks in measured]
    columns = ("split", "predictor", "frames", "mean PSNR, dB", f"over {limit:g} dB", "patch masks cover",
               "pixel masks cover", "empty pixel masks", "true masks cover")  # fmt: skip
    notes = (
        "Predictor: what stands for the rendering. renderer: the frozen renderer. Controls: nearest copies the nearest "
        "input frame, blurred blurs the target. Controls are not refined to pixel masks.",
        "Frozen clips: the objects that the true masks mark stand still there, so nothing should be covered.",
    )
    return TextTable("Pseudo-masks by split", columns, tuple(rows), notes)


def _table_row(masks: SplitMasks, limit: float) -> tuple[str, ...]:
    refined = bool(np.isfinite(masks.pixel).all())
    return (
        masks.split, masks.predictor, str(len(masks.psnr)), f"{masks.psnr.mean():.2f}",
        f"{(masks.psnr > limit).mean():.1%}", f"{masks.patch.mean():.1%}",
        f"{masks.pixel.mean():.1%}" if refined else "–",
        f"{(masks.pixel == 0).mean():.1%}" if refined else "–",
        "–" if masks.true is None else f"{masks.true.mean():.1%}",
    )  # fmt: skip


def _psnr(measured: list[SplitMasks], config: RunConfig) -> Picture:
    limit = config.distill.psnr_filter
    everything = np.concatenate([masks.psnr for masks in measured])
    edges = np.linspace(np.floor(everything.min()), np.ceil(everything.max()) + 0.1, 31)

    def draw(axes: Axes) -> None:
        for masks, colour in zip(measured, _colours(len(measured)), strict=True):
            _outline(axes, masks.psnr, edges, colour, masks.split)
        axes.axvline(limit, color="black", linestyle="--", linewidth=1)
        axes.set(xlabel="rendering PSNR of a frame (dB)", ylabel="share of the split's frames (%)")
        legend_above(axes)

    text = (
        f"Rendering PSNR of the frozen renderer. The dashed line is the PSNR filter, {limit:g} dB: frames left of it "
    )
    return Picture(chart(draw), "Histogram of rendering PSNR by split", text + "do not teach the motion head.")


def _coverage(measured: list[SplitMasks]) -> Picture:
    edges = np.linspace(0, 100 * max(float(masks.pixel.max()) for masks in measured) + 1e-6, 26)

    def draw(axes: Axes) -> None:
        for masks, colour in zip(measured, _colours(len(measured)), strict=True):
            _outline(axes, 100 * masks.pixel, edges, colour, masks.split)
        axes.set(xlabel="frame covered by the pixel mask (%)", ylabel="share of the split's frames (%)", yscale="log")
        legend_above(axes)

    text = "Coverage of the refined pseudo-masks (logarithmic share). Splits in which nothing moves should stay at 0."
    return Picture(chart(draw), "Histogram of mask coverage by split", text)


def _outline(axes: Axes, values: Float[np.ndarray, " f"], edges: np.ndarray, colour: str, label: str) -> None:
    weights = np.full(len(values), 100 / len(values))
    axes.hist(
        values, bins=edges.tolist(), weights=weights, histtype="step", color=colour, label=plain(label), linewidth=1.4
    )


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
