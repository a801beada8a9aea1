"""The configuration of a released checkpoint, inferred from the names and shapes of its weights."""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError
from torch import Tensor

from wildrayzer.config.sections.model import KINDS, ModelConfig, MotionHeadConfig

Canonical = Literal["first", "middle"]
CameraAttention = Literal["joint", "alternating", "per_view"]
Release = Literal["wildrayzer", "open_rayzer", "lvsm", "lvsm_decoder_only"]
"""Kinds of released checkpoints; RayZer's are of the kind `wildrayzer`."""

OPEN_RAYZER: Mapping[str, Any] = {
    "view_embedding": "none",
    "camera_head": "pi3",
    "image_range": "unit",
    "encoder_norm": True,
    "output_norm": "plain",
    "motion_head": None,
}
"""Options of every network of Open-RayZer."""
_QK_EPS_WITHOUT_ROTARY = 1e-3

_POSE_OF_SIZE: dict[int, Literal["6d", "quaternion"]] = {9: "6d", 7: "quaternion"}
_HEAD = "motion_mask_predictor"
_MARKS: Mapping[Release, tuple[str, ...]] = {
    "open_rayzer": ("pose_wrapper.", "estimator_blocks.", "latent_scene_tokens"),
    "lvsm": ("n_light_field_latent", "transformer_input_layernorm_decoder."),
    "lvsm_decoder_only": ("transformer_blocks.", "transformer_input_layernorm."),
}
"""Beginnings of names that only one kind has."""


def release_of(tensors: Mapping[str, Tensor]) -> Release:
    """The kind of a checkpoint, by the names of its weights."""
    for release, marks in _MARKS.items():
        if any(name.startswith(marks) for name in tensors):
            return release
    return "wildrayzer"


def infer_config(
    tensors: Mapping[str, Tensor],
    *,
    image_size: int,
    canonical: Canonical = "first",
    mask_threshold: float | None = None,
    camera_attention: CameraAttention | None = None,
) -> ModelConfig:
    """Every size and option that the weights tell.

    Args:
        tensors: weights by the release's names.
        image_size: side of the images in pixels, which no weight tells.
        canonical: view whose camera is the origin; WildRayZer and RayZer only.
        mask_threshold: of the motion head; null takes the released one.
        camera_attention: of Open-RayZer's camera encoder; null takes what the original computes by default:
            `alternating` with rotary positions, else `per_view`.

    Raises:
        ValueError: a weight that is needed to tell a size is missing or has an impossible shape, or a camera attention
            that the original does not have.
    """
    release = release_of(tensors)
    if release == "open_rayzer":
        options = _open_rayzer(tensors, camera_attention)
    elif camera_attention not in (None, "joint") or (camera_attention and release != "wildrayzer"):
        raise ValueError(f"camera attention {camera_attention}: the weights are no Open-RayZer's; drop the option")
    elif release == "wildrayzer":
        options = _wildrayzer(tensors, mask_threshold) | {"canonical_view": canonical}
    else:
        options = _lvsm(tensors, release)
    try:
        return ModelConfig(image_size=image_size, **options)
    except ValidationError as error:
        faults = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise ValueError(f"the sizes in the checkpoint do not go together: {faults}") from None


def _wildrayzer(tensors: Mapping[str, Tensor], mask_threshold: float | None) -> dict[str, Any]:
    """A checkpoint without `motion_mask_predictor.*` is the static renderer (RayZer)."""
    scene_tokens, width = _shape(tensors, "scene_code", 2)
    patch = _patch_size(tensors, "image_tokenizer.1.weight", 3)
    outputs = _shape(tensors, "pose_predictor.rel_head.2.weight", 2)[0]
    if outputs not in _POSE_OF_SIZE:
        raise ValueError(f"pose_predictor.rel_head.2.weight: {outputs} outputs; 9 are a 6D pose, 7 a quaternion pose")
    head_width = _shape(tensors, "transformer_encoder.0.attn.q_norm.weight", 1)[0]
    return {
        "patch_size": patch,
        "width": width,
        "head_width": head_width,
        "camera_blocks": _blocks(tensors, "transformer_encoder"),
        "scene_blocks": _blocks(tensors, "transformer_encoder_geom"),
        "decoder_blocks": _blocks(tensors, "transformer_decoder"),
        "scene_tokens": scene_tokens,
        "pose": _POSE_OF_SIZE[outputs],
        "motion_head": _motion_head(tensors, width, head_width, mask_threshold),
    }


