"""The two pages of a gallery: a summary that needs no script, and the windows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from wildrayzer.pseudo_masks.fusion import dino_weight
from wildrayzer.report.page.page import Column, Figures, TextTable, template
from wildrayzer.tools.inspect.charts import places, plots
from wildrayzer.tools.inspect.figures import (
    LOWEST_FIRST,
    SORTINGS,
    FrameFigures,
    WindowRows,
    mean,
    ordered,
    window_mean,
)
from wildrayzer.tools.inspect.files import CacheFiles
from wildrayzer.tools.inspect.health import Check, overall, sentence
from wildrayzer.tools.inspect.provenance import Origin

FILTERS = {
    "all": "all windows",
    "left": "with frames left out by the filter",
    "none_kept": "with no frame kept",
    "empty": "with an empty mask",
    "all_empty": "with empty masks alone",
    "full": "with a nearly full mask",
}
KEYS = {
    "→ or j, ← or k": "next and previous window, in the list and in the large view",
    "Enter": "large view of the marked window",
    "Esc": "close",
    "n, p": "next and previous page",
    "s": "next sorting",
    "r": "reversed order",
    "/": "find a clip by its name; Enter leads to the first, Esc leaves the field",
    "?": "these keys",
}
WORDS = {"fine": "fine", "look": "have a look", "wrong": "wrong"}
_FIGURES = ("psnr", "coverage", "maps", "masks", "iou", "true")
_LISTED = 8
_SHOWN_AS = {
    "psnr": "{:.1f} dB", "coverage": "{:.1%} covered", "maps": "{:.2f}", "masks": "{:.2f}", "iou": "{:.1%} IoU",
}  # fmt: skip
_GRIDS = ("d_dino", "d_ssim", "fused", "clusters", "patch")


@dataclass(frozen=True)
class Shown:
    """What both pages are made from."""

    files: CacheFiles
    figures: FrameFigures
    windows: list[WindowRows]
    by: str
    """Key of `SORTINGS` that the gallery opens with."""

    @property
    def sortings(self) -> list[str]:
        """Sortings that some frame has a figure for."""
        return [key for key in SORTINGS if np.isfinite(self.figures.of_key(key)).any()]

    def scene(self, window: WindowRows) -> int:
        """Number of the window's clip."""
        frame = self.figures.frame[window.rows[0]]
        return int(np.searchsorted(self.files.maps.offsets, frame, side="right")) - 1


def windows_page(shown: Shown, columns: Sequence[tuple[str, Column]]) -> str:
    """The page of the windows, without their pictures."""
    document = {
        "by": shown.by,
        "psnr_filter": shown.files.psnr_filter,
        "lowest_first": list(LOWEST_FIRST),
        "inputs": shown.files.windows.inputs if shown.files.windows and shown.files.store else 0,
        "columns": [
            {"name": c.name, "ramp": c.ramp, "low": c.low, "high": c.high, "grid": key in _GRIDS} for key, c in columns
        ],
        "windows": [_figures_of(shown, window) for window in shown.windows],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # no tag, no comment
    return template("inspect_windows.html.j2").render(
        title=f"Pseudo-masks: {shown.files.place.title}",
        sortings=[(key, SORTINGS[key]) for key in shown.sortings],
        filters=FILTERS.items(),
        keys=KEYS.items(),
        figures=Markup(text),
    )


def _figures_of(shown: Shown, window: WindowRows) -> dict[str, Any]:
    files, figures, rows, scene = shown.files, shown.figures, window.rows, shown.scene(window)
    listed = files.window(window.number) if files.store else None
    found: dict[str, Any] = {
        "number": window.number,
        "scene": files.maps.scenes[scene],
        "inputs": list(listed.inputs) if listed else [],
        "frames": (figures.frame[rows] - files.maps.offsets[scene]).tolist(),
        "weight": _numbers(dino_weight(figures.psnr[rows], files.voting)),
    }
    means = {key: window_mean(np.asarray(getattr(figures, key)), window) for key in _FIGURES}
    found["means"] = {key: None if np.isnan(value) else value for key, value in means.items()}
    return found | {key: _numbers(getattr(figures, key)[rows]) for key in _FIGURES}


def _numbers(values: np.ndarray) -> list[float | None]:
    """Four decimals; null where something is not known or not finite."""
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def summary_page(shown: Shown, checks: list[Check], origins: list[Origin], notes: Sequence[str]) -> str:
    """The summary of the whole cache, whatever the gallery shows of it."""
    files, figures = shown.files, shown.figures
    lead = (
        f"{files.maps.num_frames} frames of {len(files.maps.scenes)} clips on a grid of "
        f"{' × '.join(map(str, files.maps.sizes.values()))} patches; {len(figures)} frames computed in "
        f"{len(np.unique(figures.window))} windows. Backbone: {files.maps.about.get('backbone', 'not recorded')}."
    )
    return template("inspect_summary.html.j2").render(
        title=f"Pseudo-masks: {files.place.title}",
        lead=lead,
        overall=overall(checks),
        sentence=sentence(checks),
        words=WORDS,
        checks=checks,
        notes=notes,
        shown=len(shown.windows),
        plots=Figures("Over the frames", plots(files, figures)),
        places=Figures("Over the image", places(files, figures), size="small"),
        lists=_lists(shown),
        sections=[
            {"name": "health", "title": "Health"},
            {"name": "distributions", "title": "Distributions"},
            {"name": "first", "title": "Where to look first"},
            {"name": "provenance", "title": "Provenance"},
        ],
        provenance=provenance_table(origins),
        provenance_text=PROVENANCE_TEXT,
    )


PROVENANCE_TEXT = (
    "Digests are recorded when a part is written and compared when it is read. fits: what lies in the run's folder has "
    "this digest. differs: it has another one. not available: it does not exist. recorded: nothing to compare with."
)


def provenance_table(origins: list[Origin]) -> TextTable:
    """Every digest of every group."""
    rows = tuple((one.group, one.name, one.digest, one.what, one.state) for one in origins)
    return TextTable("What made the cache", ("part", "made from", "digest", "which is", "state"), rows)


def _lists(shown: Shown) -> list[dict[str, Any]]:
    """The first few windows of each sorting, among those that the gallery shows."""
    found = []
    for key in shown.sortings:
        if key == "window":
            continue
        values = shown.figures.of_key(key)
        entries = [
            {
                "number": window.number,
                "text": f"{shown.files.maps.scenes[shown.scene(window)]}: {_SHOWN_AS[key].format(value)}",
            }
            for window in ordered(shown.figures, shown.windows, key)[:_LISTED]
            if np.isfinite(value := mean(values[window.rows]))
        ]
        found.append({"key": key, "title": SORTINGS[key][0].upper() + SORTINGS[key][1:], "entries": entries})
    return found
