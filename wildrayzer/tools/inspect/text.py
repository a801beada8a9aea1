"""The summary of a cache on the terminal."""

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wildrayzer.io.printable import printable
from wildrayzer.tools.inspect.files import CacheFiles
from wildrayzer.tools.inspect.frame_statistics import SORTINGS, mean, ordered
from wildrayzer.tools.inspect.health import Check, sentence
from wildrayzer.tools.inspect.pages import WORDS, Shown
from wildrayzer.tools.inspect.provenance import Origin

_BARS = " ▁▂▃▄▅▆▇█"
_COLOURS = {"fine": "green", "look": "yellow", "wrong": "red"}
_BINS = 40


def print_summary(shown: Shown, checks: list[Check], console: Console) -> None:
    """Print health, distributions and the first windows in the chosen order."""
    files, statistics = shown.files, shown.statistics
    console.print(printable(f"Pseudo-masks: {files.place.title}"), markup=False)
    console.print(printable(sentence(checks)), markup=False)
    table = Table("check", "verdict", "value", title="Health", title_justify="left")
    for check in checks:
        verdict = Text(WORDS[check.verdict], style=_COLOURS[check.verdict])
        table.add_row(Text(printable(check.name)), verdict, Text(printable(check.value)))
    console.print(table)
    console.print("Distributions over the frames, from the lowest to the highest value", markup=False)
    lines = [("PSNR, dB", statistics.psnr), ("coverage, %", 100 * statistics.coverage)]
    lines += [
        ("maps disagree", statistics.maps),
        ("masks disagree", statistics.masks),
        ("IoU, %", 100 * statistics.iou),
    ]
    for name, values in lines:
        if np.isfinite(values).any():
            console.print(histogram(name, values), markup=False, soft_wrap=True)
    console.print(_first(files, shown))
    for note in files.notes:
        console.print(printable(f"note: {note}"), markup=False, soft_wrap=True)


def histogram(name: str, values: np.ndarray) -> str:
    """One line: name, lowest value, bars of bins of equal width, highest value, mean."""
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=_BINS, range=(low, high if high > low else low + 1))
    bars = "".join(_BARS[-(-int(count) * (len(_BARS) - 1) // int(counts.max()))] for count in counts)
    return f"  {name:<15}{low:>8.2f} |{bars}| {high:.2f}, mean {values.mean():.2f}"


def _first(files: CacheFiles, shown: Shown) -> Table:
    statistics = shown.statistics
    table = Table(
        "window", "clip", "PSNR", "kept", "covered", "maps", "masks", "IoU",
        title=f"First windows: {SORTINGS[shown.by]}", title_justify="left",
    )  # fmt: skip
    for window in ordered(statistics, shown.windows, shown.by)[:10]:
        rows = window.rows
        kept = int((statistics.psnr[rows] > files.psnr_filter).sum())
        scene = printable(files.maps.scenes[shown.scene(window)])
        table.add_row(
            str(window.number), Text(scene), f"{mean(statistics.psnr[rows]):.1f} dB",
            f"{kept} of {len(rows)}", f"{mean(statistics.coverage[rows]):.1%}", f"{mean(statistics.maps[rows]):.2f}",
            _known(mean(statistics.masks[rows]), "{:.2f}"), _known(mean(statistics.iou[rows]), "{:.1%}"),
        )  # fmt: skip
    return table


def _known(value: float, form: str) -> str:
    return "–" if np.isnan(value) else form.format(value)


def print_provenance(origins: list[Origin], console: Console) -> None:
    """Every digest of every group: whether the file in the run's folder has it, and what the file is."""
    for one in origins:
        if one.name == "itself":
            line = f"{one.group} {one.digest}: {one.what}"
        else:
            line = f"  {one.name:<12}{one.digest:<18}{one.state:<15}{one.what}".rstrip()
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
