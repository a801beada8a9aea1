"""From patch mask to pixel mask: upsampling, morphology, components, GrabCut (docs/method.md#refinement)."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from jaxtyping import UInt8

from wildrayzer.config.sections.masks import RefineConfig

_RNG_MODULUS = 2**31 - 1

Job = tuple[UInt8[np.ndarray, "n g g2"], UInt8[np.ndarray, "n h w 3"], list[int]]
"""Patch masks, RGB frames, and the frames' numbers in their split (which seed GrabCut)."""


def upsample(mask: UInt8[np.ndarray, "g g2"], height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """Nearest-neighbour upsampling by whole patches.

    Raises:
        ValueError: the patch grid does not divide the frame.
    """
    rows, columns = mask.shape
    if height % rows or width % columns:
        raise ValueError(
            f"a patch grid of {rows}×{columns} does not divide frames of {height}×{width} pixels: these masks are of "
            "another frame store; run residuals and pseudo_masks for this one"
        )
    return np.repeat(np.repeat(mask, height // rows, axis=0), width // columns, axis=1)


def clean(mask: UInt8[np.ndarray, "h w"], config: RefineConfig) -> UInt8[np.ndarray, "h w"]:
    """Close, open, and drop small components (8-connected, under `min_area` of the image); masks are 0 or 1."""
    if config.morphology:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (config.morphology, config.morphology))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= config.min_area * mask.size
    kept[0] = False
    return kept[labels].astype(np.uint8)


def sharpen(
    mask: UInt8[np.ndarray, "h w"], image: UInt8[np.ndarray, "h w 3"], config: RefineConfig, *, seed: int
) -> UInt8[np.ndarray, "h w"]:
    """GrabCut: what survives a `seed_erosion` erosion is sure foreground, what survives it in the complement is sure
    background, the band between is probable foreground.

    The image and the seeds are enlarged `grabcut_scale` times first (cubic and nearest); the result is brought back by
    majority. The mask comes back as it was where GrabCut cannot run or finds nothing: an empty mask, no sure
    background, or no foreground in the result.

    Args:
        mask: 1 = transient.
        image: RGB.
        config: the `refine` section.
        seed: of GrabCut's colour models; the result depends on nothing that ran before.
    """
    kernel = np.ones((config.seed_erosion, config.seed_erosion), np.uint8)
    sure_background = cv2.erode(1 - mask, kernel)
    if not mask.any() or not sure_background.any():
        return mask
    seeds = np.full(mask.shape, cv2.GC_PR_FGD, np.uint8)
    seeds[cv2.erode(mask, kernel) > 0] = cv2.GC_FGD
    seeds[sure_background > 0] = cv2.GC_BGD
    height, width = mask.shape
    scale = config.grabcut_scale
    colours = np.ascontiguousarray(image[..., ::-1])
    if scale > 1:
        size = (width * scale, height * scale)
        colours = cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC)
        seeds = cv2.resize(seeds, size, interpolation=cv2.INTER_NEAREST)
    cv2.setRNGSeed(seed % _RNG_MODULUS)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    seeds, _, _ = cv2.grabCut(colours, seeds, None, *models, config.grabcut_iterations, cv2.GC_INIT_WITH_MASK)
    foreground = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    share = foreground.reshape(height, scale, width, scale).mean(axis=(1, 3))
    sharp = (share >= 0.5).astype(np.uint8)
    return sharp if sharp.any() else mask


def refine_frame(
    patch_mask: UInt8[np.ndarray, "g g2"], image: UInt8[np.ndarray, "h w 3"], config: RefineConfig, *, seed: int
) -> UInt8[np.ndarray, "h w"]:
    """All steps for one frame. A frame that is not computed (255) stays 255; an empty one stays empty.

    Raises:
        ValueError: the patch grid does not divide the frame.
    """
    height, width = image.shape[:2]
    if (patch_mask == 255).any():
        return np.full((height, width), 255, np.uint8)
    mask = clean(upsample(patch_mask, height, width), config)
    return sharpen(mask, image, config, seed=seed) if config.grabcut else mask


def refine_frames(
    jobs: Iterable[Job], config: RefineConfig, *, workers: int = 1
) -> Iterator[UInt8[np.ndarray, "n h w"]]:
    """Refine batches of frames, in order, on `workers` threads; the masks do not depend on how many.

    OpenCV releases the interpreter lock and has one random generator a thread, so threads serve as processes would,
    without copying frames. Few batches are in flight at once: memory stays small however many there are.
    """
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            waiting: deque[Future[UInt8[np.ndarray, "n h w"]]] = deque()
            for patch_masks, images, seeds in jobs:
                waiting.append(pool.submit(_refine_batch, patch_masks, images, seeds, config))
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
