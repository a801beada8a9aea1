"""Boxes and ellipsoids, cast on all frames of a clip at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt32

from wildrayzer.data.embedded.canvas import NEAR, Canvas, pack, shaded_faces, texel
from wildrayzer.data.embedded.scene import Solid

LIGHT = np.array([0.35, -0.8, -0.5])
"""Direction towards the light that shades ellipsoids; y points down."""


def _window(centre: np.ndarray, radius: float, grid: np.ndarray) -> tuple[int, int, int, int] | None:
    """First and last row and column of the samples that a sphere can cover; `centre` in camera axes."""
    x, y, z = centre
    if z + radius <= NEAR:
        return None
    if z - radius <= NEAR:
        return 0, len(grid), 0, len(grid)
    near, far = z - radius, z + radius
    low, high = np.array([y, x]) - radius, np.array([y, x]) + radius
    first = np.searchsorted(grid, low / np.where(low < 0, near, far))
    last = np.searchsorted(grid, high / np.where(high > 0, near, far))
    if (first >= last).any():
        return None
    return int(first[0]), int(last[0]), int(first[1]), int(last[1])


@dataclass(frozen=True)
class _Windows:
    """Windows of one size on the frames that see a solid: one array operation serves all frames."""

    frames: np.ndarray
    rows: np.ndarray
    """[frames, rows] sample rows of every window."""
    columns: np.ndarray

    @classmethod
    def around(cls, centres: Float[np.ndarray, "t 3"], radius: float, grid: np.ndarray) -> "_Windows | None":
        """Windows around spheres at `centres`, in camera axes."""
        found = [(frame, _window(centre, radius, grid)) for frame, centre in enumerate(centres)]
        seen = [(frame, *window) for frame, window in found if window is not None]
        if not seen:
            return None
        frames, top, bottom, left, right = np.array(seen).T
        height, width = int((bottom - top).max()), int((right - left).max())
        rows = np.minimum(top, len(grid) - height)[:, None] + np.arange(height)
        columns = np.minimum(left, len(grid) - width)[:, None] + np.arange(width)
        return cls(frames, rows, columns)

    def locate(self, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frame, row and column of flat indices into the windows."""
        rest, column = np.divmod(hit, self.columns.shape[1])
        window, row = np.divmod(rest, self.rows.shape[1])
        return self.frames[window], self.rows[window, row], self.columns[window, column]


@dataclass(frozen=True)
class _Hits:
    """Samples where a solid is the nearest thing: flat indices into the windows, depths, points in unit axes."""

    flat: np.ndarray
    depth: np.ndarray
    point: list[np.ndarray]
    axis: np.ndarray | None = None
    """Axis of the face that a box is hit on."""


