"""What a checkpoint can be asked to render: view counts, a trained motion head, and its features."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from wildrayzer.checkpoint import CheckpointManifest
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.evaluation.methods.unposed import choose_inputs
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone

logger = logging.getLogger(__name__)

_NO_HEAD = {
    "pretrain": "is a static renderer: its motion head has not learned anything yet",
    "unmasked": "is the control that was trained without masks",
}


@dataclass(frozen=True)
class RenderOptions:
    """What to render and to write."""

    inputs: int | None = None
    """Input views; None takes the largest number that the checkpoint was trained with and there are pictures for."""
    frames: int = 10
    """Frames taken of a video, evenly spread."""
    video: bool = False
    """Write `path.mp4`."""
    path_frames: int = 96
    """Frames of the camera path."""
    masks: bool = False
    """Write motion masks."""
    plucker: bool = False
    """Write Plücker diagnostics."""
    backbone: str | None = None
    """Folder of the DINOv3 model for motion heads that use it; None takes the one that the checkpoint names."""
    force: bool = False
    """Render numbers of views that the checkpoint was not trained with, or with other features, and say so."""


def why_static(manifest: CheckpointManifest) -> str | None:
    """Why a checkpoint's motion head cannot gate the inputs; None where it can."""
    if manifest.model.motion_head is None:
        return "has no motion head"
    return _NO_HEAD.get(manifest.stage)


def pick_inputs(
    checkpoint: Path, manifest: CheckpointManifest, views: int, options: RenderOptions
) -> tuple[list[int], list[str]]:
    """Numbers of the input views, and what was forced about them.

    Raises:
        ValueError: a number that the checkpoint was not trained with, or more than there are pictures.
    """
    trained = sorted(set(manifest.inputs))
    fitting = [number for number in trained if number <= views]
    wanted = options.inputs or (fitting[-1] if fitting else views)
    forced = []
    if wanted not in trained:
        message = f"{checkpoint} was trained with {trained} input views, not {wanted}"
        if not options.force:
            raise ValueError(f"{message}; give that many pictures or --inputs, or --force it and have the page say so")
        logger.warning(message)
        forced.append(message)
    return choose_inputs(views, wanted), forced


def head_backbone(
    checkpoint: Path, manifest: CheckpointManifest, options: RenderOptions, device: torch.device | str
) -> tuple[FeatureBackbone | None, str | None]:
    """The motion head's backbone, and a warning where it is forced to be another than in training.

    Raises:
        ValueError: no backbone is named, or it is another one than in training.
    """
    head = manifest.model.motion_head
    assert head is not None
    if not head.use_features:
        return None, None
    name = str(manifest.extra.get("features") or "")
    if name == "descriptor":
        section = FeaturesConfig(backbone="descriptor")
    else:
        weights = options.backbone or name.removeprefix("dinov3:")
        if not weights:
            raise ValueError(
                f"the motion head of {checkpoint} needs DINOv3 features of width {head.feature_width}; name a local "
                "Hugging Face folder with --backbone"
            )
        section = FeaturesConfig(weights=weights)
    backbone = build_backbone(section, patch_size=manifest.model.patch_size, device=device)
    trained = manifest.extra.get("features_digest")
    if trained in (None, backbone.digest):
        return backbone, None
    message = f"{checkpoint} was trained with features {name} ({trained}), not {backbone.name} ({backbone.digest})"
    if not options.force:
        raise ValueError(f"{message}; name the same weights with --backbone, or --force it and have the page say so")
    logger.warning(message)
    return backbone, message
