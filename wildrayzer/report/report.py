"""The report: its sections, in order, and their introductions."""

from pathlib import Path

from wildrayzer.config import RunConfig
from wildrayzer.report.page.page import Block, Figures, Note, Picture, Section, render_page
from wildrayzer.report.sections.ablations import ablation_blocks
from wildrayzer.report.sections.benchmark import benchmark_blocks, health_block
from wildrayzer.report.sections.claims import claims_blocks
from wildrayzer.report.sections.curves import last_sheet, stage_plots
from wildrayzer.report.sections.data_sets import contact_sheets, data_report, data_table
from wildrayzer.report.sections.distributions import mask_distributions
from wildrayzer.report.sections.gallery import galleries, how_masks_are_made
from wildrayzer.report.sections.glance import glance_blocks
from wildrayzer.report.sections.panels import panel_blocks
from wildrayzer.report.sections.relations import relations
from wildrayzer.report.sections.run_info import checkpoints, costs, deviations, machine, stand_ins, summary
from wildrayzer.run.expected import stage_name, training_runs
from wildrayzer.run.layout import RunLayout


def build_report(config: RunConfig, layout: RunLayout) -> str:
    """The whole page as HTML.

    What a run has not made yet is left out, with a sentence in its place.

    Raises:
        ValueError: an artefact is damaged, or does not belong to the others.
    """
    sections = [
        Section("glance", "At a glance", "", tuple(glance_blocks(config, layout))),
        Section("claims", "What holds", _CLAIMS, tuple(claims_blocks(layout))),
        Section(
            "masks",
            "Pseudo-masks",
            how_masks_are_made(config),
            (*galleries(config, layout), *mask_distributions(config, layout)),
            folded=True,
        ),
        Section("pictures", "Renderings", _PICTURES, tuple(panel_blocks(config, layout)), folded=True),
        Section(
            "benchmark",
            "Tables",
            _BENCHMARK,
            (health_block(layout), *benchmark_blocks(config, layout)),
            folded=True,
        ),
        Section("relations", "What scores depend on", _RELATIONS, tuple(relations(config, layout)), folded=True),
        Section("ablations", "Ablations", _ABLATIONS, tuple(ablation_blocks(config, layout)), folded=True),
        Section("training", "Training curves", _TRAINING, tuple(_training(config, layout)), folded=True),
        Section(
            "data",
            "Data",
            _data_text(config),
            (*contact_sheets(config, layout), *data_table(config, layout), *data_report(config, layout)),
            folded=True,
        ),
        Section(
            "run",
            "Options, digests, time",
            summary(config),
            (
                stand_ins(config),
                deviations(config),
                *checkpoints(config, layout),
                costs(layout),
                machine(),
            ),
            folded=True,
        ),
    ]
    if config.learns_motion:
        return render_page(f"WildRayZer, run {config.name}", _LEAD, sections)
    kept = [section for section in sections if section.name not in _OF_LATER_STAGES]
    return render_page(f"Static renderer, run {config.name}", summary(config), kept)


_LEAD = (
    "A renderer learned from unposed clips in which nothing moves. On clips with moving objects it fails where "
    "something moves: its failures are the labels of a motion head, so that a second renderer leaves out what moves. "
    "No label was given, and every number stands beside what a shortcut reaches."
)
_CLAIMS = (
    "Right of the line at 0, or of the dashed mark where a claim names another limit, speaks for the claim. A claim "
    "holds if its whole 95% interval lies there, resampled over scenes, and does not hold if it lies on the other side."
)
_OF_LATER_STAGES = ("glance", "masks", "relations", "ablations", "pictures")
"""Sections that a run of the static renderer alone has nothing for."""
_TRAINING = (
    "The renderer is compared on held-out static clips with predictions that need no renderer. The motion head's IoU "
    "is with its labels; its IoU with true masks is in the tables."
)
_BENCHMARK = (
    "Means over frames with standard errors, from resampling scenes. First whether the static renderer's cameras carry "
    "information, then the tables as written to the folder tables/."
)
_RELATIONS = "Small movers are hard to find, and a poor rendering hides what moves: the same scores, frame by frame."
_ABLATIONS = (
    "The run with a few options changed. Stages before the first change are shared with the run. Ablations that are "
    "part of the run's tables have their metrics in the tables above, the others here."
)
_PICTURES = (
    "static: the pretrained renderer. joint: the full method, its inputs gated by its own motion head. unmasked: "
    "trained as long without masks. *_true_masks and *_clean: bounds, with true masks or clean inputs."
)


def _data_text(config: RunConfig) -> str:
    embedded = config.data.embedded
    if embedded is None or not any(split.layout == "embedded" for split in config.data.splits.values()):
        return "Frames cropped and resized, as every later stage reads them."
    return (
        f"Splits of layout embedded are procedural clips of {embedded.frames} frames: textured rooms seen along smooth "
        "camera paths, with furniture that never moves by itself and actors that do, and exact masks."
    )


def _training(config: RunConfig, layout: RunLayout) -> list[Block]:
    notes: list[Block] = []
    plots: list[Picture] = []
    for stage, number in training_runs(config):
        metrics, name = layout.metrics(stage, number), stage_name(stage, number)
        # A metrics file beside an adopted renderer is of another one, which the run had trained before.
        taken = stage == "pretrain" and config.pretrained
        if Path(metrics).is_file() and not taken:
            plots += stage_plots(metrics, name)
            continue
        why = f"taken from {config.pretrained}, not trained in this run" if taken else "no metrics file yet"
        notes.append(Note(f"{name}: {why}, so its curves are left out."))
    title = "pretrain: last validation pictures"
    sheet = None if config.pretrained else last_sheet(layout.metrics("pretrain"), config, title)
    curves = [Figures("", tuple(plots))] if plots else []
    return [*notes, *curves, *([] if sheet is None else [sheet])]
