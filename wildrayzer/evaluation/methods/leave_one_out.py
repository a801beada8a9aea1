"""Masks of the input views without a motion head: the absolute test on leave-one-out maps, row `leave_one_out`.

Every input is rendered from the other inputs and compared with the recorded view by the functions of stage 2. Patches
over thresholds from static clips, rendered in the same way, are transient. Nothing is trained for it, and the target
is not seen. Source: docs/benchmarks.md#masks-without-a-head (ours; not in the paper).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig, ResidualsConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.methods.coseg import enlarge
from wildrayzer.evaluation.methods.input_masks import InputMasks
from wildrayzer.evaluation.window_batches import WindowBatch, window_batches, windows_of
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds, apply_threshold, calibrate, motion_score
from wildrayzer.pseudo_masks.residual_maps import WindowMaps, window_maps


@dataclass(frozen=True)
class LeaveOneOut:
    """Maps of the input views, each compared with its rendering from the other inputs."""

    model: WildRayZer
    """The frozen renderer."""
    backbone: FeatureBackbone
    residuals: ResidualsConfig
    """How views are compared: the options of stage 2."""

    @torch.no_grad()
    def maps(self, batch: WindowBatch) -> WindowMaps:
        """Maps of the k inputs of b windows, on the patch grid.

        Raises:
            ValueError: fewer than two inputs, or images that are not finite.
        """
        count = batch.num_inputs
        inputs = batch.images[:, :count]
        tokens = self.model.tokenize(inputs)
        cameras = self.model.predict_cameras(inputs, tokens, num_inputs=count)
        rendered = self.model.leave_one_out(inputs, tokens, cameras, count, views=count).clamp(0, 1)
        return window_maps(
            inputs,
            rendered,
            backbone=self.backbone,
            patch_size=self.model.config.patch_size,
            config=self.residuals,
            seeds=batch.frames[:, :count].sum(axis=1).tolist(),
        )


def _flat(maps: WindowMaps) -> dict[str, np.ndarray]:
    return {name: values.reshape(-1, *values.shape[2:]) for name, values in vars(maps).items()}


def calibrated(
    compare: LeaveOneOut, stores: Sequence[FrameStore], *, inputs: int, benchmark: BenchmarkConfig,
    options: PseudoMasksConfig, device: str | torch.device,
) -> AbsoluteThresholds:  # fmt: skip
    """Thresholds from the evaluation windows of static calibration clips, with as many inputs as will be masked.

    Raises:
        ValueError: no windows, or too few patches.
    """
    # Calibration clips have no index file: their windows are drawn, whatever name they are asked for by.
    found = [
        _flat(compare.maps(batch))
        for store in stores
        for batch in window_batches(store, windows_of(store, str(store.path), inputs, benchmark), device=device)
    ]
    arrays = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    return calibrate(arrays["d_dino"], arrays["d_ssim"], arrays["psnr"], arrays["clusters"], options)


def marked(
    maps: WindowMaps, options: PseudoMasksConfig, thresholds: AbsoluteThresholds
) -> Bool[np.ndarray, "b k g g2"]:
    """Patches of the input views that pass the absolute test; no voting, which is rank-based."""
    flat = _flat(maps)
    clusters = flat.pop("clusters")
    scores = motion_score(**flat, config=options, thresholds=thresholds)
    everything = np.ones(clusters.shape, bool)
    return apply_threshold(scores, clusters, everything, options, thresholds).reshape(maps.clusters.shape)


def leave_one_out_masks(
    checkpoint_dir: str | Path,
    calibration: Sequence[str | Path],
    *,
    inputs: int,
    config: BenchmarkConfig,
    features: FeaturesConfig,
    residuals: ResidualsConfig,
    pseudo_masks: PseudoMasksConfig,
    device: str | torch.device = "cpu",
) -> InputMasks:
    """Masks of the input views from a renderer only, row `leave_one_out`.

    Args:
        checkpoint_dir: the static renderer; a motion head in it is not used.
        calibration: frame stores of static clips.
        inputs: number of input views; the thresholds are for this number.
        config: the `benchmark` section, for the calibration windows.
        features: the backbone.
        residuals: how views are compared.
        pseudo_masks: weighting and rates of the absolute test; `absolute_test: off` is taken as `patch`.
        device: where to compute.

    Raises:
        ValueError: a broken checkpoint, no calibration clips, or too few of them.
    """
    if not calibration:
        raise ValueError(
            "benchmark.leave_one_out needs static clips for its thresholds; add a split with purpose: calibration to "
            "data.splits"
        )
    model, about = load_checkpoint(checkpoint_dir, device=device)
    backbone = build_backbone(features, patch_size=model.config.patch_size, device=device)
    compare = LeaveOneOut(model.eval(), backbone, residuals)
    options = pseudo_masks
    if options.absolute_test == "off":
        options = options.model_copy(update={"absolute_test": "patch"})
    stores = [FrameStore(path, preload_mb=PRELOAD_MB) for path in calibration]
    thresholds = calibrated(compare, stores, inputs=inputs, benchmark=config, options=options, device=device)

    def masks(batch: WindowBatch) -> UInt8[np.ndarray, "b k h w"]:
        return enlarge(marked(compare.maps(batch), options, thresholds), batch.images.shape[-1])

    digests = {"checkpoint": about.weights_digest, "backbone": backbone.name, "thresholds": thresholds.digest}
    return InputMasks("leave_one_out", masks, digests, {"absolute_test": options.absolute_test})
