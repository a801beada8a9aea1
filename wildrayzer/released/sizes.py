"""The configuration of a released checkpoint, inferred from the shapes of its weights."""

import math
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError
from torch import Tensor

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig

Canonical = Literal["first", "middle"]

_POSE_OF_SIZE: dict[int, Literal["6d", "quaternion"]] = {9: "6d", 7: "quaternion"}
_HEAD = "motion_mask_predictor"


def infer_config(
    tensors: Mapping[str, Tensor], *, image_size: int, canonical: Canonical, mask_threshold: float | None = None
) -> ModelConfig:
    """Every size that the weights tell; image size, canonical view and mask threshold they do not tell.

    A checkpoint without `motion_mask_predictor.*` is the static renderer (RayZer).

    Raises:
        ValueError: a weight that is needed to tell a size is missing or has an impossible shape.
    """
    scene_tokens, width = _shape(tensors, "scene_code", 2)
    pixels = _shape(tensors, "image_tokenizer.1.weight", 2)[1]
    patch = math.isqrt(pixels // 3)
    if 3 * patch**2 != pixels:
        raise ValueError(f"image_tokenizer.1.weight: {pixels} inputs are no square patch of 3 channels")
    outputs = _shape(tensors, "pose_predictor.rel_head.2.weight", 2)[0]
    if outputs not in _POSE_OF_SIZE:
        raise ValueError(f"pose_predictor.rel_head.2.weight: {outputs} outputs; 9 are a 6D pose, 7 a quaternion pose")
    head_width = _shape(tensors, "transformer_encoder.0.attn.q_norm.weight", 1)[0]
    try:
        return ModelConfig(
            image_size=image_size,
            patch_size=patch,
            width=width,
            head_width=head_width,
            camera_blocks=_blocks(tensors, "transformer_encoder"),
            scene_blocks=_blocks(tensors, "transformer_encoder_geom"),
            decoder_blocks=_blocks(tensors, "transformer_decoder"),
            scene_tokens=scene_tokens,
            pose=_POSE_OF_SIZE[outputs],
            canonical_view=canonical,
            motion_head=_motion_head(tensors, width, head_width, mask_threshold),
        )
    except ValidationError as error:
        faults = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise ValueError(f"the sizes in the checkpoint do not go together: {faults}") from None


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
