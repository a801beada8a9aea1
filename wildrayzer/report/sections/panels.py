"""Qualitative panels: inputs, masks, renderings of the methods, truth and error; and the scenes rendered worst."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from wildrayzer.config import RunConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.tables.scores import read_scores
from wildrayzer.io.arrays import read_npz
from wildrayzer.report.page.page import Block, Column, Gallery, GalleryRow, Note, Picture
from wildrayzer.report.page.pictures import heat, map_uri, mask_picture, photo_uri, ramp
from wildrayzer.report.run_files import is_store
from wildrayzer.run.layout import RunLayout

MAIN, BASE = "joint", "static"
_WITHOUT_PANEL = ("nearest", "blend")
ERROR = 0.3
"""Upper end of the errors' colour scale."""
_WORST = 3
Pictures = dict[str, np.ndarray]
"""What a scoring job keeps for the report, by name."""


@dataclass(frozen=True)
class SplitPanels:
    """Everything that is shown of a split: panels by method, scores, and the frames' truth."""

    split: str
    inputs: int
    methods: dict[str, Pictures]
    """NPZ of the scoring jobs: `scene`, `frame`, `inputs`, `recorded`, `truth`, `rendering`, maybe `token_mask`."""
    scores: pd.DataFrame
    store: FrameStore

    @classmethod
    def load(cls, config: RunConfig, layout: RunLayout, split: str) -> "SplitPanels | None":
        """Panels of the methods that have been scored with the first number of inputs; None without the main ones."""
        inputs = config.benchmark.inputs_of(split)[0]
        rows = (*config.benchmark.methods, *config.benchmark.external_rows)
        methods = [method for method in rows if method not in _WITHOUT_PANEL]
        files = {method: Path(layout.view_scores(method, split, inputs)) for method in methods}
        files = {m: file for m, file in files.items() if file.is_file() and file.with_suffix(".npz").is_file()}
        if not {MAIN, BASE} <= files.keys() or not is_store(layout.store(split)):
            return None
        panels = {method: read_npz(file.with_suffix(".npz")) for method, file in files.items()}
        return cls(split, inputs, panels, read_scores(files.values()), FrameStore(layout.store(split)))

    @property
    def scored(self) -> bool:
        """Whether the split has a truth; else there are only pictures."""
        return not self.scores.empty

    @property
    def region(self) -> str:
        """Region that scenes are ranked and labelled by."""
        return "static" if (self.scores["region"] == "static").any() else "full"

    def quality(self, method: str) -> pd.Series:
        """Mean PSNR of each scene in `region`, dB."""
        rows = self.scores[(self.scores["method"] == method) & (self.scores["metric"] == "psnr")]
        rows = rows[(rows["region"] == self.region) & np.isfinite(rows["value"])]
        return rows.groupby("scene")["value"].mean()


def panel_blocks(config: RunConfig, layout: RunLayout) -> list[Block]:
    """Galleries of every test split, the static ones last."""
    roles = ("dynamic", "pairs", "static")
    splits = [split for role in roles for split in config.data.of(role=role, purpose="test")]
    blocks: list[Block] = []
    for split in splits:
        panels = SplitPanels.load(config, layout, split)
        if panels is None:
            blocks.append(Note(f"{split}: {MAIN} and {BASE} are not scored yet, so their pictures are left out."))
            continue
        scenes = panels.methods[MAIN]["scene"].tolist()
        if scenes:
            first = scenes[: config.benchmark.panels]
            blocks.append(_gallery(panels, first, f"Renderings of {split}", "The first scenes of the split."))
        if panels.scored:
            blocks.append(_worst(panels, scenes))
    return blocks


def _gallery(panels: SplitPanels, scenes: list[str], title: str, text: str) -> Gallery:
    main = panels.methods[MAIN]
    gated = "token_mask" in main
    columns = (
        *(Column(f"input {number + 1}") for number in range(panels.inputs)),
        *(Column(f"{MAIN}'s mask {number + 1}") for number in range(panels.inputs if gated else 0)),
        *([Column("true mask")] if panels.store.has_masks else []),
        Column("truth"),
        *(Column(method.replace("_", " ")) for method in panels.methods),
        *(ramp(f"error, {method}", 0.0, ERROR) for method in (BASE, MAIN) if panels.scored),
    )
    rows = [_row(panels, scene, gated) for scene in scenes]
    text += f" {panels.inputs} inputs, the middle target. " + _legend(panels, gated)
    return _without_empty(Gallery(title, text, columns, tuple(rows)))


def _legend(panels: SplitPanels, gated: bool) -> str:
    texts = [f"{MAIN}'s mask: input tokens that its motion head replaced."] if gated else []
    if panels.store.has_masks:
        texts.append("True mask: of the target.")
    if not panels.scored:
        return " ".join([*texts, "The split has no truth: the frame as recorded stands in its place, without scores."])
    moving = panels.store.has_masks and not panels.store.has_clean
    hidden = "; grey where a transient hides what is behind it" if moving else ""
    texts.append(f"Error: mean absolute difference over the channels, images in 0 to 1{hidden}.")
    return " ".join([*texts, f"PSNR: {panels.region} region, mean over the scene's targets."])


