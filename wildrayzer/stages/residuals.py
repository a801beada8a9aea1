"""Residual jobs: render the windows with the frozen renderer, store their maps in parts (method.md)."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.features import FeaturesConfig
from wildrayzer.config.masks import ResidualsConfig
from wildrayzer.data.store import PRELOAD_MB, FrameStore
from wildrayzer.data.windows import Window, WindowList
from wildrayzer.models import WildRayZer
from wildrayzer.motion.backbones import build_backbone
from wildrayzer.motion.cache_writer import CacheWriter
from wildrayzer.motion.features import FeatureBackbone
from wildrayzer.motion.maps import WindowMaps, window_maps
from wildrayzer.provenance import digest_json
from wildrayzer.stages.precision import keep_float32

logger = logging.getLogger(__name__)

RESIDUALS_VERSION = 2
"""Raised when a change of code changes residual maps or clusters."""


Source = Literal["renderer", "nearest", "blurred"]
"""What stands for the rendering: the frozen renderer, or a control without one: `nearest` copies the input nearest in
frame number (the earlier of two), `blurred` blurs the target itself (σ a third of the patch)."""


def compute_residuals(
    *,
    checkpoint_dir: str | Path,
    store_path: str | Path,
    windows_path: str | Path,
    config: ResidualsConfig,
    features: FeaturesConfig,
    out_path: str | Path,
    source: Source = "renderer",
    part: int = 0,
    parts: int = 1,
    device: str | torch.device = "cpu",
) -> None:
    """Residual maps, clusters and PSNR of all target frames of a part's windows, as a part store.

    Args:
        checkpoint_dir: the frozen renderer; control sources take its patch size alone.
        store_path: frames of the split.
        windows_path: its window list.
        config: the `residuals` section.
        features: the `features` section.
        out_path: of the part store, see `cache_parts.part_path`.
        source: what stands for the rendering.
        part: number of the part, from 0.
        parts: how many there are.
        device: where to compute.

    Raises:
        ValueError: the window list is of another store or repeats a target, sizes do not fit, or a rendering is not
            finite.
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
        "renderer": manifest.weights_digest if source == "renderer" else source,
        "backbone": backbone.digest,
        "store": store.digest,
        "windows": windows.digest,
        "config": digest_json(options),
        "code": str(RESIDUALS_VERSION),
    }
    logger.info("part %d of %d: source %s, backbone %s, %s", part, parts, source, backbone.name, digests)
    batches = list(window_batches(windows, part, parts, config.batch))
    maps = [
        _batch_maps(batch, store, model, backbone, config, source, device)
        for _, batch in track(batches, f"residuals {part + 1}/{parts}", console=Console(stderr=True))
    ]
    about = {"source": source, "backbone": backbone.name, "residuals": options, "part": part, "parts": parts}
    _write_part(out_path, batches, maps, store, model.config.patch_size, digests, about)


def window_batches(windows: WindowList, part: int, parts: int, batch: int) -> Iterator[tuple[list[int], list[Window]]]:
    """Numbers and windows of a part, `batch` at a time, each batch with equally many targets."""
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
    source: Source,
    device: str | torch.device,
) -> WindowMaps:
    first = [int(store.offsets[window.scene]) for window in batch]
    inputs = _images(store, [[start + f for f in w.inputs] for start, w in zip(first, batch, strict=True)], device)
    frames = [[start + f for f in w.targets] for start, w in zip(first, batch, strict=True)]
    targets = _images(store, frames, device)
    try:
        return window_maps(
            targets,
            stand_in(source, model, inputs, targets, batch),
            backbone=backbone,
            patch_size=model.config.patch_size,
            config=config,
            # Of the window itself, so that batches, parts and their order are of no consequence.
            seeds=[row[0] for row in frames],
        )
    except ValueError as error:
        raise ValueError(f"windows of scenes {sorted({store.scenes[w.scene] for w in batch})}: {error}") from error


def _images(store: FrameStore, frames: list[list[int]], device: str | torch.device) -> Float[Tensor, "w v 3 h w2"]:
    pixels = torch.from_numpy(store.read(np.asarray(frames).ravel())).to(device)
    return (pixels.permute(0, 3, 1, 2).float() / 255).unflatten(0, (len(frames), -1))


def stand_in(
    source: Source,
    model: WildRayZer,
    inputs: Float[Tensor, "w k 3 h w2"],
    targets: Float[Tensor, "w t 3 h w2"],
    windows: Sequence[Window],
) -> Float[Tensor, "w t 3 h w2"]:
    """The "rendering" of the targets, see `Source`."""
    if source == "renderer":
        return model(torch.cat([inputs, targets], dim=1), inputs.shape[1]).render.float()
    return control(source, inputs, targets, windows, patch_size=model.config.patch_size)


def control(
    source: Literal["nearest", "blurred"],
    inputs: Float[Tensor, "w k 3 h w2"],
    targets: Float[Tensor, "w t 3 h w2"],
    windows: Sequence[Window],
    *,
    patch_size: int,
) -> Float[Tensor, "w t 3 h w2"]:
    """What a control puts in place of the rendering, see `Source`; needs no renderer."""
    if source == "nearest":
        nearest = [
            [int(np.abs(np.asarray(window.inputs) - frame).argmin()) for frame in window.targets] for window in windows
        ]
        rows = torch.arange(len(windows), device=inputs.device)[:, None]
        return inputs[rows, torch.tensor(nearest, device=inputs.device)]
    return gaussian_blur(targets.flatten(0, 1), sigma=patch_size / 3).view_as(targets)


def gaussian_blur(images: Float[Tensor, "n 3 h w"], *, sigma: float) -> Float[Tensor, "n 3 h w"]:
    """Gaussian blur cut off at 3 σ, edge pixels repeated."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, -1)
    padded = functional.pad(images, (radius,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, taps[..., None], groups=3), taps[:, :, None], groups=3)


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
    total = sum(found.psnr.size for found in maps)
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
        for (numbers, windows), found in zip(batches, maps, strict=True):
            frames = [int(store.offsets[window.scene]) + frame for window in windows for frame in window.targets]
            writer.append(
                d_dino=found.d_dino.reshape(-1, grid, grid),
                d_ssim=found.d_ssim.reshape(-1, grid, grid),
                clusters=found.clusters.reshape(-1, grid, grid),
                psnr=found.psnr.ravel(),
                window=np.repeat(numbers, found.psnr.shape[1]).astype(np.int32),
                frame_number=np.asarray(frames, np.int64),
            )
