"""Recorded figures of the public release, and the rule by which their weights and images were drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.models import WildRayZer
from wildrayzer.released.keys import CONSTANTS, released_name

FOLDER = Path(__file__).parents[1] / "resources" / "golden"


def read_case(name: str) -> tuple[dict[str, Any], dict[str, list[int]], dict[str, np.ndarray]]:
    """Configuration, shapes by key (buffers included) and outputs of a recorded case."""
    case = json.loads((FOLDER / f"{name}.json").read_text())
    keys = json.loads((FOLDER / f"{name}.keys.json").read_text())
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return case, keys, dict(arrays)


def draw_weights(shapes: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """Weights by sorted name, buffers excluded."""
    weights = {}
    for number, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        z = np.random.default_rng(seed + number).standard_normal(shape).astype(np.float32)
        if name.endswith(".weight") and len(shape) > 1:
            z = z / np.sqrt(np.prod(shape[1:]))
        elif name.endswith(".weight"):
            z = 1 + 0.1 * z
        elif name.endswith(".bias"):
            z = 0.1 * z
        else:
            z = 0.5 * z
        weights[name] = torch.from_numpy(z.astype(np.float32))
    return weights


def draw_images(batch: int, views: int, size: int, seed: int) -> Tensor:
    """Images [batch, views, 3, size, size] in [0, 1], smoothed."""
    noise = np.random.default_rng(seed + 500000).random((batch, views, 3, size, size)).astype(np.float32)
    images = torch.from_numpy(noise)
    smooth = torch.nn.functional.avg_pool2d(images.flatten(0, 1), 5, 1, 2, count_include_pad=False)
    return smooth.view_as(images)


def released_state(shapes: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """A full released state dict: drawn weights and the buffers."""
    state = draw_weights({name: shape for name, shape in shapes.items() if name not in CONSTANTS}, seed)
    return state | {name: torch.tensor(CONSTANTS[name]).view(1, 3, 1, 1) for name in shapes if name in CONSTANTS}


def released_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shapes by released key of a network."""
    with torch.device("meta"):
        model = WildRayZer(config)
    return {released_name(name): tuple(value.shape) for name, value in model.state_dict().items()}


def load_released(config: ModelConfig, state: dict[str, Tensor]) -> WildRayZer:
    """A model with weights under released names."""
    model = WildRayZer(config)
    model.load_state_dict({name: state[released_name(name)] for name in model.state_dict()})
    return model


def case_config(case: dict[str, Any]) -> ModelConfig:
    """Our configuration of a recorded case."""
    head = None
    if case["mask"]:
        head = MotionHeadConfig(feature_width=case["dino"]["hidden_size"], threshold=case["motion_mask_threshold"])
    return ModelConfig(
        image_size=case["img"],
        patch_size=case["ps"],
        width=case["d"],
        head_width=case["dh"],
        camera_blocks=case["enc"],
        scene_blocks=case["geom"],
        decoder_blocks=case["dec"],
        scene_tokens=case["scene"],
        motion_head=head,
    )


def save_backbone(case: dict[str, Any], folder: Path) -> None:
    """The DINOv3 model of a recorded case as a local Hugging Face folder."""
    from wildrayzer.models.torchvision_guard import ensure_torchvision

    ensure_torchvision()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    options = dict(case["dino"])
    seed = options.pop("seed")
    model = DINOv3ViTModel(DINOv3ViTConfig(**options))
    drawn = draw_weights({name: value.shape for name, value in model.named_parameters()}, seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(drawn[name])
    model.save_pretrained(folder)