def _without_empty(gallery: Gallery) -> Gallery:
    """The gallery without columns that no row has a picture for."""
    kept = [n for n in range(len(gallery.columns)) if any(row.pictures[n] for row in gallery.rows)]
    rows = tuple(GalleryRow(row.label, tuple(row.pictures[n] for n in kept)) for row in gallery.rows)
    return replace(gallery, columns=tuple(gallery.columns[n] for n in kept), rows=rows)


def _row(panels: SplitPanels, scene: str, gated: bool) -> GalleryRow:
    main = panels.methods[MAIN]
    place = main["scene"].tolist().index(scene)
    frame = int(main["frame"][place])
    mask = true_mask(panels.store, scene, frame)
    photographs = {f"input {number + 1}": image for number, image in enumerate(main["inputs"][place])}
    maps: dict[str, np.ndarray] = {}
    if gated:
        maps = {f"mask {number + 1}": mask_picture(grid) for number, grid in enumerate(main["token_mask"][place])}
    if mask is not None:
        maps["true mask"] = mask_picture(mask)
    renderings = {name: rendering_of(method, scene) for name, method in panels.methods.items()}
    truth = main["truth"][place]
    errors = [error_picture(panels, renderings[method], scene) for method in (BASE, MAIN) if panels.scored]
    pictures = [
        *(Picture(photo_uri(image), f"{name} of {scene}") for name, image in photographs.items()),
        *(Picture(map_uri(image), f"{name} of {scene}") for name, image in maps.items()),
        Picture(photo_uri(truth), f"Truth of {scene}, frame {frame}"),
        *(
            None if image is None else Picture(photo_uri(image), f"{name}'s rendering of {scene}, frame {frame}")
            for name, image in renderings.items()
        ),
        *(None if image is None else Picture(map_uri(image), f"Error in {scene}") for image in errors),
    ]
    psnr = f": {_psnr_text(panels, scene)}" if panels.scored else ""
    return GalleryRow(f"{scene}, frame {frame}{psnr}", tuple(pictures))


def rendering_of(method: Pictures, scene: str) -> UInt8[np.ndarray, "h w 3"] | None:
    """A method's rendering of a scene; None where the scoring job kept none."""
    scenes = method["scene"].tolist()
    return method["rendering"][scenes.index(scene)] if scene in scenes else None


def error_picture(
    panels: "SplitPanels", rendering: UInt8[np.ndarray, "h w 3"] | None, scene: str
) -> UInt8[np.ndarray, "h w 3"] | None:
    """Mean absolute difference from the truth as colours, grey where a transient hides it; None without a rendering."""
    if rendering is None:
        return None
    main = panels.methods[MAIN]
    place = main["scene"].tolist().index(scene)
    error = np.abs(rendering.astype(np.float64) - main["truth"][place]).mean(-1) / 255
    hidden = None if panels.store.has_clean else true_mask(panels.store, scene, int(main["frame"][place]))
    return heat(error if hidden is None else np.where(hidden == 0, error, np.nan), 0.0, ERROR)


def true_mask(store: FrameStore, scene: str, frame: int) -> UInt8[np.ndarray, "h w"] | None:
    """The true mask of a frame, 1 = transient; None where the store has none."""
    if not store.has_masks:
        return None
    return store.read_masks(store.offsets[store.scenes.index(scene)] + np.array([frame]))[0]


def _psnr_text(panels: SplitPanels, scene: str) -> str:
    return ", ".join(f"{method} {panels.quality(method).get(scene, np.nan):.1f} dB" for method in (BASE, MAIN))


def _worst(panels: SplitPanels, pictured: list[str]) -> Block:
    """The scenes that the main method renders worst, in pictures where the scoring job kept some."""
    ranked = panels.quality(MAIN).sort_values().index[:_WORST].tolist()
    title = f"Failure cases of {panels.split}: the {len(ranked)} worst scenes of {MAIN}"
    if set(ranked) <= set(pictured):
        return _gallery(panels, ranked, title, f"By PSNR of the {panels.region} region.")
    rows = []
    for scene in ranked:
        start, stop = panels.store.offsets[panels.store.scenes.index(scene) :][:2]
        numbers = np.round(np.linspace(0, stop - start - 1, 4)).astype(int)
        frames = panels.store.read(start + numbers)
        pictures = [Picture(photo_uri(f), f"{scene}, frame {n}") for f, n in zip(frames, numbers, strict=True)]
        rows.append(GalleryRow(f"{scene}, frames {', '.join(map(str, numbers))}: {_psnr_text(panels, scene)}",
                               tuple(pictures)))  # fmt: skip
    text = f"By PSNR of the {panels.region} region. Only recorded frames: the scoring job kept no renderings of them."
    return Gallery(title, text, tuple(Column(name) for name in ("first", "", "", "last")), tuple(rows))
