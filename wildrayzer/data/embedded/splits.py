"""One procedural split: which clip is which, drawn and encoded in parallel.

A clip is a function of `data.embedded.seed`, the name of the split or of the root of its `reuse_seed_of` chain, the
clip's index, and the split's rules, whatever the number of processes. With `reuse_cameras_of`, the camera path is that
of the clip of the same index in another split.
"""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import cv2

from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit
from wildrayzer.data.embedded.raycast import Rendering, render_clip
from wildrayzer.data.embedded.scene import Clip, Streams, draw_clip
from wildrayzer.data.embedded.textures import load_photographs

Encoded = TypeVar("Encoded")


@dataclass(frozen=True)
class RenderedClip:
    """A clip and its frames."""

    number: int
    clip: Clip
    rendering: Rendering


def seed_name(config: EmbeddedConfig, split: str) -> str:
    """Name that a split's clips are seeded by: its own, or the one at the end of its `reuse_seed_of` chain.

    Raises:
        ValueError: the split is unknown, or the chain runs in a circle.
    """
    seen: list[str] = []
    name: str | None = split
    while name is not None:
        if name not in config.splits:
            raise ValueError(f"data.embedded.splits has no {name!r}; known: {sorted(config.splits)}")
        if name in seen:
            raise ValueError(
                f"data.embedded.splits.{split}.reuse_seed_of runs in a circle: {' → '.join([*seen, name])}"
            )
        seen.append(name)
        name = config.splits[name].reuse_seed_of
    return seen[-1]


def texture_side(image_size: int) -> int:
    """Texels along the side of a texture that look smooth at this image size."""
    return max(64, 1 << (image_size - 1).bit_length())


def make_clip(
    number: int,
    *,
    config: EmbeddedConfig,
    split: EmbeddedSplit,
    key: str,
    camera_key: str | None = None,
    image_size: int,
) -> RenderedClip:
    """Draw and render one clip; `key` is the name that seeds it, `camera_key` the one of its camera path."""
    streams = Streams.of((config.seed, zlib.crc32(key.encode()), number))
    if camera_key is not None:
        camera = Streams.of((config.seed, zlib.crc32(camera_key.encode()), number)).camera
        streams = replace(streams, camera=camera)
    clip = draw_clip(streams, config, split, texture_side=texture_side(image_size))
    return RenderedClip(number, clip, render_clip(clip, size=image_size, supersampling=config.supersampling))


def _make_and_encode(
    number: int, *, make: Callable[[int], RenderedClip], encode: Callable[[RenderedClip], Encoded]
) -> Encoded:
    return encode(make(number))


def one_thread() -> None:
    """Keep OpenCV from starting threads: they do not survive a fork."""
    cv2.setNumThreads(1)


def map_numbers(work: Callable[[int], Encoded], count: int, *, threads: int) -> Iterator[Encoded]:
    """`work(0) … work(count - 1)` in order, in `threads` processes; one that is killed is an error."""
    load_photographs()  # read once, shared by all forked processes
    if threads <= 1:
        yield from map(work, range(count))
        return
    one_thread()
    with ProcessPoolExecutor(threads, get_context("fork"), initializer=one_thread) as pool:
        yield from pool.map(work, range(count), chunksize=4)


def iterate_clips(
    config: EmbeddedConfig,
    split: str,
    encode: Callable[[RenderedClip], Encoded],
    *,
    image_size: int,
    threads: int,
) -> Iterator[Encoded]:
    """Render all clips of a split, encoded by the process that rendered them, in order."""
    rules = config.splits[split]
    path = rules.reuse_cameras_of
    camera_key = None if path is None else seed_name(config, path)
    make = partial(make_clip, config=config, split=rules, key=seed_name(config, split), camera_key=camera_key,
                   image_size=image_size)  # fmt: skip
    yield from map_numbers(partial(_make_and_encode, make=make, encode=encode), rules.scenes, threads=threads)
