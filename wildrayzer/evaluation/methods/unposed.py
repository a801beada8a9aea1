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
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.cross_residuals import cross_residuals_of


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
class EncodedScene:
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


@dataclass(frozen=True)
class ObservedPass:
    """What the network sees in the inputs and one group of other views, before anything is rendered."""

    numbers: list[int]
    """Numbers of the `v` views, inputs first."""
    cameras: Cameras
    """Predicted cameras, [1, v, ...], on the network's device."""
    common: Float[np.ndarray, "v 4 4"] | None
    """Camera-to-world matrices in the frame of the first pass; None where the input cameras do not determine it."""
    probability: Float[Tensor, "1 v 1 h w"] | None
    """Motion probability, 1 = transient, on the network's device; None without a motion head."""


@torch.no_grad()
def observe_views(
    model: WildRayZer,
    images: UInt8[np.ndarray, "v h w 3"],
    inputs: Sequence[int],
    *,
    targets: int | None,
    backbone: FeatureBackbone | None,
    gated: bool,
    device: torch.device | str,
) -> list[ObservedPass]:
    """Cameras and motion of every view, in passes of as many views as in training; nothing is rendered.

    Args:
        model: in eval mode.
        images: all views, RGB.
        inputs: numbers of the input views.
        targets: target views of a training sample; see `passes`.
        backbone: for motion heads that use features.
        gated: predict motion.
        device: where to compute.
    """
    compare = cross_residuals_of(model.config, backbone)
    observed: list[ObservedPass] = []
    for group in passes(len(images), inputs, targets):
        numbers, k = [*inputs, *group], len(inputs)
        batch = _batch(images[numbers], device)
        tokens = model.tokenize(batch)
        cameras = model.predict_cameras(batch, tokens, num_inputs=k)
        probability = None
        if gated:
            features = None if backbone is None else backbone(batch[0])[None]
            maps = model.cross_residuals(
                batch, tokens, cameras, k, views=len(numbers), features=features, compare=compare
            )
            # Inputs and targets have ray tokenizers of their own, and the head sees them apart, as in training.
            logits = [
                model.motion_logits(
                    None if features is None else features[:, part],
                    tokens[:, part],
                    model.ray_tokens(cameras.select(part), for_targets=for_targets),
                    None if maps is None else maps[:, part],
                )
                for part, for_targets in ((slice(None, k), False), (slice(k, None), True))
            ]
            probability = torch.cat(logits, dim=1).float().sigmoid()
        reference = observed[0].common if observed else None
        common = _in_frame_of(reference, cameras.c2w[0].double().cpu().numpy(), k)
        observed.append(ObservedPass(numbers, cameras, common, probability))
    return observed


@torch.no_grad()
def render_observed(
    model: WildRayZer,
    images: UInt8[np.ndarray, "v h w 3"],
    inputs: Sequence[int],
    observed: Sequence[ObservedPass],
    *,
    threshold: float | None = None,
) -> tuple[list[RenderedView], EncodedScene]:
    """Every view rendered from the inputs, and the scene for further renderings.

    Args:
        model: in eval mode.
        images: all views, RGB.
        inputs: numbers of the input views.
        observed: of `observe_views` with the same views.
        threshold: of the token gate; None takes the model's. See `WildRayZer.token_mask_from_probability`.
    """
    k, views, scene = len(inputs), {}, None
    # Each pass renders one group of targets; the first pass also gives the inputs' renderings and the scene.
    for one in observed:
        batch = _batch(images[one.numbers], one.cameras.c2w.device)
        gate = token_gate(model, one, k, threshold)
        result = model(batch, k, cameras=one.cameras, token_mask=gate, render_inputs=scene is None)
        if scene is None:
            scene = encode_observed(model, images, inputs, one, gate)
        rendered = (
            result.render if result.render_inputs is None else torch.cat((result.render_inputs, result.render), 1)
        )
        for place, image in enumerate(rendered[0], start=len(one.numbers) - rendered.shape[1]):
            if one.numbers[place] not in views:
                views[one.numbers[place]] = _view(one, gate, place, k, image)
    assert scene is not None
    return [views[number] for number in sorted(views)], scene


