"""Pictures to try the app on: those that ship with the package, and clips of a finished demo in the working folder."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wildrayzer.app.uploads import Picture, of_arrays, read_uploads
from wildrayzer.io.shipped import BUNDLED_PHOTOS

if TYPE_CHECKING:
    from wildrayzer.data.frame_store.store import FrameStore

DEMO_RUN = Path("results/demo")
"""Of `make demo`, in the working folder."""
DEMO_CHECKPOINT = DEMO_RUN / "round1" / "joint" / "checkpoint"
"""Its last model, which has masks: the app's default where it exists."""
_SPLIT, _CLIPS, _VIEWS = "dynamic_test", 3, 6


@dataclass(frozen=True)
class Example:
    """A scene to choose."""

    title: str
    read: Callable[[int], list[Picture]]
    """Pictures for the side of the network's views, pixels."""


def find_examples(run: Path = DEMO_RUN) -> list[Example]:
    """The photos of the package, and a few test clips of a finished demo, if `run` has its frames."""
    photos = sorted(BUNDLED_PHOTOS.iterdir())
    examples = [Example("Room, two movers", lambda side: read_uploads(photos, image_size=side, frames=2))]
    if (run / "frames" / f"{_SPLIT}.json").is_file():
        examples += _clips_of(run)
    return examples


def _clips_of(run: Path) -> list[Example]:
    from wildrayzer.data.frame_store.store import FrameStore

    store = FrameStore(run / "frames" / f"{_SPLIT}.json")
    chosen = np.linspace(0, len(store.scenes) - 1, min(_CLIPS, len(store.scenes))).round().astype(int).tolist()
    return [Example(f"Test clip {number}", functools.partial(_clip, store, number)) for number in chosen]


def _clip(store: "FrameStore", scene: int, image_size: int) -> list[Picture]:
    first, stop = store.offsets[scene : scene + 2].tolist()
    frames = np.linspace(first, stop - 1, min(_VIEWS, stop - first)).round().astype(int)
    names: Sequence[str] = [f"frame {frame - first}" for frame in frames.tolist()]
    return of_arrays(store.read(frames), names, image_size=image_size)
