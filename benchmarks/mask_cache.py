"""The pseudo-mask cache: sizes, reading times, voting and refinement rates, and what reading costs a training batch.

    python benchmarks/mask_cache.py [--frames 4096] [--threads 2] [--cache RUN/roundN/masks/SPLIT/SOURCE --store STORE]

Writes a cache of procedural content (blobs with uneven edges; maps of noise, the hardest case for a codec) in a
temporary folder. Sizes are set against a float32 256×256 file a frame, as the release keeps them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import zarr
from mask_material import windows

from wildrayzer.config import load_config
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.pseudo_masks.patch_masks import vote_frames
from wildrayzer.pseudo_masks.refinement import refine_frames

GRID, SIZE, TARGETS = 16, 256, 6
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Clock = Callable[[], float]
RELEASED_BYTES = SIZE * SIZE * 4


def smooth(rng: np.random.Generator, count: int, side: int, sigma: float) -> np.ndarray:
    """Smooth noise of unit variance, [count side side]."""
    noise = rng.standard_normal((count, side, side)).astype(np.float32)
    made = np.stack([cv2.GaussianBlur(each, (0, 0), sigma) for each in noise])
    return made / made.std()


def pixel_content(rng: np.random.Generator, count: int) -> np.ndarray:
    """Masks of two blobs with uneven edges, about a sixth of the frame."""
    masks = []
    for noise in smooth(rng, count, SIZE, 3):
        mask = np.zeros((SIZE, SIZE), np.float32)
        for _ in range(2):
            centre, axes = rng.integers(60, 200, 2).tolist(), rng.integers(20, 60, 2).tolist()
            cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(mask, (0, 0), 3)
        masks.append(soft + 0.25 * noise * (soft > 0.05) > 0.5)
    return np.stack(masks).astype(np.uint8)


def write_cache(folder: Path, frames: int) -> None:
    """All three groups; maps repeat every 512 frames, pixel masks every 64."""
    rng = np.random.default_rng(0)
    common = {"frames": frames, "scenes": ["all"], "offsets": np.array([0, frames]), "digests": {"store": "s"}}
    grid = {"patch_row": GRID, "patch_column": GRID}
    maps = [rng.random((512, GRID, GRID)).astype(np.float16) for _ in range(2)]
    cells = smooth(rng, 512, GRID, 2)
    clusters = np.clip((cells + 2) * 16, 0, 63).astype(np.uint8)
    masks = pixel_content(rng, 64)
    patches = masks.reshape(64, GRID, SIZE // GRID, GRID, SIZE // GRID).mean((2, 4)) > 0.5
    rows = np.arange(frames)
    with CacheWriter(folder / "residuals.zarr", "residuals", sizes=grid, **common) as writer:
        writer.append(
            d_dino=maps[0][rows % 512],
            d_ssim=maps[1][rows % 512],
            clusters=clusters[rows % 512],
            psnr=rng.uniform(15, 30, frames).astype(np.float32),
            window=(rows // TARGETS).astype(np.int32),
        )
    with CacheWriter(folder / "patch_masks.zarr", "patch_masks", sizes=grid, **common) as writer:
        writer.append(mask=patches[rows % 64].astype(np.uint8))
    sizes = {"row": SIZE, "column": SIZE}
    with CacheWriter(folder / "pixel_masks.zarr", "pixel_masks", sizes=sizes, **common) as writer:
        for start in range(0, frames, 512):
            writer.append(mask=masks[rows[start : start + 512] % 64])


def size_of(path: Path) -> tuple[int, int]:
    """Bytes and number of files."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files), len(files)


def median_ms(read: Callable[[int], object], frames: int, clock: Clock, times: int = 300) -> float:
    """Median time of reading a random frame, once everything has been read before."""
    order = np.random.default_rng(0).integers(0, frames, times)
    taken = []
    for number in [*order[:20], *order]:
        start = clock()
        read(int(number))
        taken.append(clock() - start)
    return 1000 * float(np.median(taken[20:]))


def sizes(folder: Path, frames: int) -> None:
    print(f"{frames} frames; the release: {RELEASED_BYTES} bytes and one file a frame")
    for name in ("residuals", "patch_masks", "pixel_masks"):
        if (folder / f"{name}.zarr").exists():
            content, files = size_of(folder / f"{name}.zarr")
            each = content / frames
            print(f"  {name:<12} {each:8.0f} bytes a frame (1/{RELEASED_BYTES / each:.0f}), {files} files")


