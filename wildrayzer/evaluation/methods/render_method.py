"""How each row of the view-synthesis tables renders the targets of evaluation windows."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.methods.aligned import aligned_cameras
from wildrayzer.evaluation.window_batches import WindowBatch
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.images.nearest import nearest_view
from wildrayzer.models import ViewSynthesis, WildRayZer
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.cross_residuals import cross_residuals_of
from wildrayzer.run.row_specs import ROW_SPECS, RowSpec


def check_method(method: str, store: FrameStore, spec: RowSpec | None = None) -> RowSpec:
    """How a row renders, after a check that the split has what the row needs.

    Args:
        method: name of the row.
        store: frames of the split.
        spec: of an external row; None looks up a built-in one.

    Raises:
        ValueError: unknown row, or a split without the clean twins or masks that it needs.
    """
    if spec is None and method not in ROW_SPECS:
        raise ValueError(f"benchmark.methods: {method!r} is unknown; known: {', '.join(ROW_SPECS)}")
    spec = spec or ROW_SPECS[method]
    for needed, present, what in (
        (spec.clean, store.has_clean, "clean twins"),
        (spec.gate == "true", store.has_masks, "true masks"),
    ):
        if needed and not present:
            raise ValueError(
                f"benchmark.methods: {method} needs {what}, which {store.path} lacks; leave it out for this split"
            )
    return spec


@torch.no_grad()
def render_method(
    method: str,
    batch: WindowBatch,
    *,
    model: WildRayZer | None = None,
    backbone: FeatureBackbone | None = None,
    spec: RowSpec | None = None,
    masks: UInt8[np.ndarray, "b k h w"] | None = None,
    features: Float[Tensor, "b k fh fw c"] | None = None,
    aligned: bool = False,
    cameras: Cameras | None = None,
) -> tuple[Float[Tensor, "b t 3 h w"], ViewSynthesis | None]:
    """Renderings of the targets in [0, 1], and the network's whole output where there is a network.

    `nearest` copies the input with the nearest frame number (of two, the earlier); `blend` is the mean of the inputs.

    Args:
        method: name of the row.
        batch: windows.
        model: its network.
        backbone: for its motion head.
        spec: of an external row; None looks up a built-in one.
        masks: of the input views, 1 = transient, for the gates `coseg` and `file`.
        features: of the input views as the row shows them, for the gate `own`; None computes them.
        aligned: take input cameras that the targets cannot leak into (`aligned_cameras`). Renderings of windows where
            they are not determined are NaN.
        cameras: of all views, in place of those of the batch or predicted ones.

    Raises:
        ValueError: the row needs a model or masks, or the model's head needs features and there is no backbone.
    """
    spec, k = spec or ROW_SPECS[method], batch.num_inputs
    if method == "nearest":
        return _nearest(batch), None
    if method == "blend":
        mean = batch.images[:, :k].mean(1, keepdim=True)
        return mean.expand(-1, batch.images.shape[1] - k, -1, -1, -1), None
    if model is None:
        raise ValueError(f"method {method} renders with the {spec.stage} checkpoint; pass its model")
    images = shown_images(batch, spec)
    own, determined = aligned_cameras(model, images, k) if aligned else (batch.cameras, None)
    cameras = own if cameras is None else cameras
    if spec.gate == "own":
        if features is None:
            features = head_features(model, images[:, :k], backbone)
        compare = cross_residuals_of(model.config, backbone)
        result = model(images, k, features=features, motion=True, gate_only=True, cameras=cameras, compare=compare)
    else:
        result = model(images, k, token_mask=_token_mask(model, batch, spec, masks), cameras=cameras)
    rendering = result.render.float()
    if determined is not None:
        rendering = rendering.masked_fill(~determined[:, None, None, None, None], torch.nan)
    return rendering, result


def shown_images(batch: WindowBatch, spec: RowSpec) -> Float[Tensor, "b v 3 h w"]:
    """Views as a row shows them to its network: only inputs are exchanged for clean twins, since of the targets the
    network sees the poses, not the content."""
    if not spec.clean:
        return batch.images
    assert batch.clean is not None  # check_method
    return torch.cat([batch.clean[:, : batch.num_inputs], batch.images[:, batch.num_inputs :]], dim=1)


def check_finite(renderings: Float[Tensor, "b t 3 h w"], scenes: Sequence[str], method: str) -> None:
    """Refuse renderings that are not finite: means would leave out their NaN scores, as those of empty regions.

    Raises:
        ValueError: naming the first scene.
    """
    broken = [
        scene for scene, ok in zip(scenes, renderings.isfinite().flatten(1).all(1).tolist(), strict=True) if not ok
    ]
    if broken:
        raise ValueError(
            f"{method}: renderings of {len(broken)} windows are not finite, the first of {broken[0]}; the network has "
            "diverged: look at its metrics.jsonl, and train it again with a lower learning_rate or in float32"
        )


def load_backbone(model: WildRayZer, config: FeaturesConfig, device: torch.device | str) -> FeatureBackbone | None:
    """The backbone that a model's motion head needs, or None; see `build_backbone`."""
    head = model.config.motion_head
    if head is None or not head.use_features:
        return None
    return build_backbone(config, patch_size=model.config.patch_size, device=device)


def head_features(
    model: WildRayZer, images: Float[Tensor, "b v 3 h w"], backbone: FeatureBackbone | None
) -> Float[Tensor, "b v fh fw c"] | None:
    """Backbone features of views, or None for a motion head that uses none.

    Raises:
        ValueError: the model's motion head is missing, or needs a backbone that was not given.
    """
    head = model.config.motion_head
    if head is None:
        raise ValueError("the checkpoint has no motion head (model.motion_head is null), so it cannot gate its inputs")
    if not head.use_features:
        return None
    if backbone is None:
        raise ValueError("the motion head needs backbone features (model.motion_head.use_features); pass a backbone")
    return backbone(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def _token_mask(
    model: WildRayZer, batch: WindowBatch, spec: RowSpec, masks: UInt8[np.ndarray, "b k h w"] | None
) -> Bool[Tensor, "b k n"] | None:
    """Input tokens to replace: those whose patch is marked by more than `motion_head.threshold`."""
    if spec.gate == "none":
        return None
    if spec.gate == "true":
        assert batch.masks is not None  # check_method
        marked = batch.masks[:, : batch.num_inputs]
    elif masks is None:
        raise ValueError(f"the gate {spec.gate} needs masks of the input views; pass them")
    else:
        marked = torch.from_numpy(masks).to(batch.images.device)
    return model.token_mask_from_probability((marked[:, :, None] == 1).float())


def _nearest(batch: WindowBatch) -> Float[Tensor, "b t 3 h w"]:
    inputs, targets = batch.frames[:, : batch.num_inputs], batch.frames[:, batch.num_inputs :]
    chosen = torch.from_numpy(nearest_view(inputs, targets)).to(batch.images.device)
    return batch.images[torch.arange(len(chosen), device=chosen.device)[:, None], chosen]
