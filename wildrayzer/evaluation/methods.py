"""What a method of the view-synthesis tables renders from: checkpoint, gate and inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from wildrayzer.config.benchmark import BenchmarkConfig, Method
from wildrayzer.config.features import FeaturesConfig
from wildrayzer.data.sampling import EvaluationWindow, EvaluationWindows, evaluation_windows
from wildrayzer.data.store import FrameStore
from wildrayzer.models import ViewSynthesis, WildRayZer
from wildrayzer.motion.features import FeatureBackbone, build_backbone

Stage = Literal["pretrain", "distill", "joint", "unmasked"]


@dataclass(frozen=True)
class Recipe:
    """How a method renders."""

    stage: Stage | None
    """Stage whose checkpoint it loads; None needs no network."""
    gate: Literal["none", "own", "true"] = "none"
    """Input tokens replaced by the noise token: none, by the checkpoint's own motion head, or by true masks."""
    clean: bool = False
    """Input views are the clean twins; target views, used for their poses alone, stay as they are."""


RECIPES: dict[Method, Recipe] = {
    "nearest": Recipe(None),
    "blend": Recipe(None),
    "static": Recipe("pretrain"),
    "static_true_masks": Recipe("pretrain", gate="true"),
    "static_clean": Recipe("pretrain", clean=True),
    "distilled": Recipe("distill", gate="own"),
    "joint": Recipe("joint", gate="own"),
    "joint_true_masks": Recipe("joint", gate="true"),
    "joint_clean": Recipe("joint", gate="own", clean=True),
    "unmasked": Recipe("unmasked"),
}


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
    )


def windows_of(store: FrameStore, split: str, inputs: int, config: BenchmarkConfig) -> EvaluationWindows:
    """The evaluation windows of a split: from its frozen index file if `benchmark.index` has one, else drawn.

    Raises:
        ValueError: an index file with another number of inputs, and as `evaluation_windows`.
    """
    windows = evaluation_windows(
        store,
        inputs=inputs,
        targets=config.targets,
        min_distance=config.min_distance,
        seed=config.seed,
        index_file=config.index.get(split),
    )
    wrong = sorted({len(window.inputs) for window in windows} - {inputs})
    if wrong:
        raise ValueError(
            f"benchmark.index: {config.index.get(split)} has windows of {wrong} inputs, but benchmark.inputs asks for "
            f"{inputs}; give an index file of that number or change benchmark.inputs"
        )
    return windows


def window_batches(
    store: FrameStore, windows: Sequence[EvaluationWindow], *, device: torch.device | str = "cpu", size: int = 8
) -> Iterator[WindowBatch]:
    """Windows in order, `size` at a time."""
    for start in range(0, len(windows), size):
        yield read_windows(store, windows[start : start + size], device=device)


def check_method(method: Method, store: FrameStore) -> Recipe:
    """The recipe of a method, if the split has what it takes.

    Raises:
        ValueError: unknown method, or a split without the clean twins or masks that the method needs.
    """
    if method not in RECIPES:
        raise ValueError(f"benchmark.methods: {method!r} is unknown; known: {', '.join(RECIPES)}")
    recipe = RECIPES[method]
    for needed, present, what in (
        (recipe.clean, store.has_clean, "clean twins"),
        (recipe.gate == "true", store.has_masks, "true masks"),
    ):
        if needed and not present:
            raise ValueError(
                f"benchmark.methods: {method} needs {what}, which {store.path} lacks; leave it out for this split"
            )
    return recipe


@torch.no_grad()
def render_method(
    method: Method,
    batch: WindowBatch,
    *,
    model: WildRayZer | None = None,
    backbone: FeatureBackbone | None = None,
) -> tuple[Float[Tensor, "b t 3 h w"], ViewSynthesis | None]:
    """Renderings of the targets in [0, 1], and the network's whole output where there is a network.

    `nearest` copies the input with the nearest frame number (of two, the earlier); `blend` is the mean of the inputs.

    Raises:
        ValueError: the method needs a model, or the model's head needs features and there is no backbone.
    """
    recipe, k = RECIPES[method], batch.num_inputs
    if method == "nearest":
        return _nearest(batch), None
    if method == "blend":
        mean = batch.images[:, :k].mean(1, keepdim=True)
        return mean.expand(-1, batch.images.shape[1] - k, -1, -1, -1), None
    if model is None:
        raise ValueError(f"method {method} renders with the {recipe.stage} checkpoint; pass its model")
    images = batch.images
    if recipe.clean:
        assert batch.clean is not None  # check_method
        images = torch.cat([batch.clean[:, :k], images[:, k:]], dim=1)
    if recipe.gate == "own":
        result = model(images, k, features=head_features(model, images, backbone), motion=True)
    else:
        result = model(images, k, token_mask=_true_token_mask(model, batch) if recipe.gate == "true" else None)
    return result.render.float(), result


def load_backbone(model: WildRayZer, config: FeaturesConfig, device: torch.device | str) -> FeatureBackbone | None:
    """The backbone that a model's motion head needs, or None; see `build_backbone`."""
    head = model.config.motion_head
    if head is None or not head.use_features:
        return None
    return build_backbone(config, patch_size=model.config.patch_size, device=device)


def head_features(
    model: WildRayZer, images: Float[Tensor, "b v 3 h w"], backbone: FeatureBackbone | None
) -> Float[Tensor, "b v fh fw c"] | None:
    """Backbone features of all views, or None for a motion head that uses none.

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


def _true_token_mask(model: WildRayZer, batch: WindowBatch) -> Bool[Tensor, "b k n"]:
    assert batch.masks is not None  # check_method
    transient = (batch.masks[:, : batch.num_inputs, None] == 1).float()
    return model.token_mask_from_probability(transient)


def _nearest(batch: WindowBatch) -> Float[Tensor, "b t 3 h w"]:
    inputs, targets = batch.frames[:, : batch.num_inputs], batch.frames[:, batch.num_inputs :]
    # distance first, then the earlier frame: frame numbers are integers, so half a step decides ties alone
    distance = np.abs(targets[:, :, None] - inputs[:, None]) + 0.5 * (inputs[:, None] > targets[:, :, None])
    chosen = torch.from_numpy(distance.argmin(-1)).to(batch.images.device)
    return batch.images[torch.arange(len(chosen), device=chosen.device)[:, None], chosen]