def reading(folder: Path, clock: Clock) -> None:
    """Random frames: this reader, and Zarr's own indexing beside it."""
    groups = {"residuals": ResidualMaps, "patch_masks": PatchMasks, "pixel_masks": PixelMasks}
    print("random frame, warm, median ms: reader, Zarr's own indexing")
    for name, kind in groups.items():
        group, plain = kind(folder / f"{name}.zarr"), zarr.open_group(folder / f"{name}.zarr", mode="r")
        for array in ("d_dino", "d_ssim", "clusters") if name == "residuals" else ("mask",):
            own = median_ms(lambda n, g=group, a=array: g.take(a, np.array([n])), group.num_frames, clock)
            other = median_ms(lambda n, p=plain[array]: p[n], group.num_frames, clock, 60)
            print(f"  {name + '/' + array:<20}{own:8.3f}{other:8.3f}")


def training(folder: Path, clock: Clock) -> None:
    """Steps/s of the demo's renderer (batch 8, 4 views, 48 px), with and without 32 pixel masks of 256 px from disk."""
    masks = PixelMasks(folder / "pixel_masks.zarr")
    model = WildRayZer(load_config("config/demo.yaml").model)
    optimiser = torch.optim.AdamW(model.parameters())
    images = torch.rand(8, 4, 3, model.config.image_size, model.config.image_size)
    rng = np.random.default_rng(0)

    def step(*, labels: bool) -> None:
        if labels:
            torch.from_numpy(masks.read(rng.integers(0, masks.num_frames, 32))).float()
        loss = (model(images, 2).render - images[:, 2:]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    taken: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(10):
        for labels, times in taken.items():
            start = clock()
            step(labels=labels)
            times.append(clock() - start)
    without, own = (1 / float(np.median(times[1:])) for times in taken.values())
    reading = median_ms(lambda n: masks.read(np.full(32, n)), masks.num_frames - 1, clock, 20)
    print(f"training: {without:.2f} steps/s without masks, {own:.2f} with 32 masks a step read from disk "
          f"({reading:.1f} ms of {1000 / without:.0f})")  # fmt: skip


def voting(folder: Path, clock: Clock) -> None:
    maps = ResidualMaps(folder / "residuals.zarr")
    config = PseudoMasksConfig()
    best = np.inf
    for _ in range(3):
        start = clock()
        vote_frames(maps, config)
        best = min(best, clock() - start)
    print(f"voting: {(maps.window >= 0).sum() / best:.0f} frames/s in one process, reading included (aim 2000)")


def refinement(threads: int, clock: Clock) -> None:
    targets, _ = windows(2, targets=TARGETS, size=SIZE)
    images = (targets.flatten(0, 1).permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    rng = np.random.default_rng(0)
    patches = (smooth(rng, len(images), GRID, 2) > 1).astype(np.uint8)
    config = RefineConfig()
    rates = {}
    for workers in range(1, threads + 1):
        jobs = ((patches[n : n + 1], images[n : n + 1], [n]) for n in range(len(images)))
        start = clock()
        masks = list(refine_frames(jobs, config, workers=workers))
        rates[workers] = len(masks) / (clock() - start)
        print(f"refinement with GrabCut at {SIZE} px, {workers} workers: {rates[workers]:.1f} frames/s "
              f"(×{rates[workers] / rates[1]:.2f})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for a busy machine")
    parser.add_argument("--cache", type=Path, help="measure sizes and reading of this one as well")
    parser.add_argument("--store", type=Path, help="its frame store, for the comparison of sizes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = CLOCKS[arguments.clock]
    print(f"{arguments.clock} time, {arguments.threads} threads, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder), arguments.frames)
        sizes(Path(folder), arguments.frames)
        reading(Path(folder), clock)
        training(Path(folder), clock)
        voting(Path(folder), clock)
    refinement(arguments.threads, clock)
    if arguments.cache is not None:
        print(arguments.cache)
        sizes(arguments.cache, ResidualMaps(arguments.cache / "residuals.zarr").num_frames)
        reading(arguments.cache, clock)
        if arguments.store is not None:
            store = FrameStore(arguments.store)
            print(f"  frames of the store: {size_of(store.path)[0] / store.num_frames:.0f} bytes each")


if __name__ == "__main__":
    main()
