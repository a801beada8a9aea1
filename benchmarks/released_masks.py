"""The released mask procedure, written down plainly: the reference that `mask_engine.py` is timed against.

One sample (window) at a time, as inside a training step: four passes of the backbone (targets and renderings for the
residual, and both again for clustering and voting), scikit-image's SSIM frame by frame, loops over clusters and frames
in Python, GrabCut frame by frame. It follows the same options and draws the same random numbers as the engine, and its
maps are rounded to float16 as the cache's are, so that masks can be compared patch by patch.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone


class ReleasedMasks:
    """Patch masks and pixel masks of one window at a time.

    `seconds` adds up the time of the steps: `features`, `ssim`, `clusters`, `voting`, `grabcut` (with the morphology).
    """

    def __init__(
        self,
        backbone: FeatureBackbone,
        *,
        patch_size: int,
        residuals: ResidualsConfig,
        pseudo_masks: PseudoMasksConfig,
        refine: RefineConfig,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self.backbone = backbone
        self.patch_size = patch_size
        self.residuals, self.pseudo_masks, self.refine = residuals, pseudo_masks, refine
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def _timed(self, step: str, device: torch.device) -> Iterator[None]:
        start = self._clock()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[step] += self._clock() - start

    def __call__(self, targets: Tensor, rendered: Tensor, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks of one window: patches [t g g] and pixels [t h w], uint8, 1 = transient.

        Args:
            targets: [t 3 h w] in [0, 1].
            rendered: as the targets.
            seed: of K-means; GrabCut of frame i takes seed + i.
        """
        with self._timed("features", targets.device):
            own, other = self.backbone(targets).cpu(), self.backbone(rendered).cpu()
            d_dino = (1 - torch.cosine_similarity(own, other, dim=-1)).numpy().astype(np.float16)
            own, _ = self.backbone(targets).cpu(), self.backbone(rendered).cpu()
        truth, images = (v.permute(0, 2, 3, 1).cpu().numpy() for v in (targets, rendered))
        with self._timed("ssim", targets.device):
            maps = [self._ssim(a, b) for a, b in zip(truth, images, strict=True)]
            d_ssim = np.stack([1 - self._pool(similarity) for similarity in maps]).astype(np.float16)
            psnr = [-10 * math.log10(max(np.square(a - b).mean(), 1e-10)) for a, b in zip(truth, images, strict=True)]
        with self._timed("clusters", targets.device):
            points = torch.nn.functional.normalize(own.flatten(0, 2), dim=-1)
            # Sums of points on this grid are exact, so that engine and reference can agree to the last label.
            labels = plain_kmeans((points * 2048).round().numpy() / 2048, self.residuals, seed).reshape(d_dino.shape)
        with self._timed("voting", targets.device):
            saliency = np.stack([self._fuse(*frame) for frame in zip(d_dino, d_ssim, psnr, strict=True)])
            patches = self._vote(saliency, labels)
        with self._timed("grabcut", targets.device):
            pixels = [
                self._grabcut(mask, (image * 255).round().astype(np.uint8), seed + number)
                for number, (mask, image) in enumerate(zip(patches, truth, strict=True))
            ]
        return patches, np.stack(pixels)

    def _ssim(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        options = {"win_size": self.residuals.ssim_size, "channel_axis": 2, "full": True}
        if self.residuals.ssim_window == "uniform":
            a, b = ((image * 255).astype(np.uint8) for image in (a, b))
            return structural_similarity(a, b, data_range=255, **options)[1].mean(2)
        gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return structural_similarity(a, b, data_range=1.0, **gaussian, **options)[1].mean(2)

    def _pool(self, values: np.ndarray) -> np.ndarray:
        side = self.patch_size
        rows, columns = values.shape[0] // side, values.shape[1] // side
        return values.reshape(rows, side, columns, side).mean((1, 3))

    def _fuse(self, d_dino: np.ndarray, d_ssim: np.ndarray, psnr: float) -> np.ndarray:
        options = self.pseudo_masks
        weight = options.dino_weight
        if options.weighting == "adaptive":
            progress = min(max((psnr - options.psnr_low) / (options.psnr_high - options.psnr_low), 0), 1)
            weight = options.dino_weight_low + (options.dino_weight_high - options.dino_weight_low) * progress
        return weight * _zscore(d_dino.astype(np.float64)) + (1 - weight) * _zscore(d_ssim.astype(np.float64))

    def _vote(self, saliency: np.ndarray, labels: np.ndarray) -> np.ndarray:
        options = self.pseudo_masks
        clusters = np.unique(labels)
        means = [saliency[labels == k].mean() for k in clusters]
        threshold = np.quantile(means, 1 - options.top_share)
        needed = max(1, math.ceil(options.frame_share * len(saliency) - 1e-9))
        mask = np.zeros(saliency.shape, np.uint8)
        for k, mean in zip(clusters, means, strict=True):
            votes = 0
            for frame, frame_labels in zip(saliency, labels, strict=True):
                members = frame[frame_labels == k]
                if len(members) and np.median(members) >= np.quantile(frame, options.frame_quantile):
                    votes += 1
            if mean >= threshold and votes >= needed:
                mask[labels == k] = 1
        return mask

    def _grabcut(self, patches: np.ndarray, image: np.ndarray, seed: int) -> np.ndarray:
        options = self.refine
        mask = np.kron(patches, np.ones((self.patch_size, self.patch_size), np.uint8))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (options.morphology, options.morphology))
        mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel), cv2.MORPH_OPEN, kernel)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        for component in range(1, count):
            if stats[component, cv2.CC_STAT_AREA] < options.min_area * mask.size:
                mask[labels == component] = 0
        kernel = np.ones((options.seed_erosion, options.seed_erosion), np.uint8)
        background = cv2.erode(1 - mask, kernel)
        if not mask.any() or not background.any():
            return mask
        seeds = np.full(mask.shape, cv2.GC_PR_FGD, np.uint8)
        seeds[cv2.erode(mask, kernel) == 1] = cv2.GC_FGD
        seeds[background == 1] = cv2.GC_BGD
        cv2.setRNGSeed(seed)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        cv2.grabCut(bgr, seeds, None, *models, options.grabcut_iterations, cv2.GC_INIT_WITH_MASK)
        found = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        return found if found.any() else mask


