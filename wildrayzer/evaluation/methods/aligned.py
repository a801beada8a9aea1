"""Cameras that the targets cannot leak into (docs/benchmarks.md#leakage).

Target images enter the camera estimator, so they may move the cameras of the inputs too. Here the input cameras come
from the input images only.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wildrayzer.evaluation.metrics.poses import align_cameras, transform_cameras
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


def _array(c2w: Float[Tensor, "b v 4 4"]) -> Float[np.ndarray, "b v 4 4"]:
    return c2w.double().cpu().numpy()
