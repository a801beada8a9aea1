"""Evaluation windows, read from a frame store in batches."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.index_file import EvaluationWindow, EvaluationWindows
from wildrayzer.data.sampling.views import evaluation_windows
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.io.digests import digest_json


@dataclass(frozen=True)
class WindowBatch:
    """Windows of equally many inputs and targets, read from a store. In each the inputs come before the targets."""

    frames: np.ndarray
    """Frame numbers within the clip, int [b v]."""
    scenes: list[str]
    """Scene of each window."""
    images: Float[Tensor, "b v 3 h w"]
    """Frames in [0, 1]."""
    clean: Float[Tensor, "b v 3 h w"] | None
    """Clean twins in [0, 1], where the store has them."""
    masks: UInt8[Tensor, "b v h w"] | None
    """True masks, where the store has them: 1 = transient, 255 = unknown."""
    num_inputs: int
    """Input views."""
    still: bool = True
    """Nothing moves in clips without masks, so that recorded frames are the truth; False for dynamic splits."""
    cameras: Cameras | None = None
    """True cameras in float32, where they were asked for."""

    @property
    def truth(self) -> Float[Tensor, "b t 3 h w"]:
        """Target views without transients where they are known, else as recorded."""
        return (self.images if self.clean is None else self.clean)[:, self.num_inputs :]


def read_windows(
    store: FrameStore,
    windows: Sequence[EvaluationWindow],
    *,
    device: torch.device | str = "cpu",
    cameras: bool = False,
) -> WindowBatch:
    """Read windows of equally many inputs and equally many targets, with their true cameras if asked for.

    Raises:
        ValueError: windows of different sizes, or a store without cameras that are asked for.
    """
    if len({(len(window.inputs), len(window.targets)) for window in windows}) != 1:
        raise ValueError("evaluation windows of different numbers of inputs or targets; score each number separately")
    frames = np.array([[*window.inputs, *window.targets] for window in windows])
    index = (store.offsets[[window.scene for window in windows]][:, None] + frames).ravel()

    def images(stored: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(stored).to(device).permute(0, 3, 1, 2).float() / 255.0
        return tensor.unflatten(0, frames.shape)

    masks = torch.from_numpy(store.read_masks(index)).to(device).unflatten(0, frames.shape) if store.has_masks else None
    return WindowBatch(
        frames=frames,
        scenes=[store.scenes[window.scene] for window in windows],
        images=images(store.read(index)),
        clean=images(store.read_clean(index)) if store.has_clean else None,
        masks=masks,
        num_inputs=len(windows[0].inputs),
        still=store.attributes.get("role", "static") == "static",
        cameras=_cameras(store, index, frames.shape, device) if cameras else None,
    )


def _cameras(store: FrameStore, index: np.ndarray, shape: tuple[int, int], device: torch.device | str) -> Cameras:
    c2w, intrinsics = (torch.from_numpy(one).float().unflatten(0, shape) for one in store.cameras(index))
    return Cameras(c2w=c2w, intrinsics=intrinsics).to(device)


def windows_of(store: FrameStore, split: str, inputs: int, config: BenchmarkConfig) -> EvaluationWindows:
    """The evaluation windows of a set: from its frozen index file if `benchmark.index` has one, else drawn.

    Raises:
        ValueError: an index file with another number of inputs, and as `evaluation_windows`.
    """
    index = config.set_of(split).index_file(inputs)
    windows = evaluation_windows(
        store,
        inputs=inputs,
        targets=config.targets,
        min_distance=config.min_distance,
        max_distance=config.max_distance,
        seed=config.seed,
        index_file=index,
        intersect=config.intersect_index,
    )
    wrong = sorted({len(window.inputs) for window in windows} - {inputs})
    if wrong:
        raise ValueError(
            f"benchmark.index: {index} has windows of {wrong} inputs, but benchmark.inputs asks for {inputs}; write "
            "{inputs} in the path and give a file for each number, or change benchmark.inputs"
        )
    return windows


def describe_windows(
    windows: EvaluationWindows, store: FrameStore, split: str, inputs: int, config: BenchmarkConfig
) -> dict[str, Any]:
    """Manifest entry of a set's windows: their index file (null where they are drawn), digest and number.

    Equal digests mean equal windows, whatever file they come from.
    """
    return {
        "index": config.set_of(split).index_file(inputs),
        "digest": digest_json(windows.entries(store.scenes)),
        "scenes": len(windows),
        "unused": windows.unused,
    }


def window_batches(
    store: FrameStore,
    windows: Sequence[EvaluationWindow],
    *,
    device: torch.device | str = "cpu",
    size: int = 8,
    cameras: bool = False,
) -> Iterator[WindowBatch]:
    """Windows in order, up to `size` at a time.

    Only neighbours with equal numbers of views share a batch, since an index file may mix numbers of targets.
    """
    for _, alike in itertools.groupby(windows, key=lambda window: (len(window.inputs), len(window.targets))):
        group = list(alike)
        for start in range(0, len(group), size):
            yield read_windows(store, group[start : start + size], device=device, cameras=cameras)
