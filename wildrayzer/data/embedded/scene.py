"""Random clips: a room, furniture, actors, movers and a camera path. Geometry only; `raycast` renders it.

World axes are OpenCV's: x right, y down, z forward; lengths in metres, angles in radians. The camera stands near the
origin and looks along +z, give or take its yaw.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit
from wildrayzer.data.embedded.textures import actor_texture, furniture_texture

FOCAL = 1.25
"""Focal length over the image's side."""
HALF_VIEW = 0.5 / FOCAL
"""Half width of the view at depth 1."""
OBJECT_DEPTH = (1.6, 2.8)
"""Depth range of furniture and movers."""
FURNITURE_HALF = (0.2, 0.45)
"""Half extents of furniture."""


@dataclass(frozen=True)
class Solid:
    """A box or an ellipsoid with its pose in every frame: turned by `yaw` about y, then moved to `centre`."""

    kind: Literal["box", "ellipsoid"]
    half: Float[np.ndarray, "3"]
    centre: Float[np.ndarray, "t 3"]
    yaw: Float[np.ndarray, " t"]
    texture: UInt8[np.ndarray, "side side 3"]

    def standing(self, frame: int) -> "Solid":
        """The same solid, still in the pose it has in `frame`."""
        count = len(self.yaw)
        return replace(self, centre=self.centre[[frame] * count], yaw=self.yaw[[frame] * count])


@dataclass(frozen=True)
class Clip:
    """Everything that is seen in one clip."""

    room_half: Float[np.ndarray, "3"]
    room_centre: Float[np.ndarray, "3"]
    room_textures: UInt8[np.ndarray, "6 side side 3"]
    still: tuple[Solid, ...]
    movers: tuple[Solid, ...]
    c2w: Float[np.ndarray, "t 4 4"]
    times: Float[np.ndarray, " t"]
    """Time of every frame in [0, 1], ascending, not evenly spaced."""


@dataclass(frozen=True)
class Streams:
    """Independent random streams of one clip: rules that add or freeze movers leave the rest as it was."""

    camera: np.random.Generator
    room: np.random.Generator
    movers: np.random.Generator

    @classmethod
    def of(cls, entropy: tuple[int, ...]) -> "Streams":
        """Streams that follow from these whole numbers alone."""
        children = np.random.SeedSequence(entropy).spawn(3)
        return cls(*(np.random.default_rng(child) for child in children))


def _signed_path(rng: np.random.Generator, times: Float[np.ndarray, " t"], largest: float) -> Float[np.ndarray, " t"]:
    """A random signed, slightly bent path over time with at most about `largest` from end to end."""
    centred = times - 0.5
    path = largest * rng.uniform(0.35, 1.0) * centred
    path = path + largest * rng.uniform(-0.15, 0.15) * (4 * centred**2 - 0.5)
    return rng.choice([-1.0, 1.0]) * path


def draw_camera(
    rng: np.random.Generator, config: EmbeddedConfig
) -> tuple[Float[np.ndarray, "t 4 4"], Float[np.ndarray, " t"]]:
    """Camera-to-world matrices and times: a fifth near-pure slides, a fifth near-pure pans, the rest both."""
    times = np.sort(rng.random(config.frames))
    times = (times - times[0]) / (times[-1] - times[0])
    mode = rng.random()
    slide, yaw = _signed_path(rng, times, config.slide), _signed_path(rng, times, config.pan)
    if mode < 0.2:
        yaw = 0.1 * yaw
    elif mode < 0.4:
        slide = 0.1 * slide
    c2w = np.tile(np.eye(4), (config.frames, 1, 1))
    c2w[:, 0, 0] = c2w[:, 2, 2] = np.cos(yaw)
    c2w[:, 0, 2], c2w[:, 2, 0] = np.sin(yaw), -np.sin(yaw)
    c2w[:, 0, 3] = slide + rng.uniform(-0.25, 0.25)
    return c2w, times


def _furniture_piece(rng: np.random.Generator, config: EmbeddedConfig, side: int) -> Solid:
    depth = rng.uniform(*OBJECT_DEPTH)
    centre = np.array([rng.uniform(-0.55, 0.55) * depth, rng.uniform(-0.3, 0.35) * depth, depth])
    return Solid(
        kind="box",
        half=rng.uniform(*FURNITURE_HALF, 3),
        centre=np.tile(centre, (config.frames, 1)),
        yaw=np.full(config.frames, rng.uniform(-0.7, 0.7)),
        texture=furniture_texture(rng, detail=config.texture_detail, contrast=config.texture_contrast, side=side),
    )


