"""How the pseudo-masks of some pictures come about, without a motion head: stage 2 of the method with every step kept.

The functions and the options are those of `wildrayzer masks run`. What its stages write to files stays in memory here.
Sources: docs/method.md#residual-maps to docs/method.md#refinement.
"""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8

from wildrayzer.api.model import Model
from wildrayzer.app.mask_steps import MaskSteps
from wildrayzer.app.session import Progress
from wildrayzer.app.text import TINY
from wildrayzer.config import load_config
from wildrayzer.data.readers.layouts import open_reader
from wildrayzer.data.sampling.windows import Window, clip_windows
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds, apply_threshold, calibrate, motion_score
from wildrayzer.pseudo_masks.fusion import fuse
from wildrayzer.pseudo_masks.predictors import predict
from wildrayzer.pseudo_masks.refinement import refine_frame
from wildrayzer.pseudo_masks.residual_maps import WindowMaps, window_maps
from wildrayzer.pseudo_masks.voting import vote
from wildrayzer.stages.prepare import make_embedded
from wildrayzer.tools.video_masks.workspace import BASE

_CLIPS_AT_ONCE = 10
"""Still clips that are predicted together."""


class MaskMaker:
    """Makes pseudo-masks with the renderer of a model; its motion head, if it has one, is not used.

    Thresholds are calibrated once, for all visitors.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        """For a model; `folder` holds the still clips while they are being used."""
        self.model, self.folder = model, folder
        self.config = load_config(BASE)
        self.patch_size = model.manifest.model.patch_size
        self.backbone = build_backbone(self.config.features, patch_size=self.patch_size, device=model.device)
        self.thresholds: AbsoluteThresholds | None = None
        self._calibrating = threading.Lock()

    @property
    def to_calibrate(self) -> bool:
        """Whether thresholds are still to be made; never for large renderers: on a CPU, 120 windows take too long."""
        return self.thresholds is None and self.model.image_size <= TINY

    def check(self, pictures: int) -> None:
        """Refuse a number of pictures that has no residual window.

        Raises:
            ValueError: fewer than three.
        """
        inputs = self.config.residuals.inputs
        if pictures <= inputs:
            raise ValueError(
                f"{pictures} pictures are too few for pseudo-masks, because each is predicted from {inputs} others; "
                f"give {inputs + 1} or more"
            )

    def calibrate(self, progress: Progress) -> None:
        """Thresholds of the absolute test from the still clips of the embedded data set, as `masks run` makes them."""
        with self._calibrating:  # a second visitor waits for the thresholds of the first
            if not self.to_calibrate:
                return
            progress(0.0, "Making still clips, once")
            maps: list[WindowMaps] = []
            clips = 0
            for images, share in self._still_clips():
                maps += [found for _, _, found in self._windows(images, first_clip=clips)]
                clips += len(images)
                progress(share, "Calibrating on still clips, once")
            # Of every map [w, t, ...] the windows and targets become one list of frames.
            d_dino, d_ssim, psnr, clusters = (
                np.concatenate(
                    [values.reshape(-1, *values.shape[2:]) for values in (getattr(one, name) for one in maps)]
                )
                for name in ("d_dino", "d_ssim", "psnr", "clusters")
            )
            self.thresholds = calibrate(d_dino, d_ssim, psnr, clusters, self.config.pseudo_masks)

    def _still_clips(self) -> Iterator[tuple[UInt8[np.ndarray, "c f h w 3"], float]]:
        """The clips that the configuration calibrates on, some at a time, and the share that is then done."""
        embedded, side = self.config.data.embedded, self.model.image_size
        assert embedded is not None, "the embedded data set"
        (split,) = self.config.data.of(purpose="calibration")
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name) / split
            make_embedded(embedded, image_size=side, split=split, out_dir=folder)
            reader = open_reader(self.config.data.splits[split], folder)
            for start in range(0, len(reader.names), _CLIPS_AT_ONCE):
                names = reader.names[start : start + _CLIPS_AT_ONCE]
                clips = [reader.read(name, image_size=side).frames for name in names]
                yield np.stack(clips), (start + len(clips)) / len(reader.names)

    def make(self, images: UInt8[np.ndarray, "v h w 3"], progress: Progress) -> list[MaskSteps]:
        """The steps of every picture.

        Args:
            images: as the network sees them, in the order of recording.
            progress: see `Progress`.

        Raises:
            ValueError: see `check`.
        """
        self.check(len(images))
        made: dict[int, MaskSteps] = {}
        for window, predicted, maps in self._windows(images[None]):
            for place, (frame, saliency, voted, patches) in enumerate(self._voted(window, maps)):
                made[frame] = MaskSteps(
                    predicted[0, place], float(maps.psnr[0, place]), maps.d_dino[0, place], maps.d_ssim[0, place],
                    saliency, voted, patches,
                    refine_frame(patches.astype(np.uint8), images[frame], self.config.refine, seed=frame).astype(bool),
                )  # fmt: skip
                progress(len(made) / len(images), "Residuals, votes and refinement")
        return [made[frame] for frame in range(len(images))]

    def _windows(
        self, clips: UInt8[np.ndarray, "c f h w 3"], *, first_clip: int = 0
    ) -> Iterator[tuple[Window, Float32[np.ndarray, "c t h w 3"], WindowMaps]]:
        """Every residual window of clips of one length, the predictions of its targets, and their maps.

        Args:
            clips: frames of c clips, of which each has the same windows.
            first_clip: number of the first one, for the seeds: those of the stage, from the number of the frame.
        """
        options, frames = self.config.residuals, clips.shape[1]
        pixels = torch.from_numpy(clips).to(self.model.device).movedim(-1, 2).float() / 255
        for window in clip_windows(0, frames, inputs=options.inputs, targets=options.targets):
            inputs, targets = pixels[:, list(window.inputs)], pixels[:, list(window.targets)]
            predicted = predict("renderer", self.model.network, inputs, targets, [window] * len(clips))
            maps = window_maps(
                targets, predicted, backbone=self.backbone, patch_size=self.patch_size, config=options,
                seeds=[(first_clip + clip) * frames + window.targets[0] for clip in range(len(clips))],
            )  # fmt: skip
            yield window, predicted.movedim(2, -1).cpu().numpy(), maps

    def _voted(
        self, window: Window, maps: WindowMaps
    ) -> Iterator[tuple[int, Float64[np.ndarray, "g g"], Bool[np.ndarray, "g g"], Bool[np.ndarray, "g g"]]]:
        """Frame number, saliency, voted patches and patch mask of every target of a window."""
        options = self.config.pseudo_masks
        d_dino, d_ssim, psnr, clusters = maps.d_dino[0], maps.d_ssim[0], maps.psnr[0], maps.clusters[0]
        saliency = fuse(d_dino, d_ssim, psnr, options)
        voted = vote(saliency, clusters, options)
        patches = voted
        if self.thresholds is not None:
            scores = motion_score(d_dino, d_ssim, psnr, options, self.thresholds)
            patches = apply_threshold(scores, clusters, voted, options, self.thresholds)
        yield from zip(window.targets, saliency, voted, patches, strict=True)