def _zscore(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std() if values.std() > 1e-4 else np.zeros_like(values)


def plain_kmeans(points: np.ndarray, options: ResidualsConfig, seed: int) -> np.ndarray:
    """Greedy k-means++ and Lloyd, cluster by cluster: the candidate by candidate and mean by mean form of the engine's.

    Args:
        points: [m c] float32.
        options: `clusters` and `kmeans_iterations`; one start.
        seed: the draws are those of the engine.
    """
    clusters, count = options.clusters, len(points)
    draws = np.random.default_rng((seed, 0)).random((clusters, 2 + int(math.log(clusters))))
    centres = [points[min(int(draws[0, 0] * count), count - 1)]]
    nearest = np.square(points - centres[0]).sum(1)
    for row in draws[1:]:
        cumulative = nearest.cumsum(dtype=np.float64)
        best = None
        for draw in row:
            candidate = points[min(np.searchsorted(cumulative, draw * cumulative[-1], side="right"), count - 1)]
            reached = np.minimum(nearest, np.square(points - candidate).sum(1))
            if best is None or reached.sum(dtype=np.float64) < best[0]:
                best = reached.sum(dtype=np.float64), candidate, reached
        centres.append(best[1])
        nearest = best[2]
    labels = _nearest(points, centres)
    for _ in range(options.kmeans_iterations):
        for k in range(clusters):
            members = points[labels == k]
            if len(members):
                centres[k] = np.round(members.sum(0) / np.float32(len(members)) * 2048) / 2048
        before, labels = labels, _nearest(points, centres)
        if np.array_equal(before, labels):
            break
    return labels.astype(np.uint8)


def _nearest(points: np.ndarray, centres: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(centres)
    return (np.square(stacked).sum(1) - 2 * points @ stacked.T).argmin(1)