def _mover_path(
    rng: np.random.Generator, config: EmbeddedConfig, times: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "t 3"]:
    """A path across the view. Its pace differs from the camera's: else it could pass for parallax of a still thing."""
    depth = rng.uniform(*OBJECT_DEPTH)
    half = HALF_VIEW * depth
    length = rng.uniform(*config.mover_travel) * half
    start = rng.uniform(-1.1, 1.1, 2) * half * [1.0, 0.7]
    angle = rng.uniform(0, 2 * np.pi)
    step = length * np.array([np.cos(angle), 0.6 * np.sin(angle)])
    bound = 1.25 * half
    end = np.clip(start + step, -bound, bound)
    if np.hypot(*(end - start)) < 0.6 * length:
        end = np.clip(start - step, -bound, bound)
    pace = times + rng.uniform(-0.6, 0.6) * times * (1 - times)
    path = np.empty((len(times), 3))
    path[:, :2] = start + (end - start) * pace[:, None]
    path[:, 1] += 0.06 * np.sin(rng.uniform(3, 7) * times + rng.uniform(0, 2 * np.pi))
    path[:, 2] = depth
    return path


def _furniture_mover(
    rng: np.random.Generator, config: EmbeddedConfig, times: Float[np.ndarray, " t"], side: int
) -> tuple[Solid, ...]:
    still = _furniture_piece(rng, config, side)
    return (replace(still, half=rng.uniform(*config.mover_size, 3), centre=_mover_path(rng, config, times)),)


def actor_solids(
    rng: np.random.Generator, config: EmbeddedConfig, path: Float[np.ndarray, "t 3"], side: int
) -> tuple[Solid, ...]:
    """An actor: a ball, or a body with a head, of ellipsoids with half extents in `mover_size`."""
    half = rng.uniform(*config.mover_size, 3)
    yaw = np.full(len(path), rng.uniform(-0.7, 0.7))
    texture = actor_texture(rng, detail=config.texture_detail, side=side)
    if rng.random() < 0.5:
        return (Solid("ellipsoid", half, path, yaw, texture),)
    body, head = half * [0.8, 0.75, 0.8], np.full(3, 0.4 * half[1])
    offset = np.array([0.0, 1.0, 0.0])
    head_texture = actor_texture(rng, detail=config.texture_detail, side=side)
    return (
        Solid("ellipsoid", body, path + 0.25 * half[1] * offset, yaw, texture),
        Solid("ellipsoid", head, path - 0.65 * half[1] * offset, yaw, head_texture),
    )


def _draw_movers(
    rng: np.random.Generator, config: EmbeddedConfig, times: Float[np.ndarray, " t"], side: int, *, furniture: bool
) -> tuple[Solid, ...]:
    movers: list[Solid] = []
    low, high = config.mover_count
    for _ in range(int(rng.integers(low, high + 1))):
        if furniture:
            movers += _furniture_mover(rng, config, times, side)
        else:
            movers += actor_solids(rng, config, _mover_path(rng, config, times), side)
    return tuple(movers)


def draw_clip(streams: Streams, config: EmbeddedConfig, split: EmbeddedSplit, *, texture_side: int) -> Clip:
    """Draw one clip under a split's rules."""
    c2w, times = draw_camera(streams.camera, config)
    rng = streams.room
    reach = float(np.abs(c2w[:, 0, 3]).max())
    back = rng.uniform(3.2, 4.2)
    half = np.array([max(rng.uniform(1.5, 2.3), reach + 0.3), rng.uniform(1.1, 1.7), (back + 1.5) / 2])
    walls = np.stack(
        [
            furniture_texture(rng, detail=config.texture_detail, contrast=config.texture_contrast, side=texture_side)
            for _ in range(6)
        ]
    )
    count = int(rng.integers(config.boxes[0], config.boxes[1] + 1))
    still = tuple(_furniture_piece(rng, config, texture_side) for _ in range(count))
    movers: tuple[Solid, ...] = ()
    middle = config.frames // 2
    if split.movers != "none":
        movers = _draw_movers(streams.movers, config, times, texture_side, furniture=split.movers == "furniture")
        if split.frozen:
            movers = tuple(solid.standing(middle) for solid in movers)
    elif streams.movers.random() < split.static_actors:
        actors = _draw_movers(streams.movers, config, times, texture_side, furniture=False)
        still += tuple(solid.standing(middle) for solid in actors)
    return Clip(half, np.array([0.0, 0.0, back - half[2]]), walls, still, movers, c2w, times)
