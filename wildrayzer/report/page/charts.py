"""Plots as SVG data URIs, in one style; the same numbers give the same bytes."""

import base64
import textwrap
from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0068a8", "#d55e00", "#00875f", "#a64d79", "#767676"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#b8860b", GREY)
_LABEL = 60
"""Characters in a line of a legend that fit a plot."""
_ROOM = 0.92
"""Share of the plot's width that a legend may take; the reader's font may be wider than the one measured here."""
_STYLE: Any = {
    "svg.hashsalt": "wildrayzer",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}


def plain(text: str) -> str:
    """Text for a label, so that dollar signs in a name are shown and not read as the bounds of a formula."""
    return text.replace("$", r"\$")


def legend_above(axes: Axes, *, columns: int = 3) -> None:
    """Legend over the plot, where it hides nothing, in at most so many columns as fit the plot's width."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    handles, labels = axes.get_legend_handles_labels()
    labels = [textwrap.fill(label, _LABEL) for label in labels]
    for count in range(columns, 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper left", ncols=count, columnspacing=1.2)
        if count == 1 or legend.get_window_extent(renderer).width <= _ROOM * figure.bbox.width:
            return
        legend.remove()


def chart(draw: Callable[[Axes], None], *, width: float = 4.8, height: float = 3.2) -> str:
    """Data URI of a plot of `width` × `height` inches that `draw` fills."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
