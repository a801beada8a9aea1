"""Pictures of the page: masks over views, maps of patches, and cameras as a drawing in perspective of one's choice."""

import html
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from wildrayzer.api.arrays import ViewCameras

SHOWN_SIDE = 288
"""Smaller pictures are enlarged to at least this side (Lanczos), since browsers blur them."""
RED, WHITE, BLUE = (225, 29, 72), (255, 255, 255), (56, 189, 248)
_INPUT, _TARGET, _PATH = "#2563eb", "#d97706", "#94a3b8"


def enlarged(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A picture for display, by a whole factor."""
    factor = -(-SHOWN_SIDE // min(image.shape[:2]))
    return image if factor == 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LANCZOS4)


def overlay(
    image: UInt8[np.ndarray, "h w 3"], transient: Bool[np.ndarray, "h w"], framed: Bool[np.ndarray, "g g"]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A view with its transient pixels in red, and white frames around some patches."""
    shown = enlarged(image).copy()
    side = shown.shape[:2]
    mask = cv2.resize(transient.astype(np.uint8), side[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    shown[mask] = (0.35 * shown[mask] + 0.65 * np.array(RED)).astype(np.uint8)
    _frame(shown, framed, WHITE)
    return shown


def heat_map(
    values: Float[np.ndarray, "g g"], low: float, high: float, *, framed: Bool[np.ndarray, "g g"] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """A map of patches, black at `low` and bright at `high`, with blue frames around some of them."""
    from wildrayzer.report.page.pictures import heat  # matplotlib is slow to import

    factor = -(-SHOWN_SIDE // len(values))
    shown = heat(values, low, high).repeat(factor, 0).repeat(factor, 1)
    if framed is not None:
        _frame(shown, framed, BLUE)
    return shown


def _frame(shown: UInt8[np.ndarray, "h w 3"], patches: Bool[np.ndarray, "g g"], colour: tuple[int, int, int]) -> None:
    """Draw frames around patches, in place."""
    step = len(shown) // len(patches)
    line = max(1, step // 14)
    for row, column in np.argwhere(patches) * step:
        patch = shown[row : row + step, column : column + step]
        patch[:line] = patch[-line:] = patch[:, :line] = patch[:, -line:] = colour


def cameras_svg(
    cameras: ViewCameras,
    inputs: Sequence[int],
    path: ViewCameras | None = None,
    *,
    azimuth: float | int = 35,
    elevation: float | int = 25,
) -> str:
    """Cameras as pyramids that open along the viewing direction, drawn without perspective, as SVG for a page.

    Args:
        cameras: of the views; world axes are OpenCV's of the canonical view (x right, y down, z forward).
        inputs: numbers of the input views.
        path: cameras of a path, drawn as a line.
        azimuth: turn of the drawing around the vertical axis, degrees.
        elevation: of the eye above the horizontal plane, degrees.
    """
    centres = cameras.c2w[:, :3, 3]
    along = centres if path is None else np.concatenate([centres, path.c2w[:, :3, 3]])
    depth = 0.25 * max(float(np.linalg.norm(along.max(0) - along.min(0))), 1e-3)
    frusta = [_frustum(c2w, fxfycxcy, depth) for c2w, fxfycxcy in zip(cameras.c2w, cameras.intrinsics, strict=True)]
    turn = _turn(azimuth, elevation)
    flat = np.concatenate([*frusta, along]) @ turn.T
    low, high = flat[:, :2].min(0), flat[:, :2].max(0)
    scale = min(560 / max(high[0] - low[0], 1e-9), 320 / max(high[1] - low[1], 1e-9))
    offset = np.array([320.0, 200.0]) - scale * (low + high) / 2

    def points(world: np.ndarray) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (world @ turn.T)[:, :2] * scale + offset)

    parts = []
    if path is not None:
        parts.append(f'<polyline points="{points(path.c2w[:, :3, 3])}" stroke="{_PATH}" stroke-dasharray="4 4"/>')
    for number in np.argsort(-(centres @ turn.T)[:, 2]).tolist():  # far ones first
        colour = _INPUT if number in inputs else _TARGET
        apex, *corners = frusta[number]
        lines = [f'<polygon points="{points(np.array(corners))}" fill="{colour}" fill-opacity=".18"/>']
        lines += [f'<polyline points="{points(np.array([apex, corner]))}"/>' for corner in corners]
        x, y = points(apex[None]).split(",")
        kind = "input" if number in inputs else "target"
        parts.append(
            f'<g stroke="{colour}"><title>view {number + 1}, {kind}</title>{"".join(lines)}'
            f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
            f'<text x="{x}" y="{float(y) - 8:.1f}" fill="{colour}" stroke="none">{number + 1}</text></g>'
        )
    described = html.escape(f"Predicted cameras of {len(cameras)} views, {len(inputs)} of them inputs")
    return (
        f'<svg viewBox="0 0 640 400" role="img" aria-label="{described}" style="width:100%;max-height:460px" '
        'fill="none" stroke-width="1.5" font-family="system-ui,sans-serif" font-size="14" text-anchor="middle">'
        f"{''.join(parts)}</svg>"
    )


def _frustum(c2w: Float[np.ndarray, "4 4"], fxfycxcy: Float[np.ndarray, "4"], depth: float) -> Float[np.ndarray, "5 3"]:
    """Centre and the four corners of the image plane at a depth, in world coordinates."""
    fx, fy, cx, cy = fxfycxcy.tolist()
    corners = [((x - cx) / fx, (y - cy) / fy, 1.0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return np.array([(0, 0, 0), *corners]) * depth @ c2w[:3, :3].T + c2w[:3, 3]


def _turn(azimuth: float | int, elevation: float | int) -> Float[np.ndarray, "3 3"]:
    """Rotation from the world to the drawing: x right, y down, z away from the eye."""
    a, e = math.radians(azimuth), math.radians(elevation)
    around = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    return tilt @ around
