"""Predicted camera paths of held-out windows, seen from above."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

_COLUMNS = 3
_ARROW = 0.15
"""Length of a viewing direction, as a share of the path's extent."""


def draw_camera_paths(
    path: Path, c2w: Float[np.ndarray, "s v 4 4"], frames: Int[np.ndarray, "s v"], *, inputs: int, title: str
) -> None:
    """Write a PNG with a panel a window: camera centres in frame order and where each camera looks.

    The axes are x (right) and z (forward) of the canonical camera, in the scene units that the renderer chose; they are
    the same in both directions, but each panel has its own scale.

    Args:
        path: of the picture; its folder is made.
        c2w: predicted camera-to-world of `v` views, inputs first, OpenCV axes.
        frames: their frame numbers.
        inputs: input views.
        title: above the panels.
    """
    from matplotlib.figure import Figure

    rows = -(-len(c2w) // _COLUMNS)
    figure = Figure(figsize=(3.0 * _COLUMNS, 2.8 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = np.asarray(figure.subplots(rows, _COLUMNS, squeeze=False)).ravel()
    for panel in panels[len(c2w) :]:
        panel.set_axis_off()
    for number, (panel, poses, numbers) in enumerate(zip(panels, c2w, frames, strict=False)):
        centres, forward = poses[:, [0, 2], 3], poses[:, [0, 2], 2]
        order = np.argsort(numbers)
        panel.plot(*centres[order].T, color="#bbbbbb", linewidth=1, zorder=1)
        reach = max(float(np.ptp(centres, axis=0).max()), 1e-6)
        tips = centres + _ARROW * reach * forward
        panel.plot(
            np.stack([centres[:, 0], tips[:, 0]]), np.stack([centres[:, 1], tips[:, 1]]), color="#767676", lw=0.8
        )
        panel.scatter(*centres[:inputs].T, marker="s", s=22, color="#0068a8", label="inputs", zorder=2)
        panel.scatter(*centres[inputs:].T, marker="o", s=18, color="#d55e00", label="targets", zorder=2)
        for centre, frame in zip(centres, numbers, strict=True):
            panel.annotate(str(frame), centre, xytext=(3, 3), textcoords="offset points", fontsize=6)
        panel.set_aspect("equal", adjustable="datalim")
        panel.tick_params(labelsize=6)
        panel.set_title(f"window {number}", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
