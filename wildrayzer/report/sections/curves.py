"""Training curves of a stage: loss, held-out PSNR beside what shortcuts reach, and the motion head's labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.report.page.charts import BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, chart, legend_above
from wildrayzer.report.page.page import Figures, Picture
from wildrayzer.report.page.pictures import encode, resize
from wildrayzer.training.logging import read_metrics

Records = Sequence[Mapping[str, Any]]

_PARTS = {
    "mse": "photometric (MSE)",
    "perceptual": "perceptual",
    "bce": "motion cross-entropy",
    "crop_pretext": "crop pretext",
}
_BASELINES = (
    ("above_nearest", "nearest input copied", ORANGE, "--"),
    ("above_mean", "target's mean colour", GREY, ":"),
    ("pose_use", "rendered with another target's pose", PURPLE, "-."),
)


def stage_plots(path: str | Path, stage: str) -> list[Picture]:
    """The curves of one stage from its metrics file; what the stage does not measure is left out."""
    train, validation = read_metrics(path, "train"), read_metrics(path, "validation")
    pictures = [_loss(train)] if train else []
    if validation:
        pictures.append(_validation(validation))
    if train and "label_iou" in train[-1]:
        pictures.append(_labels(train))
    return [replace(picture, title=f"{stage}: {picture.title}.") for picture in pictures]


def _column(records: Records, name: str) -> tuple[list[float], list[float]]:
    own = [record for record in records if name in record]
    return [float(record["step"]) for record in own], [float(record[name]) for record in own]


def _loss(records: Records) -> Picture:
    parts = [name for name in _PARTS if any(record.get(name, 0.0) > 0.0 for record in records)]

    def draw(axes: Axes) -> None:
        if len(parts) > 1:
            axes.plot(*_column(records, "loss"), color="black", linewidth=1.0, label="loss")
        for name, colour in zip(parts, COLOURS, strict=False):
            axes.plot(*_column(records, name), color=colour, label=_PARTS[name])
        axes.set(xlabel="optimiser step", ylabel="loss on the training batch", yscale="log")
        legend_above(axes)

    last = records[-1]
    skipped = int(last.get("skipped_updates", 0))
    caption = f"Loss and its parts (logarithmic), without units; {last['loss']:.4g} at step {last['step']:.0f}." + (
        f" {skipped} updates were skipped for their gradient norm." if skipped else ""
    )
    return Picture(chart(draw), "Training loss against optimiser step", caption, "loss")


def _validation(records: Records) -> Picture:
    def draw(axes: Axes) -> None:
        steps, quality = _column(records, "psnr")
        axes.plot(steps, quality, color=BLUE, marker="o", markersize=3, linewidth=2, label="rendered")
        for name, label, colour, line in _BASELINES:
            steps, margin = _column(records, name)
            reached = [q - m for q, m in zip(quality, margin, strict=True)]
            axes.plot(steps, reached, line, color=colour, marker=".", label=label)
        axes.set(xlabel="optimiser step", ylabel="PSNR on held-out static clips (dB)")
        legend_above(axes)

    last = records[-1]
    caption = (
        f"Held-out static clips, targets held back. At step {last['step']:.0f} the renderer reaches "
        f"{last['psnr']:.2f} dB, {last['above_nearest']:+.2f} dB against copying the nearest input and "
        f"{last['above_mean']:+.2f} dB against the target's mean colour; rendering with another target's pose costs "
        f"{last['pose_use']:.2f} dB (near 0: the poses are ignored)."
    )
    return Picture(
        chart(draw), "Validation PSNR against optimiser step, with three shortcuts", caption, "held-out clips"
    )


def _labels(records: Records) -> Picture:
    def draw(axes: Axes) -> None:
        lines = (
            ("label_iou", "IoU with the labels", BLUE, "-"),
            ("mean_probability", "mean predicted probability", GREEN, "--"),
            ("mean_label", "mean label", GREY, ":"),
        )
        for name, label, colour, line in lines:
            axes.plot(*_column(records, name), line, color=colour, label=label)
        axes.set(xlabel="optimiser step", ylabel="share, 0 to 1", ylim=(0, None))
        legend_above(axes)

    last = records[-1]
    caption = (
        f"The motion head on the training batch. Labels are pseudo-masks, pasted objects and all-zero masks of static "
        f"clips, not the truth. IoU (probability over the gate's threshold) {last['label_iou']:.2f} at step "
        f"{last['step']:.0f}; a calibrated head predicts as much motion as is labelled."
    )
    return Picture(chart(draw), "Motion head: IoU with its labels against optimiser step", caption, "motion head")


def last_sheet(metrics: str | Path, config: RunConfig, title: str) -> Figures | None:
    """The last validation contact sheet of a stage, a picture a window; None where there is none.

    Raises:
        ValueError: the sheet is no picture.
    """
    sheets = sorted((Path(metrics).parent / "pictures").glob("validation-*.png"))
    if not sheets:
        return None
    pixels = cv2.imread(str(sheets[-1]))
    if pixels is None:
        raise ValueError(f"{sheets[-1]} is no readable picture; delete it, the report does without")
    sheet = np.asarray(pixels)[..., ::-1]
    side = config.model.image_size
    height = 2 * side
    windows = [sheet[top : top + height] for top in range(0, len(sheet) - height + 1, height)]
    step = int(sheets[-1].stem.rpartition("-")[2])
    inputs = min(config.pretrain.views.inputs)
    pictures = [
        Picture(encode(resize(window, smooth=True, side=side), photograph=True), f"Validation window {number}")
        for number, window in enumerate(windows)
    ]
    text = (
        f"Held-out static windows at step {step}, the first ones of the set. Upper row: {inputs} inputs, then the "
        "targets as recorded; lower row: the targets as rendered."
    )
    return Figures(title, tuple(pictures), text, "small")
