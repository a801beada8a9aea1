"""Evaluation windows as batches, and how each row of the view-synthesis tables renders them."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.index_file import EvaluationWindow, EvaluationWindows
from wildrayzer.data.sampling.views import evaluation_windows
from wildrayzer.models import ViewSynthesis, WildRayZer
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.run.row_specs import ROW_SPECS, RowSpec


@dataclass(frozen=True)
class WindowBatch:
    """Windows with as many inputs and targets each, read from a store. Views are ordered inputs first."""

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

    @property
    def truth(self) -> Float[Tensor, "b t 3 h w"]:
        """Target views without transients where they are known, else as recorded."""
        return (self.images if self.clean is None else self.clean)[:, self.num_inputs :]


def read_windows(
    store: FrameStore, windows: Sequence[EvaluationWindow], *, device: torch.device | str = "cpu"
) -> WindowBatch:
    """Read windows; all must have as many inputs and as many targets.

    Raises:
        ValueError: windows of different sizes.
    """
    if len({(len(window.inputs), len(window.targets)) for window in windows}) != 1:
        raise ValueError("evaluation windows of different numbers of inputs or targets; score each number by itself")
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
    )


def windows_of(store: FrameStore, split: str, inputs: int, config: BenchmarkConfig) -> EvaluationWindows:
    """The evaluation windows of a set: from its frozen index file if `benchmark.index` has one, else drawn.

    Raises:
        ValueError: an index file with another number of inputs, and as `evaluation_windows`.
    """
    index = config.index.get(split)
    index = None if index is None else index.replace("{inputs}", str(inputs))
    windows = evaluation_windows(
        store,
        inputs=inputs,
        targets=config.targets,
        min_distance=config.min_distance,
        seed=config.seed,
        index_file=index,
    )
    wrong = sorted({len(window.inputs) for window in windows} - {inputs})
    if wrong:
        raise ValueError(
            f"benchmark.index: {index} has windows of {wrong} inputs, but benchmark.inputs asks for {inputs}; write "
            "{inputs} in the path and give a file for each number, or change benchmark.inputs"
        )
    return windows


def window_batches(
    store: FrameStore, windows: Sequence[EvaluationWindow], *, device: torch.device | str = "cpu", size: int = 8
) -> Iterator[WindowBatch]:
    """Windows in order, up to `size` at a time; neighbours of as many inputs and targets, which index files may mix."""
    for _, alike in itertools.groupby(windows, key=lambda window: (len(window.inputs), len(window.targets))):
        group = list(alike)
        for start in range(0, len(group), size):
            yield read_windows(store, group[start : start + size], device=device)


def check_method(method: str, store: FrameStore, spec: RowSpec | None = None) -> RowSpec:
    """The spec of a row, if the split has what it takes.

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
    images = batch.images
    if spec.clean:
        assert batch.clean is not None  # check_method
        images = torch.cat([batch.clean[:, :k], images[:, k:]], dim=1)
    if spec.gate == "own":
        result = model(images, k, features=head_features(model, images[:, :k], backbone), motion=True, gate_only=True)
    else:
        result = model(images, k, token_mask=_token_mask(model, batch, spec, masks))
    return result.render.float(), result


def check_finite(renderings: Float[Tensor, "b t 3 h w"], scenes: Sequence[str], method: str) -> None:
    """Refuse renderings whose scores would be NaN, and so be left out of means as if a region were empty.

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
        found = batch.masks[:, : batch.num_inputs]
    elif masks is None:
        raise ValueError(f"the gate {spec.gate} needs masks of the input views; pass them")
    else:
        found = torch.from_numpy(masks).to(batch.images.device)
    return model.token_mask_from_probability((found[:, :, None] == 1).float())


def _nearest(batch: WindowBatch) -> Float[Tensor, "b t 3 h w"]:
    inputs, targets = batch.frames[:, : batch.num_inputs], batch.frames[:, batch.num_inputs :]
    # distance first, then the earlier frame: frame numbers are integers, so half a step decides ties alone
    distance = np.abs(targets[:, :, None] - inputs[:, None]) + 0.5 * (inputs[:, None] > targets[:, :, None])
    chosen = torch.from_numpy(distance.argmin(-1)).to(batch.images.device)
    return batch.images[torch.arange(len(chosen), device=chosen.device)[:, None], chosen]
