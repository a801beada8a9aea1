"""The answer first: a few scenes in pictures, from inputs to error, and the figures that sum up the run."""

from pathlib import Path

import numpy as np

from wildrayzer.config import RunConfig
from wildrayzer.evaluation.tables.highlights import RunHighlights
from wildrayzer.report.page.page import Answers, Block, Column, Gallery, GalleryRow, Note, Picture
from wildrayzer.report.page.pictures import map_uri, mask_picture, photo_uri, ramp
from wildrayzer.report.sections.panels import BASE, ERROR, MAIN, SplitPanels, error_picture, rendering_of
from wildrayzer.run.layout import RunLayout

_ROLES = ("pairs", "dynamic", "static")
"""Splits to show, the one with clean frames first."""
_SCENES, _INPUTS = 3, 2
"""Rows of the strip, and the inputs in each."""


def glance_blocks(config: RunConfig, layout: RunLayout) -> list[Block]:
    """The strip of pictures, the figures with their controls, and what stands in for learned parts."""
    return [_first_strip(config, layout), *_figures(config, layout), Note(_caveat(config))]


def _first_strip(config: RunConfig, layout: RunLayout) -> Block:
    for split in (split for role in _ROLES for split in config.data.of(role=role, purpose="test")):
        panels = SplitPanels.load(config, layout, split)
        if panels is not None and len(panels.methods[MAIN]["scene"]):
            return _strip(panels)
    return Note("No test split has been rendered yet, so there are no pictures.")


def _strip(panels: SplitPanels) -> Gallery:
    scenes = panels.methods[MAIN]["scene"].tolist()[:_SCENES]
    inputs, gated = min(panels.inputs, _INPUTS), "token_mask" in panels.methods[MAIN]
    names = [f"input {number + 1}" for number in range(inputs)]
    names += [f"mask {number + 1}" for number in range(inputs if gated else 0)]
    names += ["static rendering", "ours", "truth" if panels.scored else "as recorded"]
    error = (ramp("error of ours", 0.0, ERROR),) if panels.scored else ()
    removed = " What the masks mark (white) is left out." if gated else ""
    text = (
        f"The first scenes of {panels.split}, not chosen. Ours renders an unseen view from the inputs."
        f"{removed}{_truth_text(panels)}"
    )
    rows = tuple(_row(panels, scene, inputs, gated) for scene in scenes)
    return Gallery("", text, (*map(Column, names), *error), rows)


def _truth_text(panels: SplitPanels) -> str:
    if not panels.scored:
        return " There is no truth to compare with."
    if panels.store.has_clean:
        return " The truth shows the scene without moving objects."
    return " Error: grey where a moving object hides what is behind it." if panels.store.has_masks else ""


def _row(panels: SplitPanels, scene: str, inputs: int, gated: bool) -> GalleryRow:
    main = panels.methods[MAIN]
    place = main["scene"].tolist().index(scene)
    ours = rendering_of(main, scene)
    pictures: list[Picture | None] = [
        Picture(photo_uri(main["inputs"][place][number]), f"Input {number + 1} of {scene}") for number in range(inputs)
    ]
    for number in range(inputs if gated else 0):
        grid = mask_picture(main["token_mask"][place][number])
        pictures.append(Picture(map_uri(grid), f"Mask of input {number + 1} of {scene}, white: left out"))
    views = ((rendering_of(panels.methods[BASE], scene), "Static rendering"), (ours, "Our rendering"),
             (main["truth"][place], "Truth"))  # fmt: skip
    pictures += [None if view is None else Picture(photo_uri(view), f"{name} of {scene}") for view, name in views]
    label = f"{scene}, frame {main['frame'][place]}"
    if panels.scored:
        error = error_picture(panels, ours, scene)
        pictures.append(None if error is None else Picture(map_uri(error), f"Error of our rendering of {scene}"))
        quality = [panels.quality(method).get(scene, np.nan) for method in (BASE, MAIN)]
        label += f": static rendering {quality[0]:.1f} dB, ours {quality[1]:.1f} dB"
    return GalleryRow(label, tuple(pictures))


def _figures(config: RunConfig, layout: RunLayout) -> list[Block]:
    if not (Path(layout.tables) / "summary.csv").is_file():
        return [Note("The benchmark tables are not made yet, so there are no figures.")]
    shown = RunHighlights.read(config, layout).figures
    return [Answers(tuple((one.what, one.figure, one.controls) for one in shown))]


def _caveat(config: RunConfig) -> str:
    """What a reader must know before comparing the figures with published ones."""
    features = config.features.weights if config.features.has_weights else "descriptor, not DINOv3"
    count = len(config.deviations)
    differs = f"{count} options differ from the paper" if count != 1 else "1 option differs from the paper"
    return (
        f"Means over scenes of held-out clips. Features: {features}. {differs}; the last section lists them. Intervals "
        "and all other rows are in the sections below."
    )
