"""Rendering of unposed views with a checkpoint: the passes of the network, in the view counts that it knows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from wildrayzer.evaluation.metrics.poses import align_cameras, transform_cameras
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.geometry.interpolate import interpolate_cameras
from wildrayzer.models import ViewSynthesis, WildRayZer
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone


def to_picture(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A rendering in [0, 1] as RGB bytes."""
    return (image * 255).round().to(torch.uint8).movedim(0, -1).numpy()


@dataclass(frozen=True)
class RenderedView:
    """One of the views and what the network makes of it."""

    number: int
    """Place among the views given."""
    is_input: bool
    """Its pixels may enter renderings; else only its camera is used."""
    rendering: Float[Tensor, "3 h w"]
    """In [0, 1], on the CPU like the rest."""
    cameras: Cameras
    """Its own, of shape [1, 1, ...], relative to the canonical view of its pass."""
    common_c2w: Float[np.ndarray, "4 4"] | None
    """Camera-to-world in the frame of the first pass, into which the similarity carries it that best maps the input
    cameras of its pass; None where that is not determined."""
    probability: Float[Tensor, "h w"] | None
    """Motion probability, 1 = transient; None without a motion head."""
    replaced: Bool[Tensor, "g g"] | None
    """Tokens of an input that the noise token replaced (1 = transient); None for targets."""


@dataclass(frozen=True)
class Scene:
    """What is kept of the first pass for renderings along a path."""

    context: Float[Tensor, "1 m d"]
    """Decoder context."""
    cameras: Cameras
    """Of the inputs, [1, k, ...], in the order of the views given."""


def choose_inputs(views: int, inputs: int) -> list[int]:
    """Numbers of the input views: evenly spread, the ends first and then those between, as in training.

    Raises:
        ValueError: more inputs than views.
    """
    if not 1 <= inputs <= views:
        raise ValueError(f"{inputs} input views of {views} pictures; give more pictures or fewer --inputs")
    spread = np.round(np.linspace(0, views - 1, inputs)).astype(int).tolist()
    return [*spread[:1], *spread[1:][-1:], *spread[1:-1]]


def passes(views: int, inputs: Sequence[int], targets: int | None) -> list[list[int]]:
    """View numbers of each pass after the inputs: as many as in training (None: all the others at once).

    A pass that has fewer views left is filled with inputs in turn: the network then sees the number of views that it
    knows, and their renderings are dropped.
    """
    others = [number for number in range(views) if number not in inputs]
    size = targets or max(len(others), 1)
    groups = [others[start : start + size] for start in range(0, len(others), size)] or [[]]
    return [[*group, *(inputs[place % len(inputs)] for place in range(size - len(group)))] for group in groups]


@torch.no_grad()
def render_views(
    model: WildRayZer,
    images: UInt8[np.ndarray, "v h w 3"],
    inputs: Sequence[int],
    *,
    targets: int | None,
    backbone: FeatureBackbone | None,
    gated: bool,
    device: torch.device | str,
) -> tuple[list[RenderedView], Scene]:
    """Every view rendered from the inputs, and the scene for further renderings.

    Args:
        model: in eval mode.
        images: all views, RGB.
        inputs: numbers of the input views.
        targets: target views of a training sample; see `passes`.
        backbone: for motion heads that use features.
        gated: predict motion, and keep transient tokens of the inputs out.
        device: where to compute.
    """
    every = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
    k, views, scene, reference = len(inputs), {}, None, None
    # Each pass renders one group of targets; the first pass also gives the inputs' renderings and the scene.
    for group in passes(len(images), inputs, targets):
        batch = every[[*inputs, *group]][None]
        features = None if backbone is None or not gated else backbone(batch[0])[None]
        result = model(batch, k, features=features, motion=gated, render_inputs=True)
        common = _in_frame_of(reference, result.cameras.c2w[0].double().cpu().numpy(), k)
        if scene is None:
            scene, reference = _scene(model, batch[:, :k], result, np.argsort(inputs).tolist()), common
            views = {number: _view(result, place, number, True, common) for place, number in enumerate(inputs)}
        for place, number in enumerate(group, start=k):
            if number not in views:
                views[number] = _view(result, place, number, False, common)
    assert scene is not None
    return [views[number] for number in sorted(views)], scene


def _in_frame_of(
    reference: Float[np.ndarray, "v 4 4"] | None, c2w: Float[np.ndarray, "v 4 4"], inputs: int
) -> Float[np.ndarray, "v 4 4"] | None:
    """Cameras of a pass in the frame of another pass over the same inputs, or as they are without one.

    None where the input cameras do not determine the similarity between both.
    """
    if reference is None:
        return c2w
    try:
        return transform_cameras(c2w, align_cameras(c2w[:inputs], reference[:inputs]))
    except ValueError:
        return None


def _view(
    result: ViewSynthesis, place: int, number: int, is_input: bool, common: Float[np.ndarray, "v 4 4"] | None
) -> RenderedView:
    assert result.render_inputs is not None
    rendered = torch.cat([result.render_inputs, result.render], dim=1)[0, place]
    probability = None if result.motion_logits is None else result.motion_logits[0, place, 0].float().sigmoid().cpu()
    replaced = None
    if is_input and result.token_mask is not None:
        grid = int(result.token_mask.shape[-1] ** 0.5)
        replaced = result.token_mask[0, place].unflatten(-1, (grid, grid)).cpu()
    cameras = result.cameras.select([place])
    cameras = Cameras(c2w=cameras.c2w.float().cpu(), intrinsics=cameras.intrinsics.float().cpu())
    own = None if common is None else common[place]
    return RenderedView(number, is_input, rendered.float().clamp(0, 1).cpu(), cameras, own, probability, replaced)


def _scene(model: WildRayZer, inputs: Float[Tensor, "1 k 3 h w"], result: ViewSynthesis, order: list[int]) -> Scene:
    cameras = result.cameras.select(slice(inputs.shape[1]))
    rays = model.ray_tokens(cameras, for_targets=False)
    return Scene(model.encode_scene(inputs, model.tokenize(inputs), rays, result.token_mask), cameras.select(order))


@torch.no_grad()
def render_path(
    model: WildRayZer, scene: Scene, frames: int, *, batch: int = 8
) -> Iterator[tuple[Cameras, Float[Tensor, "3 h w"]]]:
    """Cameras and renderings in [0, 1] along a smooth path through the input cameras, on the CPU.

    Raises:
        ValueError: see `interpolate_cameras`.
    """
    path = interpolate_cameras(scene.cameras, frames)
    for start in range(0, frames, batch):
        part = path.select(slice(start, start + batch))
        rendered = model.decode(scene.context, model.ray_tokens(part, for_targets=True))[0].float().clamp(0, 1).cpu()
        for place, image in enumerate(rendered):
            yield part.select([place]), image
