"""Masks of the input views, where they gate: of motion heads, of co-segmentation, and from files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.sections.benchmark import BenchmarkConfig, CosegConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.evaluation.methods.coseg import cosegment, enlarge
from wildrayzer.evaluation.methods.external import MASK_SUFFIXES, ExternalFiles
from wildrayzer.evaluation.methods.render_method import head_features, load_backbone
from wildrayzer.evaluation.window_batches import WindowBatch
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.cross_residuals import cross_residuals_of


def coseg_masks(batch: WindowBatch, backbone: FeatureBackbone, config: CosegConfig) -> UInt8[np.ndarray, "b k h w"]:
    """Co-segmentation masks of a batch's input views, 1 = transient; a window's masks depend on no other window."""
    inputs = batch.images[:, : batch.num_inputs]
    features = backbone(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
    seeds = batch.frames.sum(axis=1).tolist()
    foreground = cosegment(features, config, centre=backbone.centre, anchor=backbone.anchor, seeds=seeds)
    return enlarge(foreground, inputs.shape[-1])


def file_masks(batch: WindowBatch, files: ExternalFiles) -> UInt8[np.ndarray, "b k h w"]:
    """Masks of a batch's input views from files, 1 = transient.

    Raises:
        ValueError: broken files, or files of another size.
    """
    size, inputs = batch.images.shape[-1], batch.frames[:, : batch.num_inputs]
    return np.stack(
        [files.masks(scene, frames.tolist(), size=size) for scene, frames in zip(batch.scenes, inputs, strict=True)]
    )


@dataclass(frozen=True)
class InputMasks:
    """A row of the mask tables whose masks are of the input views."""

    row: str
    """Name of the row."""
    masks: Callable[[WindowBatch], UInt8[np.ndarray, "b k h w"]]
    """Masks of the input views of a batch, 1 = transient."""
    digests: dict[str, str]
    """Digests of what they are made from."""
    about: dict[str, Any] = field(default_factory=dict)
    """Further entries of the manifest."""
    files: ExternalFiles | None = None
    """The files, where masks are read from files."""
    trained: tuple[int, ...] | None = None
    """Numbers of input views that the checkpoint was trained with; None where there is none."""


def head_masks(
    name: str,
    checkpoint_dir: str | Path,
    *,
    config: BenchmarkConfig,
    features: FeaturesConfig,
    device: str | torch.device = "cpu",
) -> InputMasks:
    """A motion head's masks at `benchmark.mask_threshold`, row `head:NAME`.

    Raises:
        ValueError: a broken checkpoint, or one without a motion head.
    """
    model, about = load_checkpoint(checkpoint_dir, device=device)
    model.eval()
    backbone = load_backbone(model, features, device)

    def masks(batch: WindowBatch) -> np.ndarray:
        count = batch.num_inputs
        own = head_features(model, batch.images[:, :count], backbone)
        result = model(
            batch.images,
            count,
            features=own,
            motion=True,
            gate_only=True,
            compare=cross_residuals_of(model.config, backbone),
        )
        assert result.motion_logits is not None
        marked = result.motion_logits[:, :, 0].float().sigmoid() > config.mask_threshold
        return marked.to(torch.uint8).cpu().numpy()

    digests = {"checkpoint": about.weights_digest, "backbone": backbone.name if backbone else "none"}
    extra = {"mask_threshold": config.mask_threshold}
    return InputMasks(f"head:{name}", masks, digests, extra, trained=about.inputs)


def cosegmented(
    *, config: BenchmarkConfig, features: FeaturesConfig, patch_size: int, device: str | torch.device = "cpu"
) -> InputMasks:
    """Co-segmentation of backbone features, row `coseg`."""
    backbone = build_backbone(features, patch_size=patch_size, device=device)
    return InputMasks("coseg", lambda batch: coseg_masks(batch, backbone, config.coseg), {"backbone": backbone.name})


def masks_from_files(name: str, folder: str | Path) -> InputMasks:
    """Masks of another tool, row `file:NAME`.

    Raises:
        ValueError: no such folder.
    """
    files = ExternalFiles(folder, MASK_SUFFIXES)
    return InputMasks(f"file:{name}", lambda batch: file_masks(batch, files), files.digests, files=files)
