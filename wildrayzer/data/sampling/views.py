"""Views of training samples (docs/method.md#views-of-a-sample) and of evaluation windows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from wildrayzer.config.sections.training import ViewsConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.index_file import EvaluationWindow, EvaluationWindows, read_index


def least_length(views: ViewsConfig, *, inputs: int | None = None) -> int:
    """Frames a clip needs at least, for one number of inputs or for all in `views.inputs`."""
    most = max(views.inputs) if inputs is None else inputs
    return max(views.min_distance, most + views.targets - 1) + 1


def draw_views(rng: np.random.Generator, length: int, *, inputs: int, views: ViewsConfig) -> Int64[np.ndarray, " v"]:
    """Frame numbers of one sample, inputs first (`two_frame`, docs/method.md#views-of-a-sample).

    The two end frames, at a random distance, are the first two inputs; the others lie strictly between, all distinct.
    With `views.shuffle` the ends come in random direction and the frames between in random order.

    Raises:
        ValueError: the clip is too short.
    """
    count = inputs + views.targets
    low, high = max(views.min_distance, count - 1), min(views.max_distance, length - 1)
    if low > high:
        raise ValueError(
            f"a clip of {length} frames has no {count} views at a distance of {low} to {views.max_distance}; "
            "lower views.min_distance, views.inputs or views.targets, or leave the clip out"
        )
    distance = int(rng.integers(low, high + 1))
    start = int(rng.integers(length - distance))
    between = start + 1 + rng.permutation(distance - 1)[: count - 2]
    ends = np.array([start, start + distance])
    if views.shuffle:
        return np.concatenate([ends[:: 1 if rng.random() < 0.5 else -1], between])
    further, targets = np.sort(between[: inputs - 2]), np.sort(between[inputs - 2 :])
    return np.concatenate([ends, further, targets])


@dataclass(frozen=True)
class Augmentation:
    """What was done to all views of a sample alike."""

    mirror: bool = False
    flip: bool = False
    colours: tuple[int, int, int] = (0, 1, 2)

    @classmethod
    def draw(cls, rng: np.random.Generator, views: ViewsConfig) -> "Augmentation":
        """Draw what `views` allows."""
        mirror, flip = rng.random(2) < 0.5
        colours = rng.permutation(3)
        return cls(
            mirror=bool(mirror) and views.mirror,
            flip=bool(flip) and views.flip,
            colours=(int(colours[0]), int(colours[1]), int(colours[2])) if views.permute_colours else (0, 1, 2),
        )

    def apply_mask(self, masks: np.ndarray) -> np.ndarray:
        """Mirror and flip arrays [n h w ...] (masks, or anything per pixel) as the frames were."""
        return np.ascontiguousarray(masks[:, :: -1 if self.flip else 1, :: -1 if self.mirror else 1])

    def apply(self, frames: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Mirror, flip and permute the colours of frames."""
        turned = frames[:, :: -1 if self.flip else 1, :: -1 if self.mirror else 1]
        if self.colours != (0, 1, 2):
            turned = turned[..., list(self.colours)]
        return np.ascontiguousarray(turned)


class ViewDataset:
    """Training samples of one split, each a function of (seed, epoch, scene, inputs) alone.

    `usable` are the scenes long enough for every number of inputs, `skipped` counts the others by reason.

    Raises:
        ValueError: no scene is long enough.
    """

    def __init__(self, store: FrameStore, views: ViewsConfig, *, seed: int) -> None:
        self.store, self.views, self.seed = store, views, seed
        least = least_length(views)
        self.usable = self.usable_scenes()
        self.skipped = {f"fewer than {least} frames": len(store) - len(self.usable)}
        if not len(self.usable):
            raise ValueError(
                f"frame store {store.path}: no clip has the {least} frames that views.min_distance = "
                f"{views.min_distance}, views.inputs = {list(views.inputs)} and views.targets = {views.targets} need"
            )

    def usable_scenes(self, views: int | None = None) -> Int64[np.ndarray, " s"]:
        """Scenes long enough for samples of this many views; None asks for every number in `views.inputs`."""
        least = least_length(self.views, inputs=None if views is None else views - self.views.targets)
        return np.flatnonzero(np.diff(self.store.offsets) >= least)

    def sample(self, epoch: int, scene: int, inputs: int) -> dict[str, Any]:
        """One sample.

        Returns:
            `images` uint8 [V h w 3] augmented, inputs first; `frames` int64 [V] global frame indices;
            `augmentation`, and `augment`, its function that brings masks [V h w ...] of the same frames along.
        """
        rng = np.random.default_rng((self.seed, epoch, scene, inputs))
        numbers = draw_views(rng, self.store.length(scene), inputs=inputs, views=self.views)
        frames = numbers + self.store.offsets[scene]
        augmentation = Augmentation.draw(rng, self.views)
        return {
            "images": augmentation.apply(self.store.read(frames)),
            "frames": frames,
            "augmentation": augmentation,
            "augment": augmentation.apply_mask,
        }


def evaluation_windows(
    store: FrameStore,
    *,
    inputs: int,
    targets: int,
    min_distance: int,
    seed: int,
    index_file: str | Path | None = None,
) -> EvaluationWindows:
    """One window a scene: from a frozen index file, or drawn from (seed, scene).

    Drawn windows have the ends as first two inputs, further inputs and targets between, in the clip's order.

    Raises:
        ValueError: the index file names unknown scenes or frames, or a frame twice, or no clip is long enough.
    """
    if index_file is not None:
        return read_index(store, index_file)
    # The largest distance of training does not bind an evaluation: clips are taken as long as they are.
    longest = max([min_distance, inputs + targets, *np.diff(store.offsets).tolist()])
    views = ViewsConfig(
        inputs=(inputs,), targets=targets, min_distance=min_distance, max_distance=longest, shuffle=False
    )
    least = least_length(views)
    windows, skipped = [], {}
    for scene, name in enumerate(store.scenes):
        if store.length(scene) < least:
            skipped[name] = f"{store.length(scene)} frames, {least} are needed"
            continue
        rng = np.random.default_rng((seed, scene))
        numbers = draw_views(rng, store.length(scene), inputs=inputs, views=views).tolist()
        windows.append(EvaluationWindow(scene, tuple(numbers[:inputs]), tuple(numbers[inputs:])))
    if not windows:
        raise ValueError(
            f"frame store {store.path}: no clip has the {least} frames that {inputs} inputs, {targets} targets and "
            f"benchmark.min_distance = {min_distance} need; lower one of them"
        )
    return EvaluationWindows.of(windows, skipped)
