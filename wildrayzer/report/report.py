"""The report: its sections, in order, and their introductions."""

from pathlib import Path

from wildrayzer.config import RunConfig
from wildrayzer.report.page.page import Block, Note, Section, render_page
from wildrayzer.report.sections.ablations import ablation_blocks
from wildrayzer.report.sections.benchmark import benchmark_blocks, health_block
from wildrayzer.report.sections.curves import last_sheet, stage_plots
from wildrayzer.report.sections.data_sets import contact_sheets, data_report, data_table
from wildrayzer.report.sections.distributions import mask_distributions
from wildrayzer.report.sections.gallery import galleries, how_masks_are_made
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
        Section(
            "run",
            "What was run",
            "",
            (
                stand_ins(config),
                machine(),
                deviations(config),
                *checkpoints(config, layout),
                costs(layout),
            ),
        ),
        Section(
            "data",
            "Data",
            _data_text(config),
            (*data_table(config, layout), *data_report(config, layout), *contact_sheets(config, layout)),
        ),
        Section("training", "Training", _TRAINING, tuple(_training(config, layout))),
        Section(
            "masks",
            "Pseudo-masks",
            how_masks_are_made(config),
            (*galleries(config, layout), *mask_distributions(config, layout)),
        ),
        Section("benchmark", "Benchmark", _BENCHMARK, (health_block(layout), *benchmark_blocks(config, layout))),
        Section("relations", "What scores depend on", _RELATIONS, tuple(relations(config, layout))),
        Section("ablations", "Ablations", _ABLATIONS, tuple(ablation_blocks(config, layout))),
        Section("pictures", "Renderings", _PICTURES, tuple(panel_blocks(config, layout))),
    ]
    return render_page(f"WildRayZer, run {config.name}", summary(config), sections)


_TRAINING = (
    "One plot per quantity and stage. The renderer is compared on held-out static clips with predictions that need no "
    "renderer. The motion head's IoU is with its labels; its IoU with true masks is in the benchmark."
)
_BENCHMARK = (
    "Means over frames with standard errors, differences with 95% intervals, both from resampling scenes. First "
    "whether the static renderer's cameras carry information, then the claims, then the tables."
)
_RELATIONS = "Small movers are hard to find, and a poor rendering hides what moves: the same scores, frame by frame."
_ABLATIONS = (
    "The run with a few options changed. Stages before the first change are shared with the run. Ablations that are "
    "part of the run's tables have their metrics in the benchmark above, the others here."
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
    blocks: list[Block] = []
    for stage, number in training_runs(config):
        metrics, name = layout.metrics(stage, number), stage_name(stage, number)
        if not Path(metrics).is_file():
            taken = stage == "pretrain" and config.pretrained
            why = f"taken from {config.pretrained}, not trained in this run" if taken else "no metrics file yet"
            blocks.append(Note(f"{name}: {why}, so its curves are left out."))
            continue
        blocks.append(stage_plots(metrics, name))
        sheet = last_sheet(metrics, config, "pretrain: last validation pictures") if stage == "pretrain" else None
        if sheet is not None:
            blocks.append(sheet)
    return blocks
