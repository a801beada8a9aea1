"""From patch mask to pixel mask: upsampling, morphology, components, GrabCut (docs/method.md#refinement)."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.images import UNKNOWN

_RNG_MODULUS = 2**31 - 1

Job = tuple[UInt8[np.ndarray, "n g g2"], UInt8[np.ndarray, "n h w 3"], list[int]]
"""Patch masks, RGB frames, and the frame numbers within the split (the seeds of GrabCut)."""


def upsample(mask: UInt8[np.ndarray, "g g2"], height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """Nearest-neighbour upsampling by whole patches.

    Raises:
        ValueError: the patch grid does not divide the frame.
    """
    rows, columns = mask.shape
    if height % rows or width % columns:
        raise ValueError(
            f"a patch grid of {rows}×{columns} does not divide frames of {height}×{width} pixels: these masks "
            "belong to another frame store; run residuals and pseudo_masks for this one"
        )
    return np.repeat(np.repeat(mask, height // rows, axis=0), width // columns, axis=1)


def clean(mask: UInt8[np.ndarray, "h w"], config: RefineConfig) -> UInt8[np.ndarray, "h w"]:
    """Close and open the mask, then drop small components; masks are 0 or 1.

    Closing comes first: it joins patches that belong together, which opening alone would remove. A component is small
    if it (8-connected) covers less than `min_area` of the image.
    """
    if config.morphology:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (config.morphology, config.morphology))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= config.min_area * mask.size
    kept[0] = False  # the background
    return kept[labels].astype(np.uint8)


def sharpen(
    mask: UInt8[np.ndarray, "h w"], image: UInt8[np.ndarray, "h w 3"], config: RefineConfig, *, seed: int
) -> UInt8[np.ndarray, "h w"]:
    """GrabCut, seeded with the mask.

    What survives an erosion by `seed_erosion` is certain foreground, what survives it in the complement is certain
    background, and the band between is probable foreground. Image and seeds are first enlarged `grabcut_scale` times
    (cubic and nearest); the result is reduced again by majority. The mask is returned unchanged where GrabCut cannot
    run or finds nothing: for an empty mask, without certain background, or without foreground in the result.

    With `grabcut_margin` GrabCut sees only the rectangle around the band, enlarged by the margin. What is outside of it
    is certain and stays.

    Args:
        mask: 1 = transient.
        image: RGB.
        config: the `refine` section.
        seed: of GrabCut's colour models, so that the result does not depend on earlier frames.
    """
    kernel = np.ones((config.seed_erosion, config.seed_erosion), np.uint8)
    certain_background = cv2.erode(1 - mask, kernel)
    if not mask.any() or not certain_background.any():
        return mask
    # Seeds [h, w]: probable foreground, overwritten where the eroded mask or its eroded complement is certain.
    seeds = np.full(mask.shape, cv2.GC_PR_FGD, np.uint8)
    seeds[cv2.erode(mask, kernel) > 0] = cv2.GC_FGD
    seeds[certain_background > 0] = cv2.GC_BGD
    shown = _rectangle(seeds == cv2.GC_PR_FGD, config.grabcut_margin)
    foreground = mask.copy()
    foreground[shown] = _grabcut(seeds[shown], image[shown], config, seed=seed)
    return foreground if foreground.any() else mask


def _rectangle(band: Bool[np.ndarray, "h w"], margin: int | None) -> tuple[slice, slice]:
    """Rows and columns that hold the band, and `margin` more on each side; the whole image for None."""
    if margin is None:
        return slice(None), slice(None)
    places = (np.flatnonzero(band.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, at[0] - margin), at[-1] + 1 + margin) for at in places)
    return rows, columns


def _grabcut(
    seeds: UInt8[np.ndarray, "h w"], image: UInt8[np.ndarray, "h w 3"], config: RefineConfig, *, seed: int
) -> UInt8[np.ndarray, "h w"]:
    """GrabCut's foreground, 1 = transient."""
    # Enlarge: GrabCut works on pixel neighbours, and on small images a band of a few pixels leaves it no choice.
    height, width = seeds.shape
    scale = config.grabcut_scale
    colours = np.ascontiguousarray(image[..., ::-1])
    if scale > 1:
        size = (width * scale, height * scale)
        colours = cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC)
        seeds = cv2.resize(seeds, size, interpolation=cv2.INTER_NEAREST)
    # OpenCV's generator is seeded for each frame: GrabCut starts its colour models from random samples.
    cv2.setRNGSeed(seed % _RNG_MODULUS)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    seeds, _, _ = cv2.grabCut(colours, seeds, None, *models, config.grabcut_iterations, cv2.GC_INIT_WITH_MASK)
    foreground = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    # Each pixel of the frame is a block of scale × scale: the majority decides, ties count as foreground.
    share = foreground.reshape(height, scale, width, scale).mean(axis=(1, 3))
    return (share >= 0.5).astype(np.uint8)


def refine_frame(
    patch_mask: UInt8[np.ndarray, "g g2"], image: UInt8[np.ndarray, "h w 3"], config: RefineConfig, *, seed: int
) -> UInt8[np.ndarray, "h w"]:
    """All steps for one frame; a frame that is not computed (255) stays 255, an empty one stays empty.

    Raises:
        ValueError: the patch grid does not divide the frame.
    """
    height, width = image.shape[:2]
    if (patch_mask == UNKNOWN).any():
        return np.full((height, width), UNKNOWN, np.uint8)
    mask = clean(upsample(patch_mask, height, width), config)
    return sharpen(mask, image, config, seed=seed) if config.grabcut else mask


def refine_frames(
    jobs: Iterable[Job], config: RefineConfig, *, workers: int = 1
) -> Iterator[UInt8[np.ndarray, "n h w"]]:
    """Refine batches of frames, in order, on `workers` threads; the masks do not depend on their number.

    OpenCV releases the interpreter lock and has one random generator per thread. Threads are therefore as good as
    processes, and frames need no copying.
    """
    # One thread of OpenCV per worker: its own threads would compete with the pool's.
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            waiting: deque[Future[UInt8[np.ndarray, "n h w"]]] = deque()
            for patch_masks, images, seeds in jobs:
                waiting.append(pool.submit(_refine_batch, patch_masks, images, seeds, config))
                # At most two batches per worker are in flight, so that memory does not grow with the split.
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        cv2.setNumThreads(opencv_threads)


def _refine_batch(
    patch_masks: UInt8[np.ndarray, "n g g2"],
    images: UInt8[np.ndarray, "n h w 3"],
    seeds: list[int],
    config: RefineConfig,
) -> UInt8[np.ndarray, "n h w"]:
    return np.stack(
        [
            refine_frame(patch_mask, image, config, seed=seed)
            for patch_mask, image, seed in zip(patch_masks, images, seeds, strict=True)
        ]
    )
