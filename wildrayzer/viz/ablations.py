"""Ablations in the report: what each changes, and the motion head's learning curves beside the run's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.config.ablations import ablations_of
from wildrayzer.evaluation.score_plan import ablation_plan
from wildrayzer.evaluation.tables import TableContext
from wildrayzer.layout import RunLayout
from wildrayzer.training.metrics_log import read_metrics
from wildrayzer.viz.charts import COLOURS, chart, legend_above
from wildrayzer.viz.page import Block, Facts, Figures, Note, Picture

_STAGES = ("distill", "joint")
Curve = tuple[Sequence[float], Sequence[float]]


def ablation_blocks(config: RunConfig, layout: RunLayout) -> list[Block]:
    """The ablations that have been run, and curves of those that trained a motion head."""
    root = str(layout.base.parent)
    done = {
        name: ablation_plan(config, name, root=root).layout
        for name in ablations_of(config)
        if (Path(str(layout.base)) / "ablations" / name).is_dir()
    }
    if not done:
        return [Note("No ablation has been run; `snakemake ablations`, or `ablation_NAME` for one, does.")]
    changes = TableContext.from_config(config).ablations
    blocks: list[Block] = [Facts(tuple((name, changes[name]) for name in done), "Ablations that were run")]
    pictures = []
    for stage in _STAGES:
        curves = {"run": iou_curve(layout.metrics(stage, config.rounds))}
        for name, one in done.items():
            if one.makes(stage):
                rounds = ablation_plan(config, name, root=root).config.rounds
                curves[name] = iou_curve(one.metrics(stage, rounds))
        drawn = {name: curve for name, curve in curves.items() if curve is not None}
        if len(drawn) > 1:
            pictures.append(_picture(stage, drawn))
    if pictures:
        text = (
            "IoU with the labels of the training batch (probability over 0.5), which are pseudo-masks or pasted "
            "objects: curves with the same labels compare; IoU with the truth is in the ablations table."
        )
        blocks.append(Figures("Motion heads while they learn", tuple(pictures), text))
    return blocks


def iou_curve(metrics: str | Path) -> Curve | None:
    """Optimiser steps and IoU with the labels, or None where the stage has not been trained or measures none."""
    if not Path(metrics).is_file():
        return None
    records = [record for record in read_metrics(metrics, "train") if "label_iou" in record]
    return ([float(r["step"]) for r in records], [float(r["label_iou"]) for r in records]) if records else None


def _picture(stage: str, curves: Mapping[str, Curve]) -> Picture:
    def draw(axes: Axes) -> None:
        for (name, (steps, iou)), colour in zip(curves.items(), ("black", *COLOURS), strict=False):
            axes.plot(steps, iou, color=colour, label=name, linewidth=2.2 if name == "run" else 1.4)
        axes.set(xlabel="optimiser step", ylabel="IoU with the labels, 0 to 1", ylim=(0, None))
        legend_above(axes, columns=3)

    ends = ", ".join(f"{name} {iou[-1]:.2f}" for name, (_, iou) in curves.items())
    return Picture(chart(draw), f"IoU against training step, {stage}", f"Stage {stage}. At the end: {ends}.")
