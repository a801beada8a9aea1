"""Which release a configuration belongs to, and its weights under the names of that release."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.config.sections.model import KINDS, ModelConfig
from wildrayzer.released.keys import LVSM, LVSM_DECODER_ONLY, PIXEL_FUSION, WILDRAYZER, Names, open_rayzer
from wildrayzer.released.sizes import OPEN_RAYZER

_RELEASED_MOTION_HEADS = 12
_COLOURS, _RAYS = PIXEL_FUSION
_FREE = {
    "kind",
    "image_size",
    "patch_size",
    "width",
    "head_width",
    "camera_blocks",
    "scene_blocks",
    "decoder_blocks",
    "scene_tokens",
    "attention",
    "checkpoint_every",
    "init_std",
    "rope_base",
    "ray_octaves",
    "ray_samples",
}
"""Options that every release has in one form or another, or that change no result."""


def names_of(config: ModelConfig) -> Names:
    """The names of the release whose network a configuration is."""
    if config.kind != "wildrayzer":
        return LVSM_DECODER_ONLY if config.kind == "lvsm_decoder_only" else LVSM
    if config.camera_head == "pi3":
        return open_rayzer(rotary=config.patch_positions == "rope2d", pixel_fusion=config.token_fusion == "pixel")
    return WILDRAYZER


def config_faults(config: ModelConfig) -> list[str]:
    """Options of a network that its release does not have, each with its value."""
    free = set(_FREE)
    wanted: Mapping[str, Any] = KINDS[config.kind]
    if config.camera_head == "pi3":
        free |= {"patch_positions", "camera_attention", "token_fusion", "qk_norm_eps", "canonical_view", "pose"}
        wanted = OPEN_RAYZER
    elif config.kind == "wildrayzer":
        free |= {"pose", "canonical_view", "motion_head"}
    defaults = {name: field.default for name, field in ModelConfig.model_fields.items()} | dict(wanted)
    faults = [
        f"model.{name}: {'a motion head' if name == 'motion_head' else getattr(config, name)}"
        for name, value in defaults.items()
        if name not in free and getattr(config, name) != value
    ]
    if config.camera_head == "pi3":
        faults += _open_rayzer_faults(config)
    if config.kind == "wildrayzer" and config.camera_head != "pi3" and config.motion_head is not None:
        faults += _motion_head_faults(config)
    return faults


def _open_rayzer_faults(config: ModelConfig) -> list[str]:
    """Combinations of free options that Open-RayZer cannot run."""
    rotary, faults = config.patch_positions == "rope2d", []
    if config.patch_positions == "sincos":
        faults.append("model.patch_positions: sincos")
    if config.token_fusion not in ("pixel", "residual"):
        faults.append(f"model.token_fusion: {config.token_fusion}")
    if config.qk_norm_eps != (1e-5 if rotary else 1e-3):
        faults.append(f"model.qk_norm_eps: {config.qk_norm_eps:g} with model.patch_positions: {config.patch_positions}")
    if config.camera_attention == "alternating" and (not rotary or config.camera_blocks % 2):
        faults.append(
            f"model.camera_attention: alternating with model.patch_positions: {config.patch_positions} and "
            f"model.camera_blocks: {config.camera_blocks}"
        )
    return faults


def _motion_head_faults(config: ModelConfig) -> list[str]:
    head, faults = config.motion_head, []
    assert head is not None
    if head.kind != "transformer":
        faults.append(f"model.motion_head.kind: {head.kind}")
    if head.cross_view:
        faults.append("model.motion_head.cross_view: True")
    heads = config.width / (head.head_width or config.head_width)
    if heads != _RELEASED_MOTION_HEADS:
        faults.append(f"a motion head with {heads:g} attention heads (it has {_RELEASED_MOTION_HEADS})")
    if config.patch_size != 16:
        faults.append(f"a motion head with model.patch_size: {config.patch_size} (it has 16)")
    return faults


def split_weights(released: Mapping[str, Tensor], ours: Iterable[str], names: Names) -> dict[str, Tensor]:
    """Our weights, in float32, from a release's."""
    found = {}
    for name in ours:
        value = released[names.released(name)].detach().float()
        if names.released(name) == names.pixel_fusion:
            value = _split(value)[name == _RAYS]
        found[name] = value
    return found


def join_weights(tensors: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """A release's weights from ours."""
    state = {names.released(name): value for name, value in tensors.items()}
    if names.pixel_fusion is not None:
        state[names.pixel_fusion] = _join(tensors[_COLOURS], tensors[_RAYS])
    return state


def _split(weight: Float[Tensor, "d e"]) -> tuple[Float[Tensor, "d c"], Float[Tensor, "d r"]]:
    """A map of 9 channels for each pixel, colours first, as one of 3 channels and one of 6."""
    pixels = weight.unflatten(1, (-1, 9))
    return pixels[..., :3].flatten(1), pixels[..., 3:].flatten(1)


def _join(colours: Float[Tensor, "d c"], rays: Float[Tensor, "d r"]) -> Float[Tensor, "d e"]:
    """The inverse of `_split`."""
    return torch.cat((colours.unflatten(1, (-1, 3)), rays.unflatten(1, (-1, 6))), dim=-1).flatten(1)