def _lvsm(tensors: Mapping[str, Tensor], release: Release) -> dict[str, Any]:
    """LVSM's two networks; `image_tokenizer.1` takes colours and rays of each pixel."""
    decoder = "transformer_blocks" if release == "lvsm_decoder_only" else "transformer_decoder"
    options = {
        **KINDS[release],
        "kind": release,
        "patch_size": _patch_size(tensors, "image_tokenizer.1.weight", 9),
        "width": _shape(tensors, "image_tokenizer.1.weight", 2)[0],
        "head_width": _shape(tensors, f"{decoder}.0.attn.q_norm.weight", 1)[0],
        "decoder_blocks": _blocks(tensors, decoder),
    }
    if release == "lvsm":
        options["scene_tokens"] = _shape(tensors, "n_light_field_latent", 2)[0]
        options["scene_blocks"] = _blocks(tensors, "transformer_encoder")
    return options


def _open_rayzer(tensors: Mapping[str, Tensor], camera_attention: CameraAttention | None) -> dict[str, Any]:
    """Attention named `qkv` has rotary positions; `encoder_tokenizer` is pixel fusion, `encoder_fuse` feature fusion.

    The original alternates with rotary positions only, and its reshape after an odd number of blocks is wrong.
    """
    scene_tokens, width = _shape(tensors, "latent_scene_tokens", 2)
    rotary = not any(".attn.to_qkv." in name for name in tensors)
    fusion = "residual" if any(name.startswith("encoder_fuse.") for name in tensors) else "pixel"
    blocks = _blocks(tensors, "estimator_blocks")
    attention = camera_attention or ("alternating" if rotary else "per_view")
    if attention == "alternating" and not rotary:
        raise ValueError(
            "camera attention alternating: Open-RayZer alternates with rotary positions only, but the attention of "
            "these weights is named to_qkv and fc, which has none; choose per_view"
        )
    if attention == "alternating" and blocks % 2:
        raise ValueError(
            f"estimator_blocks: {blocks} blocks; Open-RayZer cannot run alternating attention with an odd number of "
            "blocks; choose the camera attention joint or per_view"
        )
    options = {
        **OPEN_RAYZER,
        "patch_size": _patch_size(tensors, "image_tokenizer.1.weight", 3),
        "width": width,
        "head_width": _shape(tensors, "estimator_blocks.0.attn.q_norm.weight", 1)[0],
        "camera_blocks": blocks,
        "scene_blocks": _blocks(tensors, "encoder_blocks"),
        "decoder_blocks": _blocks(tensors, "decoder_blocks"),
        "scene_tokens": scene_tokens,
        "camera_attention": attention,
        "patch_positions": "rope2d" if rotary else "none",
        "token_fusion": fusion,
    }
    return options if rotary else options | {"qk_norm_eps": _QK_EPS_WITHOUT_ROTARY}


def _motion_head(
    tensors: Mapping[str, Tensor], width: int, head_width: int, threshold: float | None
) -> MotionHeadConfig | None:
    if not any(name.startswith(f"{_HEAD}.") for name in tensors):
        return None
    fused = _shape(tensors, f"{_HEAD}.fusion_mlp.0.weight", 1)[0]
    use_features = fused != 2 * width
    own_head_width = _shape(tensors, f"{_HEAD}.motion_transformer.0.attn.q_norm.weight", 1)[0]
    options = MotionHeadConfig(
        blocks=_blocks(tensors, f"{_HEAD}.motion_transformer"),
        use_features=use_features,
        head_width=None if own_head_width == head_width else own_head_width,
    )
    if use_features:
        feature_width = _shape(tensors, f"{_HEAD}.dino_proj.0.weight", 1)[0]
        options = options.model_copy(update={"feature_width": feature_width})
    return options if threshold is None else options.model_copy(update={"threshold": threshold})


def _patch_size(tensors: Mapping[str, Tensor], name: str, channels: int) -> int:
    """Side of a patch, from a tokenizer that takes so many channels of each of its pixels."""
    pixels = _shape(tensors, name, 2)[1]
    patch = math.isqrt(pixels // channels)
    if not patch or channels * patch**2 != pixels:
        raise ValueError(f"{name}: {pixels} inputs are no square patch of {channels} channels")
    return patch


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in tensors:
        raise ValueError(f"missing weight {name}; it is needed to tell the sizes of the network")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions:
        raise ValueError(f"{name}: shape {list(shape)}, expected {dimensions} dimensions")
    return shape


def _blocks(tensors: Mapping[str, Tensor], stack: str) -> int:
    """One more than the largest block number; gaps show up as missing weights later."""
    pattern = re.compile(rf"{re.escape(stack)}\.(\d+)\.")
    numbers = [int(match[1]) for name in tensors if (match := pattern.match(name))]
    if not numbers:
        raise ValueError(f"missing weights {stack}.*; they are needed to tell the sizes of the network")
    if max(numbers) >= len(tensors):
        raise ValueError(f"unknown weight {stack}.{max(numbers)}.*; block numbers have a gap")
    return max(numbers) + 1
