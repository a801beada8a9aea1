"""A scene: some pictures as a model sees them, from which views and camera paths are rendered."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from wildrayzer.api.arrays import MotionMasks, Renderings, ViewCameras
from wildrayzer.data.ingest.views import View
from wildrayzer.evaluation.methods.unposed import (
    EncodedScene,
    ObservedPass,
    encode_observed,
    render_cameras,
    render_observed,
    token_gate,
)
from wildrayzer.geometry.interpolate import interpolate_cameras

if TYPE_CHECKING:
    from wildrayzer.api.model import Model


class Scene:
    """Pictures whose cameras and motion a model has predicted. Made by `Model.scene`; nothing is rendered yet.

    Views are in the order of the pictures. Inputs contribute pixels and cameras, targets only their cameras.

    Attributes:
        model: the model.
        images: uint8 [v h w 3], RGB: the pictures as the network sees them, cropped and resized.
        names: of the pictures' files, or `images[NUMBER]`.
        inputs: numbers of the input views, the canonical view first.
        warnings: what was forced, in words.
        cameras: of all views.
        masks: of all views; None if the model has no trained motion head (`Model.static_because`).
    """

    def __init__(
        self,
        model: "Model",
        views: Sequence[View],
        inputs: Sequence[int],
        observed: Sequence[ObservedPass],
        warnings: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.images: UInt8[np.ndarray, "v h w 3"] = np.stack([view.image for view in views])
        self.names = tuple(view.name for view in views)
        self.inputs = tuple(inputs)
        self.warnings = tuple(warnings)
        self._observed = tuple(observed)
        self._encoded: tuple[float | None, EncodedScene] | None = None
        places = self._places()
        cameras = [self._camera(one, at) for one, at in places]
        self.cameras = ViewCameras(*(np.stack(arrays) for arrays in zip(*cameras, strict=True)))
        self.masks: MotionMasks | None = None
        if self._observed[0].probability is not None:
            self.masks = MotionMasks(np.stack([self._probability(one, at) for one, at in places]))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_input(self) -> Bool[np.ndarray, " v"]:
        """Whether each view is an input."""
        return np.isin(np.arange(len(self)), self.inputs)

    def gate(self, threshold: float | None = None) -> Bool[np.ndarray, "v g g"] | None:
        """Patches that are kept out of the renderings (1 = transient); none of targets. None without a motion head.

        Args:
            threshold: patches with a higher mean probability are kept out; None takes the model's,
                `Model.gate_threshold`.
        """
        tokens = token_gate(self.model.network, self._observed[0], len(self.inputs), threshold)
        if tokens is None:
            return None
        grid = self.model.network.config.grid
        gated = np.zeros((len(self), grid, grid), bool)
        gated[list(self.inputs)] = tokens[0].unflatten(-1, (grid, grid)).cpu().numpy()
        return gated

    def render(self, cameras: ViewCameras | None = None, *, threshold: float | None = None) -> Renderings:
        """Render without what moves, from the inputs: all views of the scene, or the views of other cameras.

        Args:
            cameras: in the frame of `self.cameras`, such as `self.path(24)`; None renders the scene's own views, as
                `wildrayzer render` does.
            threshold: of the gate (see `gate`); None takes the model's. Cameras and probabilities are not computed
                again.

        Returns:
            float32 views in [0, 1]. `masks` are `self.masks` for the scene's own views, else None.
        """
        if cameras is None:
            made, _ = render_observed(self.model.network, self.images, self.inputs, self._observed, threshold=threshold)
            return Renderings(_stack(view.rendering for view in made), self.cameras, self.masks, self.names)
        encoded = self._encode(threshold)
        images = render_cameras(self.model.network, encoded, cameras.batch(self.model.device))
        names = tuple(str(number) for number in range(len(cameras)))
        return Renderings(_stack(images), cameras, None, names)

    def path(self, frames: int = 96) -> ViewCameras:
        """A smooth path of cameras through the inputs, in the order of the pictures; ends at rest.

        Raises:
            ValueError: fewer than two inputs or two frames.
        """
        inputs = self._observed[0].cameras.select(np.argsort(self.inputs).tolist())
        return ViewCameras.of(interpolate_cameras(inputs, frames))

    def render_path(self, frames: int = 96, *, threshold: float | None = None) -> Renderings:
        """`render` of `path(frames)`. For progress, render slices of the path: the scene is encoded only once.

        Raises:
            ValueError: see `path`.
        """
        return self.render(self.path(frames), threshold=threshold)

    def _encode(self, threshold: float | None) -> EncodedScene:
        if self._encoded is None or self._encoded[0] != threshold:
            first, network = self._observed[0], self.model.network
            gate = token_gate(network, first, len(self.inputs), threshold)
            self._encoded = threshold, encode_observed(network, self.images, self.inputs, first, gate)
        return self._encoded[1]

    def _places(self) -> list[tuple[int, int]]:
        """Of every view, the first pass that has it, and its place there."""
        found: dict[int, tuple[int, int]] = {}
        for number, one in enumerate(self._observed):
            for place, view in enumerate(one.numbers):
                found.setdefault(view, (number, place))
        return [found[view] for view in sorted(found)]

    def _camera(self, number: int, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and intrinsics of a view, in the frame of the first pass if the inputs determine it."""
        one = self._observed[number]
        own = ViewCameras.of(one.cameras)
        matrices = own.c2w if one.common is None else one.common.astype(np.float32)
        return matrices[place], own.intrinsics[place]

    def _probability(self, number: int, place: int) -> np.ndarray:
        probability = self._observed[number].probability
        assert probability is not None
        return probability[0, place, 0].cpu().numpy()


def _stack(images: Iterable[torch.Tensor]) -> np.ndarray:
    return torch.stack(list(images)).movedim(1, -1).contiguous().numpy()
