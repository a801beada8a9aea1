"""Pictures to try the app on: photos that ship with the package, and held-out clips of the embedded data set."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wildrayzer.app.uploads import Picture, of_arrays, read_uploads
from wildrayzer.config import load_config
from wildrayzer.data.embedded.splits import make_clip, seed_name
from wildrayzer.io.shipped import BUNDLED_PHOTOS
from wildrayzer.tools.video_masks.workspace import BASE

_SPLIT, _CLIPS, _VIEWS = "pairs_test", 3, 6
"""The first test clips, which nobody chose."""


@dataclass(frozen=True)
class Example:
    """A scene to choose."""

    title: str
    read: Callable[[int], list[Picture]]
    """Pictures for the side of the network's views, pixels."""


def find_examples() -> list[Example]:
    """The photos of the package and a few clips, which are rendered here; none was seen in training."""
    photos = sorted(BUNDLED_PHOTOS.iterdir())
    examples = [Example("Room, two movers", lambda side: read_uploads(photos, image_size=side, frames=2))]
    return examples + [Example(f"Test clip {number}", functools.partial(_clip, number)) for number in range(_CLIPS)]


@functools.cache
def _clip(number: int, image_size: int) -> list[Picture]:
    embedded = load_config(BASE).data.embedded
    assert embedded is not None, "the embedded data set"
    key = seed_name(embedded, _SPLIT)
    made = make_clip(number, config=embedded, split=embedded.splits[_SPLIT], key=key, image_size=image_size)
    frames = np.linspace(0, embedded.frames - 1, _VIEWS).round().astype(int)
    return of_arrays(made.rendering.frames[frames], [f"frame {frame}" for frame in frames], image_size=image_size)
