"""Cameras that the targets cannot leak into (docs/benchmarks.md#leakage).

Target images enter the camera estimator, so they may move the cameras of the inputs too. Aligned cameras: those of the
inputs come from the input images only. Transferred cameras: all come from another clip along the same camera path.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.data.sampling.index_file import EvaluationWindow
from wildrayzer.evaluation.metrics.poses import align_cameras, transform_cameras
from wildrayzer.evaluation.window_batches import WindowBatch, read_windows
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.models import WildRayZer


def sees_only_its_own_views(model: WildRayZer) -> bool:
    """Whether an input's camera depends on no target by construction: the pairwise encoder sees the canonical view and
    one other at a time."""
    return model.config.camera_encoder == "pairwise"


@torch.no_grad()
def aligned_cameras(
    model: WildRayZer, images: Float[Tensor, "b v 3 h w"], num_inputs: int
) -> tuple[Cameras, Bool[Tensor, " b"]]:
    """Input cameras from the inputs only, and target cameras carried into their frame.

    A second pass over inputs and targets gives all cameras. The similarity (rotation, translation, scale) that best
    maps its input cameras to those of the first pass is applied to its target cameras.

    Args:
        model: predicts the cameras.
        images: in [0, 1], inputs first.
        num_inputs: at least 2.

    Returns:
        The cameras, and whether the similarity of each sample is determined. Where it is not, because the input centres
        coincide, the cameras are those of the second pass.
    """
    inputs = slice(None, num_inputs)
    first = model.predict_cameras(images[:, inputs], model.tokenize(images[:, inputs]), num_inputs=num_inputs)
    second = model.predict_cameras(images, model.tokenize(images), num_inputs=num_inputs)
    c2w, intrinsics = second.c2w.clone(), second.intrinsics.clone()
    determined = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for sample, (own, joint) in enumerate(zip(_array(first.c2w), _array(second.c2w), strict=True)):
        try:
            similarity = align_cameras(joint[inputs], own)
        except ValueError:
            continue
        moved = torch.from_numpy(transform_cameras(joint[num_inputs:], similarity))
        c2w[sample, num_inputs:] = moved.to(c2w)
        c2w[sample, inputs] = first.c2w[sample]
        intrinsics[sample, inputs] = first.intrinsics[sample]
        determined[sample] = True
    return Cameras(c2w=c2w, intrinsics=intrinsics), determined


class TwinClips:
    """Clips of other rooms along the camera paths of a split, clip by clip (`data.splits.*.purpose: twin`).

    Args:
        store_path: their frames. Clips of the two splits belong together by the number at the end of their names.
    """

    def __init__(self, store_path: str | Path) -> None:
        self.store = FrameStore(store_path, preload_mb=PRELOAD_MB)
        self._numbers = {name.rpartition("_")[2]: scene for scene, name in enumerate(self.store.scenes)}

    def images(self, batch: WindowBatch) -> Float[Tensor, "b v 3 h w"]:
        """Frames of the twins at the times of the batch's views, in [0, 1].

        Raises:
            ValueError: a clip has no twin.
        """
        windows = []
        for name, frames in zip(batch.scenes, batch.frames.tolist(), strict=True):
            scene = self._numbers.get(name.rpartition("_")[2])
            if scene is None:
                raise ValueError(f"{self.store.path} has no twin of the clip {name}; prepare both splits whole")
            windows.append(
                EvaluationWindow(scene, tuple(frames[: batch.num_inputs]), tuple(frames[batch.num_inputs :]))
            )
        return read_windows(self.store, windows, device=batch.images.device).images


@torch.no_grad()
def transferred_cameras(model: WildRayZer, twins: Float[Tensor, "b v 3 h w"], num_inputs: int) -> Cameras:
    """All cameras as predicted from twins: in the frame of the first view, which the two clips share, in the scale that
    the network gives to the twin's room.

    Args:
        model: predicts the cameras.
        twins: in [0, 1], inputs first.
        num_inputs: how many of the views are inputs.
    """
    return model.predict_cameras(twins, model.tokenize(twins), num_inputs=num_inputs)


def _array(c2w: Float[Tensor, "b v 4 4"]) -> Float[np.ndarray, "b v 4 4"]:
    return c2w.double().cpu().numpy()
