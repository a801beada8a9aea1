"""What one visitor has: pictures, the scene that a model sees in them, and what was rendered from it."""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int, UInt8

from wildrayzer.api.arrays import Renderings, ViewCameras
from wildrayzer.api.model import Model
from wildrayzer.api.scene import Scene
from wildrayzer.app.mask_steps import MaskSteps
from wildrayzer.app.uploads import Picture

if TYPE_CHECKING:
    from wildrayzer.app.pseudo_masks import MaskMaker

UNGATED = 1.0
"""A threshold of the gate that no probability exceeds: all patches enter the renderings."""
_SLICE = 8
"""Frames of a path between two reports of progress."""
Progress = Callable[[float, str], None]
"""Is told the share that is done, and what is being done."""


@dataclass(frozen=True)
class Step:
    """What a step took."""

    name: str
    seconds: float
    peak_megabytes: float
    """Largest memory of the whole process since it began, or of the GPU during the step."""


@dataclass(frozen=True)
class CameraPath:
    """Renderings along a path of cameras."""

    frames: UInt8[np.ndarray, "n h w 3"]
    ungated: UInt8[np.ndarray, "n h w 3"] | None
    """The same cameras with all patches of the inputs; None if the model has no gate."""
    nearest: Int[np.ndarray, " n"]
    """Number of the input view whose camera is nearest to each frame."""
    cameras: ViewCameras


@dataclass
class Session:
    """Pictures and what the model made of them. `predict` fills in the scene; the rest follows on demand."""

    model: Model
    title: str
    pictures: Sequence[Picture]
    inputs: int | None = None
    """Number of input views; None takes the most that the model was trained with."""
    scene: Scene | None = None
    gate_threshold: float | None = None
    """Of the renderings; None without a trained motion head."""
    mask_threshold: float = 0.5
    views: Renderings | None = None
    ungated: Renderings | None = None
    path: CameraPath | None = None
    mask_steps: list[MaskSteps] | None = None
    """Of every view; None until they are asked for."""
    steps: list[Step] = field(default_factory=list)

    def predict(self, progress: Progress) -> None:
        """Cameras and motion, then all views, and the same views without the gate.

        Raises:
            ValueError: pictures that the model cannot take, such as a number that it was not trained with.
        """
        progress(0.1, "Predicting cameras and motion")
        with self._timed("cameras and motion"):
            self.scene = self.model.scene(np.stack([one.view.image for one in self.pictures]), inputs=self.inputs)
        self.gate_threshold = self.model.gate_threshold
        progress(0.5, "Rendering the views")
        self.render()

    def render(self) -> None:
        """Render the views again, with the gate's threshold; cameras and probabilities are kept.

        A path is dropped, since it belongs to the old threshold.
        """
        scene = self.predicted
        with self._timed(f"{len(scene)} views"):
            self.views = scene.render(threshold=self.gate_threshold)
        if self.gate_threshold is not None and self.ungated is None:
            with self._timed(f"{len(scene)} views without the gate"):
                self.ungated = scene.render(threshold=UNGATED)
        self.path = None

    def render_path(self, frames: int, progress: Progress) -> None:
        """Render a smooth path through the inputs, and the same cameras without the gate.

        Raises:
            ValueError: fewer than two inputs or two frames.
        """
        scene = self.predicted
        cameras = scene.path(frames)
        gated = self.gate_threshold is not None
        share = 0.5 if gated else 1.0
        with self._timed(f"path of {frames} frames"):
            shown = self._along(cameras, self.gate_threshold, lambda done: progress(share * done, "Rendering the path"))
        ungated = None
        if gated:
            with self._timed(f"path of {frames} frames without the gate"):
                ungated = self._along(cameras, UNGATED, lambda done: progress(0.5 + done / 2, "Rendering the control"))
        self.path = CameraPath(shown, ungated, nearest_inputs(cameras, scene.cameras, scene.inputs), cameras)

    def make_masks(self, maker: "MaskMaker", progress: Progress) -> None:
        """Pseudo-masks of all views, without the motion head. The first visitor waits for the calibration as well.

        Raises:
            ValueError: fewer than three pictures.
        """
        scene = self.predicted
        maker.check(len(scene))
        if maker.to_calibrate:
            with self._timed("thresholds from still clips (once)"):
                maker.calibrate(progress)
        with self._timed(f"pseudo-masks of {len(scene)} views"):
            self.mask_steps = maker.make(scene.images, progress)

    @property
    def predicted(self) -> Scene:
        """The scene.

        Raises:
            ValueError: nothing was predicted yet.
        """
        if self.scene is None:
            raise ValueError("nothing is predicted yet; choose pictures and press the button below them")
        return self.scene

    def _along(
        self, cameras: ViewCameras, threshold: float | None, progress: Callable[[float], None]
    ) -> UInt8[np.ndarray, "n h w 3"]:
        made = []
        for start in range(0, len(cameras), _SLICE):
            made.append(self.predicted.render(cameras[start : start + _SLICE], threshold=threshold).pixels)
            progress(min(1.0, (start + _SLICE) / len(cameras)))
        return np.concatenate(made)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        cuda = self.model.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.model.device)
        start = time.perf_counter()
        yield
        if cuda:
            torch.cuda.synchronize(self.model.device)
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated(self.model.device) / 1e6 if cuda else process_peak()
        self.steps.append(Step(name, seconds, peak))


def process_peak() -> float:
    """Largest memory that this process has had, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def nearest_inputs(cameras: ViewCameras, views: ViewCameras, inputs: Sequence[int]) -> Int[np.ndarray, " n"]:
    """Number of the input view whose camera is nearest to each camera.

    Distance of the centres and of the viewing directions, each as a share of the largest between a camera and an input.

    Args:
        cameras: of the n frames.
        views: of all views.
        inputs: numbers of the input views.
    """
    candidates = np.sort(np.asarray(inputs))
    chosen = views[candidates.tolist()]
    total = np.zeros((len(cameras), len(candidates)))
    for column in (3, 2):  # centre, viewing direction
        difference = cameras.c2w[:, None, :3, column] - chosen.c2w[None, :, :3, column]
        distance = np.linalg.norm(difference, axis=-1)
        total += distance / max(float(distance.max()), 1e-9)
    return candidates[total.argmin(1)]


def other_nearest_input(view: int, inputs: Sequence[int]) -> int:
    """The input recorded nearest to a view in the order of the pictures, other than the view; the earlier one of two.

    An input that stands for itself would be no control.
    """
    others = [number for number in inputs if number != view]
    return min(others or list(inputs), key=lambda number: (abs(number - view), number))
