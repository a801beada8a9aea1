"""Residual jobs: predict the targets of the windows and store their residual maps, in parts.

Source: docs/method.md#residual-maps.
"""

import logging
from collections.abc import Iterator, Sequence
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
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.data.sampling.windows import Window, WindowList
from wildrayzer.io.digests import digest_json
from wildrayzer.models import WildRayZer
from wildrayzer.models.precision import keep_float32
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
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
    predictor: Predictor = "renderer",
    part: int = 0,
    parts: int = 1,
    device: str | torch.device = "cpu",
) -> None:
    """Residual maps, clusters and PSNR of all target frames of a part's windows, as a part store.

    Args:
        checkpoint_dir: the frozen renderer; controls use only its patch size.
        store_path: frames of the split.
        windows_path: window list of the split.
        config: the `residuals` section.
        features: the `features` section.
        out_path: folder of the part store, see `part_path`.
        predictor: what predicts the targets.
        part: number of the part, from 0.
        parts: number of parts.
        device: where to compute.

    Raises:
        ValueError: the window list belongs to another store or repeats a target, sizes do not fit, or a prediction
            is not finite.
    """
    keep_float32()
    store, windows = FrameStore(store_path, preload_mb=PRELOAD_MB), WindowList.load(windows_path)
    if windows.store_digest != store.digest:
        raise ValueError(
            f"{windows_path} lists windows of frame store {windows.store_digest}, but {store_path} is {store.digest}; "
            "make the window list again"
        )
    windows.check_cover()
    model, manifest = load_checkpoint(checkpoint_dir, device=device)
    if model.config.image_size != store.image_size:
        raise ValueError(
            f"{checkpoint_dir} renders {model.config.image_size} px, {store_path} holds {store.image_size} px; "
            "prepare the frames for model.image_size"
        )
    model.eval().requires_grad_(False)
    backbone = build_backbone(features, patch_size=model.config.patch_size, device=device)
    options = config.model_dump(mode="json", exclude={"batch", "shards"})
    digests = {
        "renderer": manifest.weights_digest if predictor == "renderer" else predictor,
        "backbone": backbone.digest,
        "store": store.digest,
        "windows": windows.digest,
        "config": digest_json(options),
        "code": str(STAGE_VERSION),
    }
    logger.info("part %d of %d: predictor %s, backbone %s, %s", part, parts, predictor, backbone.name, digests)
    batches = list(window_batches(windows, part, parts, config.batch))
    maps = [
        _batch_maps(batch, store, model, backbone, config, predictor, device)
        for _, batch in track(batches, f"residuals {part + 1}/{parts}", console=Console(stderr=True))
    ]
    about = {"source": predictor, "backbone": backbone.name, "residuals": options, "part": part, "parts": parts}
    _write_part(out_path, batches, maps, store, model.config.patch_size, digests, about)


def window_batches(windows: WindowList, part: int, parts: int, batch: int) -> Iterator[tuple[list[int], list[Window]]]:
    """Numbers and windows of a part, up to `batch` at a time; windows of a batch have equally many targets."""
    number = {window: index for index, window in enumerate(windows.windows)}
    own = windows.part(part, parts)
    for targets in sorted({len(window.targets) for window in own}):
        same = [window for window in own if len(window.targets) == targets]
        for start in range(0, len(same), batch):
            chosen = same[start : start + batch]
            yield [number[window] for window in chosen], chosen


@torch.no_grad()
def _batch_maps(
    batch: Sequence[Window],
    store: FrameStore,
    model: WildRayZer,
    backbone: FeatureBackbone,
    config: ResidualsConfig,
    predictor: Predictor,
    device: str | torch.device,
) -> WindowMaps:
    first = [int(store.offsets[window.scene]) for window in batch]
    inputs = _images(store, [[start + f for f in w.inputs] for start, w in zip(first, batch, strict=True)], device)
    frames = [[start + f for f in w.targets] for start, w in zip(first, batch, strict=True)]
    targets = _images(store, frames, device)
    try:
        return window_maps(
            targets,
            predict(predictor, model, inputs, targets, batch),
            backbone=backbone,
            patch_size=model.config.patch_size,
            config=config,
            # From the window itself, so that the division into batches and parts changes nothing.
            seeds=[row[0] for row in frames],
        )
    except ValueError as error:
        raise ValueError(f"windows of scenes {sorted({store.scenes[w.scene] for w in batch})}: {error}") from error


def _images(store: FrameStore, frames: list[list[int]], device: str | torch.device) -> Float[Tensor, "w v 3 h w2"]:
    pixels = torch.from_numpy(store.read(np.asarray(frames).ravel())).to(device)
    return (pixels.permute(0, 3, 1, 2).float() / 255).unflatten(0, (len(frames), -1))


def _write_part(
    out_path: str | Path,
    batches: Sequence[tuple[list[int], list[Window]]],
    maps: Sequence[WindowMaps],
    store: FrameStore,
    patch_size: int,
    digests: dict[str, str],
    about: dict[str, Any],
) -> None:
    grid = store.image_size // patch_size
    total = sum(batch.psnr.size for batch in maps)
    with CacheWriter(
        out_path,
        "residuals_part",
        frames=total,
        sizes={"patch_row": grid, "patch_column": grid},
        digests=digests,
        scenes=store.scenes,
        offsets=store.offsets,
        about=about,
    ) as writer:
        for (numbers, windows), batch in zip(batches, maps, strict=True):
            frames = [int(store.offsets[window.scene]) + frame for window in windows for frame in window.targets]
            writer.append(
                d_dino=batch.d_dino.reshape(-1, grid, grid),
                d_ssim=batch.d_ssim.reshape(-1, grid, grid),
                clusters=batch.clusters.reshape(-1, grid, grid),
                psnr=batch.psnr.ravel(),
                window=np.repeat(numbers, batch.psnr.shape[1]).astype(np.int32),
                frame_number=np.asarray(frames, np.int64),
            )