def _points(origin: np.ndarray, direction: list[np.ndarray], flat: np.ndarray, depth: np.ndarray) -> list[np.ndarray]:
    start = origin[flat // direction[0][0].size]
    return [start[:, axis] + depth * along.ravel()[flat] for axis, along in enumerate(direction)]


def _hit_box(origin: np.ndarray, direction: list[np.ndarray], depth: np.ndarray) -> _Hits:
    """Where rays enter a box of half extents 1, nearer than `depth` [windows rows columns]."""
    enter, leave = np.full(depth.shape, -np.inf, np.float32), np.full(depth.shape, np.inf, np.float32)
    axis = np.zeros(depth.shape, np.int8)
    for number, along in enumerate(direction):
        inverse = 1 / along
        reach = np.abs(inverse)
        centre = inverse * -origin[:, number, None, None]
        low = centre - reach
        centre += reach
        axis[low > enter] = number
        np.maximum(enter, low, out=enter)
        np.minimum(leave, centre, out=leave)
    flat = np.flatnonzero((enter < leave) & (enter > NEAR) & (enter < depth))
    near = enter.ravel()[flat]
    return _Hits(flat, near, _points(origin, direction, flat, near), axis.ravel()[flat].astype(np.int32))


def _hit_ellipsoid(origin: np.ndarray, direction: list[np.ndarray], depth: np.ndarray) -> _Hits:
    """Where rays enter the unit sphere, nearer than `depth` [windows rows columns]."""
    start = origin[:, :, None, None]
    square = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
    middle = start[:, 0] * direction[0] + start[:, 1] * direction[1] + start[:, 2] * direction[2]
    discriminant = middle**2 - square * ((start**2).sum(1) - np.float32(1))
    distance = (-middle - np.sqrt(np.maximum(discriminant, 0))) / square
    flat = np.flatnonzero((discriminant > 0) & (distance > NEAR) & (distance < depth))
    near = distance.ravel()[flat]
    return _Hits(flat, near, _points(origin, direction, flat, near))


def _colour_box(solid: Solid, hits: _Hits) -> UInt32[np.ndarray, " hits"]:
    assert hits.axis is not None  # boxes have one
    x, y, z = hits.point
    on_x, on_y = hits.axis == 0, hits.axis == 1
    positive = np.where(on_x, x, np.where(on_y, y, z)) > 0
    place = texel(2 * hits.axis + positive, np.where(on_x, z, x), np.where(on_y, z, y), solid.texture.shape[0])
    return shaded_faces(np.broadcast_to(solid.texture, (6, *solid.texture.shape))).take(place)


def _colour_ellipsoid(solid: Solid, hits: _Hits, light: Float32[np.ndarray, "hits 3"]) -> UInt32[np.ndarray, " hits"]:
    """Texture by longitude and height, shaded by `light`, given in the solid's axes for every hit."""
    points = np.stack(hits.point)
    normal = points / solid.half.astype(np.float32)[:, None]
    normal /= np.sqrt((normal**2).sum(0))
    shade = 0.65 + 0.35 * np.maximum((light.T * normal).sum(0), 0)
    longitude = np.arctan2(points[0], -points[2]) / np.float32(np.pi)
    place = texel(np.zeros(1, np.int32), longitude, points[1], solid.texture.shape[0])
    colours = solid.texture.reshape(-1, 3)[place] * shade[:, None]
    return pack(colours.astype(np.uint8))


def _turns(yaw: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t 3 3"]:
    """Rotations from world into object axes."""
    turns = np.zeros((len(yaw), 3, 3))
    turns[:, 0, 0] = turns[:, 2, 2] = np.cos(yaw)
    turns[:, 2, 0], turns[:, 0, 2] = np.sin(yaw), -np.sin(yaw)
    turns[:, 1, 1] = 1
    return turns


def draw_solid(
    canvas: Canvas, solid: Solid, c2w: Float[np.ndarray, "t 4 4"], hits: Bool[np.ndarray, "t m m"] | None
) -> None:
    """Draw a solid on every frame where it is the nearest thing, and mark its samples in `hits`."""
    radius = float(np.linalg.norm(solid.half)) if solid.kind == "box" else float(solid.half.max())
    offset = c2w[:, :3, 3] - solid.centre
    windows = _Windows.around(-np.einsum("tji,tj->ti", c2w[:, :3, :3], offset), radius, canvas.grid)
    if windows is None:
        return
    seen = windows.frames
    to_object = _turns(solid.yaw[seen])
    unit = (to_object / solid.half[:, None]).astype(np.float32)
    origin = np.einsum("tij,tj->ti", unit, offset[seen].astype(np.float32))
    axes = unit @ c2w[seen, :3, :3].astype(np.float32)
    rows, columns = canvas.grid[windows.rows], canvas.grid[windows.columns]
    direction = [
        (axes[:, a, 1, None] * rows + (axes[:, a, 2, None] + np.float32(1e-9)))[:, :, None]
        + (axes[:, a, 0, None] * columns)[:, None, :]
        for a in range(3)
    ]
    depth = canvas.depth[seen[:, None, None], windows.rows[:, :, None], windows.columns[:, None, :]]
    if solid.kind == "box":
        found = _hit_box(origin, direction, depth)
        colour = _colour_box(solid, found)
    else:
        found = _hit_ellipsoid(origin, direction, depth)
        light = (to_object @ (LIGHT / np.linalg.norm(LIGHT))).astype(np.float32)
        colour = _colour_ellipsoid(solid, found, light[found.flat // depth[0].size])
    place = windows.locate(found.flat)
    canvas.depth[place] = found.depth
    canvas.colour[place] = colour
    if hits is not None:
        hits[place] = True
