"""Analytic ray casting of a clip: pinhole rays against the room, boxes and ellipsoids.

Rays leave through the centres of a grid of samples, `supersampling` along the side of a pixel, and are not
normalised: their camera z is 1, so that the ray parameter is the depth along the optical axis.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt32

from wildrayzer.data.embedded.canvas import Canvas, shaded_faces, texel
from wildrayzer.data.embedded.scene import FOCAL, Clip
from wildrayzer.data.embedded.solids import draw_solid


@dataclass(frozen=True)
class Rendering:
    """Frames of a clip; `clean` lacks the movers, `depth` is that of the samples with movers."""

    frames: UInt8[np.ndarray, "t n n 3"]
    clean: UInt8[np.ndarray, "t n n 3"]
    masks: UInt8[np.ndarray, "t n n"]
    """1 = transient: at least half of the pixel's samples hit a mover."""
    touched: Bool[np.ndarray, "t n n"]
    """Any sample of the pixel hits a mover; only here frames and clean twins may differ."""
    depth: Float32[np.ndarray, "t m m"]


def _cast_room(clip: Clip, grid: Float32[np.ndarray, " m"]) -> Canvas:
    """The room fills every sample: the nearest of the three walls that a ray leaves through."""
    rotation = clip.c2w[:, :3, :3].astype(np.float32)
    origin = (clip.c2w[:, :3, 3] - clip.room_centre).astype(np.float32)
    half = clip.room_half.astype(np.float32)
    direction, exits = [], []
    for axis in range(3):
        row = rotation[:, axis, 1, None] * grid + (rotation[:, axis, 2, None] + np.float32(1e-9))
        along = row[:, :, None] + (rotation[:, axis, 0, None] * grid)[:, None, :]
        inverse = 1 / along
        leave = np.abs(inverse) * half[axis]
        inverse *= origin[:, axis, None, None]
        leave -= inverse
        direction.append(along)
        exits.append(leave)
    depth = np.minimum(np.minimum(exits[0], exits[1]), exits[2])
    on_x, on_y = depth == exits[0], depth == exits[1]
    point = [(origin[:, axis, None, None] + depth * direction[axis]) * np.float32(1 / half[axis]) for axis in range(3)]
    u = np.where(on_x, point[2], point[0])
    v = np.where(on_y, point[2], point[1])
    v = np.where(on_x, point[1], v)
    face = np.where(on_x, direction[0] > 0, np.where(on_y, 2 + (direction[1] > 0), 4 + (direction[2] > 0)))
    side = clip.room_textures.shape[1]
    colour = shaded_faces(clip.room_textures).take(texel(face.astype(np.int32), u, v, side))
    return Canvas(grid, depth, colour)


def _shrink(colour: UInt32[np.ndarray, "t m m"], size: int) -> UInt8[np.ndarray, "t size size 3"]:
    samples = colour.view(np.uint8).reshape(*colour.shape, 4)
    if samples.shape[1] == size:
        return np.ascontiguousarray(samples[..., :3])
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)[..., :3] for frame in samples])


def sample_grid(count: int) -> Float32[np.ndarray, " count"]:
    """x/z (and y/z) of the sample centres along a side, in camera axes."""
    return ((np.arange(count) + 0.5) / count - 0.5).astype(np.float32) / np.float32(FOCAL)


def render_clip(clip: Clip, *, size: int, supersampling: int) -> Rendering:
    """Render all frames of a clip with its movers, and without them."""
    samples = size * supersampling
    canvas = _cast_room(clip, sample_grid(samples))
    for solid in clip.still:
        draw_solid(canvas, solid, clip.c2w, None)
    clean = _shrink(canvas.colour, size)
    hits = np.zeros(canvas.depth.shape, bool)
    if not clip.movers:
        nothing = np.zeros(clean.shape[:3], np.uint8)
        return Rendering(clean, clean, nothing, nothing.astype(bool), canvas.depth)
    for solid in clip.movers:
        draw_solid(canvas, solid, clip.c2w, hits)
    count = hits.reshape(len(hits), size, supersampling, size, supersampling).sum((2, 4))
    masks = (2 * count >= supersampling**2).astype(np.uint8)
    return Rendering(_shrink(canvas.colour, size), clean, masks, count > 0, canvas.depth)
