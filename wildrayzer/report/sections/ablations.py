"""Ablations in the report: what each changes, its metrics and its motion head's learning curves beside the run's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from wildrayzer.config import RunConfig
from wildrayzer.config.variants import ablations_of
from wildrayzer.evaluation.tables.tables import TableContext
from wildrayzer.evaluation.tables.text import parse_tables
from wildrayzer.report.page.charts import COLOURS, chart, legend_above, plain
from wildrayzer.report.page.page import Block, Figures, KeyValues, Note, Picture, TextTable
from wildrayzer.run.expected import ExpectedScores, ablation_scores, compared_files
from wildrayzer.run.layout import RunLayout
from wildrayzer.training.logging import read_metrics

_STAGES = ("distill", "joint")
Curve = tuple[Sequence[float], Sequence[float]]


def ablation_blocks(config: RunConfig, layout: RunLayout) -> list[Block]:
    """The ablations that have been run, the tables they have of their own, and curves of trained motion heads.

    Raises:
        ValueError: a table is damaged.
    """
    ablations = {
        name: ablation_scores(config, name, root=str(layout.base.parent))
        for name in ablations_of(config)
        if (Path(str(layout.base)) / "ablations" / name).is_dir()
    }
    if not ablations:
        return [Note("No ablation has been run; `snakemake ablations`, or `ablation_NAME` for one, does.")]
    old = [name for name, ablation in ablations.items() if _is_outdated(ExpectedScores(config, layout), ablation)]
    shown = {name: ablation for name, ablation in ablations.items() if name not in old}
    blocks: list[Block] = [
        Note(f"{name} was compared with earlier scores of the run, so it is left out; `snakemake ablation_{name}`.")
        for name in old
    ]
    if shown:
        changes = TableContext.from_config(config).ablations
        blocks.append(KeyValues(tuple((name, changes[name]) for name in shown), "Ablations that were run"))
    return [*blocks, *_own_tables(shown), *_curves(config, layout, shown)]


def _is_outdated(run: ExpectedScores, ablation: ExpectedScores) -> bool:
    """Whether the run has been scored again since an ablation's own tables were made; by time, as the workflow asks."""
    tables = Path(ablation.layout.tables) / "tables.md"
    if not tables.is_file():
        return False
    made = tables.stat().st_mtime
    return any(Path(file).is_file() and Path(file).stat().st_mtime > made for file in compared_files(run, ablation))


def _own_tables(ablations: Mapping[str, ExpectedScores]) -> list[Block]:
    """Ablations beside the run, as one table; those that are part of the run's own tables have none of their own."""
    files = [Path(ablation.layout.tables) / "tables.md" for ablation in ablations.values()]
    tables = [
        table
        for file in files
        if file.is_file()
        for table in parse_tables(file.read_text(encoding="utf-8"))
        if table.columns[0] == "ablation"
    ]
    if not tables:
        return []
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    rows = tuple(row for table in tables for row in table.rows)
    return [TextTable(tables[0].title, tables[0].columns, rows, tuple(notes))]


def _curves(config: RunConfig, layout: RunLayout, ablations: Mapping[str, ExpectedScores]) -> list[Block]:
    pictures = []
    for stage in _STAGES:
        curves = {"run": iou_curve(layout.metrics(stage, config.rounds))}
        for name, ablation in ablations.items():
            if ablation.layout.makes(stage):
                curves[name] = iou_curve(ablation.layout.metrics(stage, ablation.config.rounds))
        drawn = {name: curve for name, curve in curves.items() if curve is not None}
        if len(drawn) > 1:
            pictures.append(_picture(stage, drawn))
    text = (
        "IoU with the labels of the training batch (probability over the gate's threshold), which are "
        "pseudo-masks or pasted objects: curves with the same labels compare; IoU with the truth is in the "
        "ablations table."
    )
    return [Figures("Motion heads while they learn", tuple(pictures), text)] if pictures else []


def iou_curve(metrics: str | Path) -> Curve | None:
    """Optimiser steps and IoU with the labels, or None where the stage has not been trained or measures none."""
    if not Path(metrics).is_file():
        return None
    records = [record for record in read_metrics(metrics, "train") if "label_iou" in record]
    return ([float(r["step"]) for r in records], [float(r["label_iou"]) for r in records]) if records else None


def _picture(stage: str, curves: Mapping[str, Curve]) -> Picture:
    def draw(axes: Axes) -> None:
        for (name, (steps, iou)), colour in zip(curves.items(), ("black", *COLOURS), strict=False):
            axes.plot(steps, iou, color=colour, label=plain(name), linewidth=2.2 if name == "run" else 1.4)
        axes.set(xlabel="optimiser step", ylabel="IoU with the labels, 0 to 1", ylim=(0, None))
        legend_above(axes, columns=3)

    ends = ", ".join(f"{name} {iou[-1]:.2f}" for name, (_, iou) in curves.items())
    return Picture(chart(draw), f"IoU against training step, {stage}", f"Stage {stage}. At the end: {ends}.")
