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
from wildrayzer.tools.inspect.files import CacheFiles
from wildrayzer.tools.inspect.frame_statistics import (
    LOWEST_FIRST,
    SORTINGS,
    FrameStatistics,
    WindowRows,
    mean,
    ordered,
    window_mean,
)
from wildrayzer.tools.inspect.health import Check, overall, sentence
from wildrayzer.tools.inspect.provenance import Origin

FILTERS = {
    "all": "all windows",
    "left": "with frames left out by the filter",
    "none_kept": "with no frame kept",
    "empty": "with an empty mask",
    "all_empty": "with only empty masks",
    "full": "with a nearly full mask",
}
KEYS = {
    "→ or j, ← or k": "next and previous window, in the list and in the large view",
    "Enter": "large view of the marked window",
    "Esc": "close",
    "n, p": "next and previous page",
    "s": "next sorting",
    "r": "reversed order",
    "/": "find a clip by its name; Enter goes to the first, Esc leaves the field",
    "?": "these keys",
}
WORDS = {"fine": "fine", "look": "have a look", "wrong": "wrong"}
_VALUES = ("psnr", "coverage", "maps", "masks", "iou", "true")
_LISTED = 8
_SHOWN_AS = {
    "psnr": "{:.1f} dB", "coverage": "{:.1%} covered", "maps": "{:.2f}", "masks": "{:.2f}", "iou": "{:.1%} IoU",
}  # fmt: skip
_GRIDS = ("d_dino", "d_ssim", "fused", "clusters", "patch")


@dataclass(frozen=True)
class Shown:
    """What both pages are made from."""

    files: CacheFiles
    statistics: FrameStatistics
    windows: list[WindowRows]
    by: str
    """Key of `SORTINGS` that the gallery opens with."""

    @property
    def sortings(self) -> list[str]:
        """Orders that some frame has a value for."""
        return [key for key in SORTINGS if np.isfinite(self.statistics.of_key(key)).any()]

    def scene(self, window: WindowRows) -> int:
        """Number of the window's clip."""
        frame = self.statistics.frame[window.rows[0]]
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
        "windows": [_window_values(shown, window) for window in shown.windows],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # no tag, no comment
    return template("inspect_windows.html.j2").render(
        title=f"Pseudo-masks: {shown.files.place.title}",
        sortings=[(key, SORTINGS[key]) for key in shown.sortings],
        filters=FILTERS.items(),
        keys=KEYS.items(),
        figures=Markup(text),
    )


def _window_values(shown: Shown, window: WindowRows) -> dict[str, Any]:
    files, statistics, rows, scene = shown.files, shown.statistics, window.rows, shown.scene(window)
    listed = files.window(window.number) if files.store else None
    values: dict[str, Any] = {
        "number": window.number,
        "scene": files.maps.scenes[scene],
        "inputs": list(listed.inputs) if listed else [],
        "frames": (statistics.frame[rows] - files.maps.offsets[scene]).tolist(),
        "weight": _numbers(dino_weight(statistics.psnr[rows], files.voting)),
    }
    means = {key: window_mean(np.asarray(getattr(statistics, key)), window) for key in _VALUES}
    values["means"] = {key: None if np.isnan(value) else value for key, value in means.items()}
    return values | {key: _numbers(getattr(statistics, key)[rows]) for key in _VALUES}


def _numbers(values: np.ndarray) -> list[float | None]:
    """Values with four decimals; null if unknown or not finite."""
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def summary_page(shown: Shown, checks: list[Check], origins: list[Origin], notes: Sequence[str]) -> str:
    """The summary page, of the whole cache, even if the gallery shows only part of it."""
    files, statistics = shown.files, shown.statistics
    lead = (
        f"{files.maps.num_frames} frames of {len(files.maps.scenes)} clips on a grid of "
        f"{' × '.join(map(str, files.maps.sizes.values()))} patches; {len(statistics)} frames computed in "
        f"{len(np.unique(statistics.window))} windows. Backbone: {files.maps.about.get('backbone', 'not recorded')}."
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
        plots=Figures("Over the frames", plots(files, statistics)),
        places=Figures("Over the image", places(files, statistics), size="small"),
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
    "Digests are recorded when a group is written and compared when it is read. fits: the file in the run's folder has "
    "this digest. differs: it has another one. not available: there is no such file. recorded: nothing to compare with."
)


def provenance_table(origins: list[Origin]) -> TextTable:
    """Table of every digest of every group."""
    rows = tuple((one.group, one.name, one.digest, one.what, one.state) for one in origins)
    return TextTable("What made the cache", ("group", "made from", "digest", "which is", "state"), rows)


def _lists(shown: Shown) -> list[dict[str, Any]]:
    """The first few windows of each sorting, among those that the gallery shows."""
    lists = []
    for key in shown.sortings:
        if key == "window":
            continue
        values = shown.statistics.of_key(key)
        entries = [
            {
                "number": window.number,
                "text": f"{shown.files.maps.scenes[shown.scene(window)]}: {_SHOWN_AS[key].format(value)}",
            }
            for window in ordered(shown.statistics, shown.windows, key)[:_LISTED]
            if np.isfinite(value := mean(values[window.rows]))
        ]
        lists.append({"key": key, "title": SORTINGS[key][0].upper() + SORTINGS[key][1:], "entries": entries})
    return lists
