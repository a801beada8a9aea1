"""Views of training samples (docs/method.md#views-of-a-sample) and of evaluation windows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from wildrayzer.config.sections.views import ViewsConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.index_file import EvaluationWindow, EvaluationWindows, read_index
from wildrayzer.data.sampling.overlap import ends_of_overlap
from wildrayzer.geometry.cameras import normalise_poses

ClipCameras = tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 4"]]
"""Camera-to-world (OpenCV axes) and normalised intrinsics of all frames of a clip."""


def least_length(views: ViewsConfig, *, inputs: int | None = None) -> int:
    """Frames a clip needs at least, for one number of inputs or for all in `views.inputs`, at every step."""
    most = max(views.inputs) if inputs is None else inputs
    return max(views.least_distance, most + views.targets - 1) + 1


def draw_views(
    rng: np.random.Generator,
    length: int,
    *,
    inputs: int,
    views: ViewsConfig,
    step: int | None = None,
    cameras: ClipCameras | None = None,
) -> Int64[np.ndarray, " v"]:
    """Frame numbers of one sample, all different, inputs first (`two_frame`, docs/method.md#views-of-a-sample).

    The two end frames, at a random distance, are the first two inputs; the others lie strictly between. With one input
    the second end is a target. With `views.input_views: random` any of them can be an input. With `views.shuffle` the
    ends come in random direction and the frames between in random order.

    Args:
        rng: random numbers.
        length: frames of the clip.
        inputs: input views.
        views: how to draw.
        step: optimiser step, which `views.curriculum` depends on; None draws from the final range of distances.
        cameras: of the clip, for `views.curriculum.by: overlap`.

    Raises:
        ValueError: the clip is too short.
    """
    count = inputs + views.targets
    least, most = views.distances(step)
    low, high = max(least, count - 1), min(most, length - 1)
    if low > high:
        raise ValueError(
            f"a clip of {length} frames has no {count} views at a distance of {low} to {most}; "
            "lower views.min_distance, views.inputs or views.targets, or leave the clip out"
        )
    overlaps = None if step is None else views.overlaps(step)
    if overlaps is None:
        distance = int(rng.integers(low, high + 1))
        start = int(rng.integers(length - distance))
    else:
        assert cameras is not None
        assert views.curriculum is not None
        start, distance = ends_of_overlap(
            rng, cameras, overlaps=overlaps, distances=(low, high), curriculum=views.curriculum
        )
    between = start + 1 + rng.permutation(distance - 1)[: count - 2]
    ends = np.array([start, start + distance])
    if views.input_views == "random":
        drawn = rng.permutation(np.concatenate([ends, between]))
        return drawn if views.shuffle else np.concatenate([np.sort(drawn[:inputs]), np.sort(drawn[inputs:])])
    if views.shuffle:
        return np.concatenate([ends[:: 1 if rng.random() < 0.5 else -1], between])
    ordered = np.concatenate([ends, between])
    return np.concatenate([ordered[:2], np.sort(ordered[2:inputs]), np.sort(ordered[max(2, inputs) :])])


def view_order(rng: np.random.Generator, *, inputs: int, views: ViewsConfig) -> Int64[np.ndarray, " v"]:
    """Which of the views of `draw_views` are shown, inputs first: each once, or with `views.repeat_inputs` the inputs
    and then targets from among all views, each at most once."""
    every = np.arange(inputs + views.targets)
    if not views.repeat_inputs:
        return every
    targets = rng.permutation(every)[: views.targets]
    return np.concatenate([every[:inputs], targets if views.shuffle else np.sort(targets)])


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

    def apply_cameras(self, cameras: ClipCameras) -> ClipCameras:
        """Cameras that see the frames as `apply` leaves them: a mirrored frame is what a camera sees in a mirrored
        world, which stays a rotation and a centre. Colours do not matter."""
        c2w, intrinsics = cameras
        signs = np.array([-1 if self.mirror else 1, -1 if self.flip else 1, 1, 1], c2w.dtype)
        turned = intrinsics.copy()
        for axis, done in ((2, self.mirror), (3, self.flip)):
            if done:
                turned[:, axis] = 1 - turned[:, axis]
        return c2w * signs[:, None] * signs, turned

    def apply(self, frames: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Mirror, flip and permute the colours of frames."""
        turned = frames[:, :: -1 if self.flip else 1, :: -1 if self.mirror else 1]
        if self.colours != (0, 1, 2):
            turned = turned[..., list(self.colours)]
        return np.ascontiguousarray(turned)


class ViewDataset:
    """Training samples of one split, each a function of (seed, epoch, scene, inputs) and, with a curriculum, the step.

    `usable` are the scenes long enough for every number of inputs at every step, `skipped` counts the others by reason.

    Args:
        store: frames of the split.
        views: how views are drawn.
        seed: of the draws.
        cameras: whether samples come with their true cameras.

    Raises:
        ValueError: no scene is long enough, or cameras are needed and the store has none.
    """

    def __init__(self, store: FrameStore, views: ViewsConfig, *, seed: int, cameras: bool = False) -> None:
        self.store, self.views, self.seed, self.cameras = store, views, seed, cameras
        self.by_overlap = views.curriculum is not None and views.curriculum.by == "overlap"
        if (cameras or self.by_overlap) and not store.has_cameras:
            why = "model.cameras: given" if cameras else "views.curriculum.by: overlap"
            raise ValueError(f"frame store {store.path} holds no cameras, which {why} needs; use a split that has them")
        least = least_length(views)
        self.usable = self.usable_scenes()
        self.skipped = {f"fewer than {least} frames": len(store) - len(self.usable)}
        if not len(self.usable):
            raise ValueError(
                f"frame store {store.path}: no clip has the {least} frames that views.min_distance = "
                f"{views.least_distance}, views.inputs = {list(views.inputs)} and views.targets = {views.targets} need"
            )

    def usable_scenes(self, views: int | None = None) -> Int64[np.ndarray, " s"]:
        """Scenes long enough for samples of this many views; None asks for every number in `views.inputs`."""
        least = least_length(self.views, inputs=None if views is None else views - self.views.targets)
        return np.flatnonzero(np.diff(self.store.offsets) >= least)

    def sample(self, epoch: int, scene: int, inputs: int, *, step: int = 0) -> dict[str, Any]:
        """One sample.

        Args:
            epoch: pass over the split.
            scene: of the split.
            inputs: input views.
            step: optimiser step, which matters with `views.curriculum` only.

        Returns:
            `images` uint8 [V h w 3] augmented, inputs first; `frames` int64 [V] global frame indices;
            `augmentation`, and `augment`, its function that brings masks [V h w ...] of the same frames along;
            `cameras`: c2w [V 4 4], normalised over the views drawn, and intrinsics [V 4] of the augmented images, or
            None.
        """
        rng = np.random.default_rng((self.seed, epoch, scene, inputs))
        first, length = self.store.offsets[scene], self.store.length(scene)
        clip = self._cameras(first + np.arange(length)) if self.by_overlap else None
        drawn = draw_views(rng, length, inputs=inputs, views=self.views, step=step, cameras=clip) + first
        order = view_order(rng, inputs=inputs, views=self.views)
        frames = drawn[order]
        augmentation = Augmentation.draw(rng, self.views)
        return {
            "images": augmentation.apply(self.store.read(frames)),
            "frames": frames,
            "augmentation": augmentation,
            "augment": augmentation.apply_mask,
            "cameras": augmentation.apply_cameras(self._normalised(drawn, order)) if self.cameras else None,
        }

    def _cameras(self, frames: Int64[np.ndarray, " n"]) -> ClipCameras:
        c2w, intrinsics = self.store.cameras(frames)
        return c2w.astype(np.float32), intrinsics.astype(np.float32)

    def _normalised(self, drawn: Int64[np.ndarray, " v"], order: Int64[np.ndarray, " v"]) -> ClipCameras:
        """Cameras of the views in their order, normalised over all that were drawn, as in LVSM."""
        c2w, intrinsics = self._cameras(drawn)
        return normalise_poses(torch.from_numpy(c2w)).numpy()[order], intrinsics[order]


def evaluation_windows(
    store: FrameStore,
    *,
    inputs: int,
    targets: int,
    min_distance: int,
    max_distance: int | None = None,
    seed: int,
    index_file: str | Path | None = None,
    intersect: bool = False,
    distance_option: str = "benchmark.min_distance",
) -> EvaluationWindows:
    """One window per scene: from a frozen index file, or drawn from (seed, scene).

    Drawn windows have the ends as first two inputs, further inputs and targets between, in the clip's order. With
    `intersect`, scenes and frames of the index file that the store lacks are left out (`read_index`).
    `distance_option` is where `min_distance` comes from, for the error.

    Raises:
        ValueError: as `read_index`, or no clip is long enough.
    """
    if index_file is not None:
        return read_index(store, index_file, intersect=intersect)
    # The largest distance of training does not bind an evaluation: without one of its own, clips are taken as long as
    # they are.
    longest = max_distance or max([min_distance, inputs + targets, *np.diff(store.offsets).tolist()])
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
            f"{distance_option} = {min_distance} need; lower one of them"
        )
    return EvaluationWindows.of(windows, skipped)
