"""Checks of what a checkpoint can render: numbers of views, a trained motion head, and its features."""

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
    "pretrain": "is a static renderer whose motion head is not trained yet",
    "unmasked": "is the control that was trained without masks",
}


@dataclass(frozen=True)
class RenderOptions:
    """What to render and to write."""

    inputs: int | None = None
    """Number of input views; None takes the largest number that the checkpoint was trained with and the views allow."""
    frames: int = 10
    """Number of frames to take from a video, evenly spread."""
    video: bool = False
    """Write `path.mp4`."""
    path_frames: int = 96
    """Number of frames of the camera path."""
    masks: bool = False
    """Write motion masks."""
    gate_threshold: float | None = None
    """Patches with a higher mean probability of motion are kept out; None takes the checkpoint's threshold."""
    plucker: bool = False
    """Write Plücker diagnostics."""
    backbone: str | None = None
    """Weights of the feature backbone, for motion heads that use it; None takes those that the checkpoint names."""
    force: bool = False
    """Also render with numbers of views or features that the checkpoint was not trained with, and say so."""


def why_static(manifest: CheckpointManifest) -> str | None:
    """Why a checkpoint's motion head cannot gate the inputs; None if it can."""
    if manifest.model.motion_head is None:
        return "has no motion head"
    return _NO_HEAD.get(manifest.stage)


def pick_inputs(
    checkpoint: Path, manifest: CheckpointManifest, views: int, options: RenderOptions
) -> tuple[list[int], list[str]]:
    """Indices of the input views, and warnings about a forced number of them.

    Raises:
        ValueError: a number that the checkpoint was not trained with, or more inputs than views.
    """
    trained = sorted(set(manifest.inputs))
    fitting = [number for number in trained if number <= views]
    wanted = options.inputs or (fitting[-1] if fitting else views)
    forced = []
    if wanted not in trained:
        message = f"{checkpoint} was trained with {trained} input views, not {wanted}"
        if not options.force:
            raise ValueError(
                f"{message}; give as many pictures, choose their number with --inputs (inputs=), or force it with "
                "--force (force=True)"
            )
        logger.warning(message)
        forced.append(message)
    return choose_inputs(views, wanted), forced


def head_backbone(
    checkpoint: Path, manifest: CheckpointManifest, options: RenderOptions, device: torch.device | str
) -> tuple[FeatureBackbone | None, str | None]:
    """The backbone of the motion head, and a warning if a forced one differs from that of training.

    Raises:
        ValueError: no backbone is named, or it differs from that of training.
    """
    head = manifest.model.motion_head
    assert head is not None
    if not head.use_features:
        return None, None
    name = str(manifest.extra.get("features") or "")
    kind, _, weights = name.partition(":")
    if kind == "descriptor":
        section = FeaturesConfig(backbone="descriptor")
    else:
        weights = options.backbone or weights
        if not weights:
            raise ValueError(
                f"the motion head of {checkpoint} needs DINOv3 features of width {head.feature_width}; name a local "
                "Hugging Face folder with --backbone (backbone=)"
            )
        section = FeaturesConfig(backbone="timm" if kind == "timm" else "dinov3", weights=weights)
    backbone = build_backbone(section, patch_size=manifest.model.patch_size, device=device)
    trained = manifest.extra.get("features_digest")
    if trained in (None, backbone.digest):
        return backbone, None
    message = f"{checkpoint} was trained with features {name} ({trained}), not {backbone.name} ({backbone.digest})"
    if not options.force:
        raise ValueError(
            f"{message}; name the same weights with --backbone (backbone=), or force it with --force (force=True)"
        )
    logger.warning(message)
    return backbone, message
