"""Residual jobs: predict the targets of the windows and store their residual maps, part by part.

Source: docs/method.md#residual-maps.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from torch import Tensor

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.data.frame_store.manifest import StorePart
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.windows import Window, WindowList
from wildrayzer.io.digests import digest_json
from wildrayzer.io.part_lists import part_path
from wildrayzer.models import WildRayZer
from wildrayzer.models.precision import keep_float32, rendering_in
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.cache.arrays import arrays_of
from wildrayzer.pseudo_masks.cache.manifest import made_part
from wildrayzer.pseudo_masks.cache.receipts import share_of_parts, write_receipt
from wildrayzer.pseudo_masks.cache.writer import CacheWriter, part_key
from wildrayzer.pseudo_masks.predictors import Predictor, predict
from wildrayzer.pseudo_masks.residual_maps import WindowMaps, window_maps
from wildrayzer.run.stage_versions import STAGE_VERSIONS

logger = logging.getLogger(__name__)

STAGE_VERSION = STAGE_VERSIONS["residuals"]


def compute_residuals(
    *,
    checkpoint_dir: str | Path,
    store_path: str | Path,
    windows_path: str | Path,
    config: ResidualsConfig,
    features: FeaturesConfig,
    out_path: str | Path,
    receipt_path: str | Path,
    predictor: Predictor = "renderer",
    job: int = 0,
    jobs: int = 1,
    device: str | torch.device = "cpu",
) -> None:
    """Residual maps, clusters and PSNR of all target frames of this job's parts; parts that are there stay.

    Args:
        checkpoint_dir: the frozen renderer; controls use only its patch size.
        store_path: frames of the split.
        windows_path: window list of the split.
        config: the `residuals` section.
        features: the `features` section.
        out_path: the manifest that `list_residuals` will write; the parts lie in the folder beside it.
        receipt_path: JSON with the keys of this job's parts.
        predictor: what predicts the targets.
        job: number of the job, from 0.
        jobs: number of jobs that share the parts out; it changes no result.
        device: where to compute.

    Raises:
        ValueError: the window list belongs to another store or repeats a target, sizes do not fit, or a prediction
            is not finite.
    """
    keep_float32()
    store, windows = FrameStore(store_path), WindowList.load(windows_path)
    check_windows(windows, store, windows_path)
    model, manifest = load_checkpoint(checkpoint_dir, device=device)
    if model.config.image_size != store.image_size:
        raise ValueError(
            f"{checkpoint_dir} renders {model.config.image_size} px, {store_path} holds {store.image_size} px; "
            "prepare the frames for model.image_size"
        )
    model.eval().requires_grad_(False)
    backbone = build_backbone(features, patch_size=model.config.patch_size, device=device)
    work = _Work(store, model, backbone, config, predictor, device)
    digests = {
        "renderer": manifest.weights_digest if predictor == "renderer" else predictor,
        "backbone": backbone.digest,
        "config": digest_json(work.options),
        "code": str(STAGE_VERSION),
    }
    logger.info("job %d of %d: predictor %s, backbone %s, %s", job, jobs, predictor, backbone.name, digests)
    keys = {}
    for number in share_of_parts(len(store.parts), job, jobs):
        part = store.parts[number]
        listed = windows.of_part(part)
        own = {**digests, "store": part.key, "windows": listed.digest, **seed_digest(part)}
        keys[number] = part_key("residuals", own)
        if made_part(out_path, "residuals", own, stage="residuals") is None:
            work.make(part_path(out_path, keys[number]), part, listed, own, f"part {number + 1}/{len(store.parts)}")
    write_receipt(receipt_path, keys, parts=len(store.parts))


def check_windows(windows: WindowList, store: FrameStore, windows_path: str | Path) -> None:
    """Refuse a window list of another store, or one in which not every frame of a clip is a target exactly once.

    Raises:
        ValueError: naming the list and what is wrong.
    """
    if windows.store_digest != store.digest:
        raise ValueError(
            f"{windows_path} lists windows of frame store {windows.store_digest}, but {store.path} is {store.digest}; "
            "make the window list again"
        )
    windows.check_cover()


def seed_digest(part: StorePart) -> dict[str, str]:
    """The base of a part's seeds, as a digest; absent for 0, as in the groups of earlier versions."""
    return {"seed_frame": str(part.seed_frame)} if part.seed_frame else {}


