"""Plots as SVG data URIs, in one style; the same numbers give the same bytes."""

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0068a8", "#d55e00", "#00875f", "#a64d79", "#767676"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#b8860b", GREY)
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


def legend_above(axes: Axes, *, columns: int = 2) -> None:
    """Legend over the plot, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def chart(draw: Callable[[Axes], None], *, width: float = 4.8, height: float = 3.2) -> str:
    """Data URI of a plot of `width` × `height` inches that `draw` fills."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