def render_views(
    model: WildRayZer,
    images: UInt8[np.ndarray, "v h w 3"],
    inputs: Sequence[int],
    *,
    targets: int | None,
    backbone: FeatureBackbone | None,
    gated: bool,
    device: torch.device | str,
    threshold: float | None = None,
) -> tuple[list[RenderedView], EncodedScene]:
    """`observe_views` and then `render_observed`, with the same arguments; `gated` keeps transient tokens out."""
    observed = observe_views(model, images, inputs, targets=targets, backbone=backbone, gated=gated, device=device)
    return render_observed(model, images, inputs, observed, threshold=threshold)


def token_gate(
    model: WildRayZer, observed: ObservedPass, num_inputs: int, threshold: float | None
) -> Bool[Tensor, "1 k n"] | None:
    """Input tokens that the noise token replaces (1 = transient); None without a motion head."""
    if observed.probability is None:
        return None
    return model.token_mask_from_probability(observed.probability[:, :num_inputs], threshold)


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


@torch.no_grad()
def encode_observed(
    model: WildRayZer,
    images: UInt8[np.ndarray, "v h w 3"],
    inputs: Sequence[int],
    observed: ObservedPass,
    gate: Bool[Tensor, "1 k n"] | None,
) -> EncodedScene:
    """The scene for renderings from any camera: the decoder's context of the inputs, with the cameras of a pass."""
    k = len(inputs)
    batch = _batch(images[list(inputs)], observed.cameras.c2w.device)
    cameras = observed.cameras.select(slice(k))
    rays = model.ray_tokens(cameras, for_targets=False)
    context = model.encode_scene(batch, model.tokenize(batch), rays, gate)
    return EncodedScene(context, cameras.select(np.argsort(inputs).tolist()))


def _batch(images: UInt8[np.ndarray, "v h w 3"], device: torch.device | str) -> Float[Tensor, "1 v 3 h w"]:
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()[None] / 255


def _view(
    observed: ObservedPass,
    gate: Bool[Tensor, "1 k n"] | None,
    place: int,
    num_inputs: int,
    image: Float[Tensor, "3 h w"],
) -> RenderedView:
    probability = None if observed.probability is None else observed.probability[0, place, 0].cpu()
    replaced, is_input = None, place < num_inputs
    if is_input and gate is not None:
        grid = int(gate.shape[-1] ** 0.5)
        replaced = gate[0, place].unflatten(-1, (grid, grid)).cpu()
    cameras = observed.cameras.select([place])
    cameras = Cameras(c2w=cameras.c2w.float().cpu(), intrinsics=cameras.intrinsics.float().cpu())
    rendering = image.float().clamp(0, 1).cpu()
    own = None if observed.common is None else observed.common[place]
    return RenderedView(observed.numbers[place], is_input, rendering, cameras, own, probability, replaced)


@torch.no_grad()
def render_cameras(
    model: WildRayZer, scene: EncodedScene, cameras: Cameras, *, batch: int = 8
) -> Iterator[Float[Tensor, "3 h w"]]:
    """Renderings in [0, 1] of given cameras, [1, v, ...] on the network's device; on the CPU, in batches."""
    for start in range(0, cameras.c2w.shape[1], batch):
        rays = model.ray_tokens(cameras.select(slice(start, start + batch)), for_targets=True)
        yield from model.decode(scene.context, rays)[0].float().clamp(0, 1).cpu()


def render_path(
    model: WildRayZer, scene: EncodedScene, frames: int, *, batch: int = 8
) -> Iterator[tuple[Cameras, Float[Tensor, "3 h w"]]]:
    """Cameras and renderings in [0, 1] along a smooth path through the input cameras.

    Raises:
        ValueError: see `interpolate_cameras`.
    """
    path = interpolate_cameras(scene.cameras, frames)
    for place, image in enumerate(render_cameras(model, scene, path, batch=batch)):
        yield path.select([place]), image