@dataclass(frozen=True)
class _Work:
    """What the parts of a job have in common."""

    store: FrameStore
    model: WildRayZer
    backbone: FeatureBackbone
    config: ResidualsConfig
    predictor: Predictor
    device: str | torch.device

    @property
    def options(self) -> dict[str, Any]:
        """Options that decide the residuals; `precision` only where it is not float32, as in earlier versions."""
        usual = {"precision"} if self.config.precision == "float32" else set()
        return self.config.model_dump(mode="json", exclude={"batch", "shards", *usual})

    def make(self, path: Path, part: StorePart, windows: WindowList, digests: dict[str, str], name: str) -> None:
        """Compute and write the residuals of one part of the store."""
        batches = list(window_batches(windows, self.config.batch))
        progress = track(batches, f"residuals, {name}", console=Console(stderr=True))
        maps = [self._batch_maps(part, batch) for _, batch in progress]
        grid = self.store.image_size // self.model.config.patch_size
        arrays = _in_frame_order(windows, batches, maps, grid)
        scenes = self.store.scenes[part.first_scene : part.first_scene + part.num_scenes]
        about = {"source": self.predictor, "backbone": self.backbone.name, "residuals": self.options}
        with CacheWriter(
            path,
            "residuals",
            frames=part.num_frames,
            sizes={"patch_row": grid, "patch_column": grid},
            digests=digests,
            scenes=scenes,
            offsets=_offsets(windows),
            about=about,
        ) as writer:
            writer.append(**arrays)
            psnr = arrays["psnr"][arrays["window"] >= 0]
            writer.summary = {
                "windows": len(windows),
                "clips_skipped": len(windows.skipped),
                "frames_computed": len(psnr),
                "psnr_sum": float(psnr.sum(dtype=np.float64)),
            }

    @torch.no_grad()
    def _batch_maps(self, part: StorePart, batch: Sequence[Window]) -> WindowMaps:
        offsets = self.store.offsets[part.first_scene :]
        first = [int(offsets[window.scene]) for window in batch]
        inputs = self._images([[start + f for f in w.inputs] for start, w in zip(first, batch, strict=True)])
        frames = [[start + f for f in w.targets] for start, w in zip(first, batch, strict=True)]
        targets = self._images(frames)
        # Controls copy or blur frames: only the renderer has another precision than float32.
        precision = self.config.precision if self.predictor == "renderer" else "float32"
        with rendering_in(precision, self.device):
            predicted = predict(self.predictor, self.model, inputs, targets, batch)
        try:
            return window_maps(
                targets,
                predicted,
                backbone=self.backbone,
                patch_size=self.model.config.patch_size,
                config=self.config,
                # From the frame's number when its part was made, so that neither the division into batches and jobs nor
                # the removal of other clips changes anything.
                seeds=[row[0] - part.first_frame + part.seed_frame for row in frames],
            )
        except ValueError as error:
            scenes = sorted({self.store.scenes[part.first_scene + window.scene] for window in batch})
            raise ValueError(f"windows of scenes {scenes}: {error}") from error

    def _images(self, frames: list[list[int]]) -> Float[Tensor, "w v 3 h w2"]:
        pixels = torch.from_numpy(self.store.read(np.asarray(frames).ravel())).to(self.device)
        return (pixels.permute(0, 3, 1, 2).float() / 255).unflatten(0, (len(frames), -1))


def window_batches(windows: WindowList, batch: int) -> Iterator[tuple[list[int], list[Window]]]:
    """Numbers and windows of a list, up to `batch` at a time; windows of a batch have equally many targets."""
    for targets in sorted({len(window.targets) for window in windows.windows}):
        same = [(number, window) for number, window in enumerate(windows.windows) if len(window.targets) == targets]
        for start in range(0, len(same), batch):
            numbers, chosen = zip(*same[start : start + batch], strict=True)
            yield list(numbers), list(chosen)


def _offsets(windows: WindowList) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(windows.lengths)]).astype(np.int64)


def _in_frame_order(
    windows: WindowList, batches: Sequence[tuple[list[int], list[Window]]], maps: Sequence[WindowMaps], grid: int
) -> dict[str, np.ndarray]:
    """The arrays of a part: maps are made window by window, and stored frame by frame."""
    offsets = _offsets(windows)
    arrays = {
        name: np.full((offsets[-1], *[grid] * len(spec.dimensions)), spec.fill, spec.dtype)
        for name, spec in arrays_of("residuals", 1).items()
    }
    for (numbers, own), found in zip(batches, maps, strict=True):
        rows = np.concatenate([offsets[window.scene] + np.asarray(window.targets) for window in own])
        for name in ("d_dino", "d_ssim", "clusters", "psnr"):
            values = getattr(found, name)
            arrays[name][rows] = values.reshape(-1, *values.shape[2:])
        arrays["window"][rows] = np.repeat(numbers, found.psnr.shape[1])
    return arrays
