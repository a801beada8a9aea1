"""Pseudo-masks: the engine against the released procedure written down plainly, in one run on the same frames.

    python benchmarks/mask_engine.py [--backbone small] [--windows 4] [--threads 2] [--rounds 2] [--scaling]
    python benchmarks/mask_engine.py --device cuda --backbone base --backbone large --windows 32

From target frames and renderings to pixel masks. The reference is `released_masks.py`; both use one backbone of random
weights, the same frames and the same options (the defaults of the configuration, or the release's with `--variant
release`). Rounds alternate, and the best round of each counts. `everything but the backbone` and the like have the time
of that part taken out. On a busy machine measure `--threads 1 --clock cpu`: processor time instead of wall-clock time.
"""

import argparse
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from mask_material import VIT_SIZES, random_backbone, windows
from released_masks import ReleasedMasks
from torch import Tensor

from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.pseudo_masks import residual_maps
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.fusion import fuse
from wildrayzer.pseudo_masks.refinement import refine_frames
from wildrayzer.pseudo_masks.voting import vote

SIZE, PATCH, TARGETS = 256, 16, 6
RELEASE = {"residuals": {"ssim_window": "uniform"}, "pseudo_masks": {"weighting": "fixed"}}
STEPS = ("features", "ssim", "clusters", "voting", "grabcut", "rest")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
AIMS = {"end to end": 3, "everything but the backbone": 5, "everything but backbone and GrabCut": 20}


class Run:
    """One backbone, one set of options, one device; times steps of engine and reference."""

    def __init__(self, backbone: FeatureBackbone, *, device: str, arguments: argparse.Namespace, workers: int) -> None:
        options = RELEASE if arguments.variant == "release" else {"residuals": {}, "pseudo_masks": {}}
        self.backbone, self.device, self.workers, self.batch = backbone, device, workers, arguments.batch
        self.clock = CLOCKS[arguments.clock]
        self.residuals = ResidualsConfig(**options["residuals"])
        self.pseudo_masks = PseudoMasksConfig(**options["pseudo_masks"])
        self.refine = RefineConfig()
        self.near = RefineConfig(grabcut_margin=arguments.margin)
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        self._wait()
        start = self.clock()
        yield
        self._wait()
        self.seconds[step] += self.clock() - start

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _watched(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self.timed(step):
                return function(*arguments, **options)

        return call

    def engine(self, targets: Tensor, rendered: Tensor) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """Patch masks [w t g g], pixel masks [w t h w] and seconds by step."""
        self.seconds = defaultdict(float)
        watched = _Watched(self.backbone, self._watched("features", self.backbone))
        steps = {name: self._watched(step, getattr(residual_maps, name)) for name, step in _ENGINE_STEPS.items()}
        start = self.clock()
        with mock.patch.multiple(residual_maps, **steps):
            parts = [
                residual_maps.window_maps(
                    targets[first : first + self.batch],
                    rendered[first : first + self.batch],
                    backbone=watched,
                    patch_size=PATCH,
                    config=self.residuals,
                    seeds=_seeds(targets)[first : first + self.batch],
                )
                for first in range(0, len(targets), self.batch)
            ]
        with self.timed("voting"):
            d_dino, d_ssim, psnr, clusters = (
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("d_dino", "d_ssim", "psnr", "clusters")
            )
            patches = vote(fuse(d_dino, d_ssim, psnr, self.pseudo_masks), clusters, self.pseudo_masks).astype(np.uint8)
        with self.timed("grabcut"):
            images = (targets.permute(0, 1, 3, 4, 2) * 255).round().to(torch.uint8).cpu().numpy()
            # A frame a job, so that all workers have something to do to the end.
            jobs = (
                (patches[w, t][None], images[w, t][None], [seed + t])
                for w, seed in enumerate(_seeds(targets))
                for t in range(targets.shape[1])
            )
            pixels = np.concatenate(list(refine_frames(jobs, self.near, workers=self.workers)))
        return patches, pixels.reshape(images.shape[:-1]), self._steps(self.clock() - start)

    def reference(self, targets: Tensor, rendered: Tensor) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """The same by the released procedure."""
        procedure = ReleasedMasks(
            self.backbone,
            clock=self.clock,
            patch_size=PATCH,
            residuals=self.residuals,
            pseudo_masks=self.pseudo_masks,
            refine=self.refine,
        )
        start = self.clock()
        made = [procedure(a, b, seed=s) for a, b, s in zip(targets, rendered, _seeds(targets), strict=True)]
        total = self.clock() - start
        self.seconds = procedure.seconds
        return np.stack([patch for patch, _ in made]), np.stack([pixel for _, pixel in made]), self._steps(total)

    def _steps(self, total: float) -> dict[str, float]:
        return {**self.seconds, "rest": total - sum(self.seconds.values()), "total": total}


_ENGINE_STEPS = {"ssim_map": "ssim", "kmeans": "clusters", "quantised_directions": "clusters"}


class _Watched:
    """A backbone whose calls are timed."""

    def __init__(self, backbone: FeatureBackbone, call: Callable[[Tensor], Tensor]) -> None:
        self.name, self.centre, self.anchor, self._call = backbone.name, backbone.centre, backbone.anchor, call

    def __call__(self, images: Tensor) -> Tensor:
        return self._call(images)


class Remembered:
    """A backbone that has seen its images before: what is left is everything but the backbone."""

    def __init__(self, backbone: FeatureBackbone, images: Tensor) -> None:
        self.name, self.centre, self.anchor = backbone.name, backbone.centre, backbone.anchor
        self._known = {_key(image): feature for image, feature in zip(images, backbone(images), strict=True)}

    def __call__(self, images: Tensor) -> Tensor:
        return torch.stack([self._known[_key(image)] for image in images])


def _key(image: Tensor) -> bytes:
    # Of bytes: a float sum depends on where in memory the image lies.
    return hashlib.blake2b(image.cpu().numpy().tobytes()).digest()


def _seeds(targets: Tensor) -> list[int]:
    return [number * targets.shape[1] for number in range(len(targets))]


def compare(run: Run, targets: Tensor, rendered: Tensor, rounds: int) -> None:
    """Print agreement, seconds by step and ratios."""
    run.engine(targets[:1], rendered[:1])
    run.reference(targets[:1], rendered[:1])
    engine, reference = [], []
    for _ in range(rounds):
        reference.append(run.reference(targets, rendered))
        engine.append(run.engine(targets, rendered))
    own, other = (min(found, key=lambda each: each[2]["total"]) for found in (engine, reference))
    frames = targets.shape[0] * targets.shape[1]
    both, either = (own[1] & other[1]).sum(), (own[1] | other[1]).sum()
    print(f"patches marked alike {(own[0] == other[0]).mean():.4%}; frames with equal patch masks "
          f"{(own[0] == other[0]).all((2, 3)).mean():.1%}; IoU of all pixel masks {both / max(1, either):.4f}; "
          f"patches cover {own[0].mean():.1%}, {own[0].any((2, 3)).mean():.0%} of frames are not empty")  # fmt: skip
    print(f"{'ms a frame':<38}{'released':>10}{'engine':>10}{'ratio':>8}")
    rows = [(step, other[2].get(step, 0.0), own[2].get(step, 0.0)) for step in STEPS]
    without = {"end to end": (), "everything but the backbone": ("features",),
               "everything but backbone and GrabCut": ("features", "grabcut")}  # fmt: skip
    for name, left_out in without.items():
        values = [each[2]["total"] - sum(each[2].get(step, 0.0) for step in left_out) for each in (other, own)]
        rows.append((name, *values))
    for name, slow, quick in rows:
        aim = f"   aim {AIMS[name]}" if name in AIMS and run.device == "cpu" else ""
        print(
            f"{name:<38}{1000 * slow / frames:>10.2f}{1000 * quick / frames:>10.2f}{slow / max(quick, 1e-9):>8.1f}{aim}"
        )
    share = own[2]["features"] / own[2]["total"]
    print(f"engine: {frames / own[2]['total']:.2f} frames/s end to end, {share:.0%} of the time in the backbone; "
          f"released: {frames / other[2]['total']:.2f} frames/s")  # fmt: skip


def scaling(backbone: FeatureBackbone, targets: Tensor, rendered: Tensor, arguments: argparse.Namespace) -> None:
    """Print how the engine's time grows with windows, clusters and cores, the backbone left out."""
    known = Remembered(backbone, torch.cat([targets.flatten(0, 1), rendered.flatten(0, 1)]))
    print("\nengine without the backbone, ms a frame (ssim, clusters, voting, grabcut, total)")

    def row(name: str, count: int, threads: int, **options: int) -> None:
        torch.set_num_threads(threads)
        run = Run(known, device="cpu", arguments=arguments, workers=threads)
        run.residuals = run.residuals.model_copy(update=options)
        picked = targets[:count], rendered[:count]
        best = min((run.engine(*picked)[2] for _ in range(arguments.rounds)), key=lambda steps: steps["total"])
        frames = count * targets.shape[1]
        values = [best[step] for step in ("ssim", "clusters", "voting", "grabcut")] + [best["total"] - best["features"]]
        print(f"{name:<24}" + "".join(f"{1000 * value / frames:>10.2f}" for value in values), flush=True)

    counts = [count for count in (1, 2, 4, 8, 16, 32) if count <= len(targets)]
    for count in counts:
        row(f"{count} windows", count, arguments.threads)
    for clusters in (16, 32, 64, 128):
        row(f"{clusters} clusters", counts[-1], arguments.threads, clusters=clusters)
    for threads in range(1, arguments.threads + 1):
        row(f"{threads} cores", counts[-1], threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", action="append", choices=VIT_SIZES, help="repeat for several; small by default")
    parser.add_argument("--windows", type=int, default=4, help="of 6 target frames each")
    parser.add_argument("--variant", choices=("paper", "release"), default="paper")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=8, help="windows in one call of the engine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=SIZE, help="side of a frame in pixels")
    parser.add_argument("--margin", type=int, help="refine.grabcut_margin of the engine; the reference sees all")
    parser.add_argument("--scaling", action="store_true", help="also how time grows with windows, clusters and cores")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("highest")
    cv2.setNumThreads(arguments.threads)
    precision = arguments.precision
    if precision == "auto":
        # torch computes in bfloat16 on any CPU, but only some have instructions for it.
        precision = "bfloat16" if arguments.device == "cuda" or _cpu_has_bfloat16() else "float32"
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{arguments.threads} CPU threads"
    targets, rendered = (
        images.to(arguments.device) for images in windows(arguments.windows, targets=TARGETS, size=arguments.size)
    )
    for size in arguments.backbone or ["small"]:
        backbone = random_backbone(size, precision=precision, device=arguments.device, batch=32, patch_size=PATCH)
        run = Run(backbone, device=arguments.device, arguments=arguments, workers=arguments.threads)
        print(f"\n{size} backbone, {precision}, {device}, {len(targets)} windows of {TARGETS} frames, "
              f"{arguments.size} px, {arguments.variant} options, GrabCut on "
              f"{'whole images' if arguments.margin is None else f'the band and {arguments.margin} px around it'}, "
              f"{arguments.clock} time, "
              f"load average {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        compare(run, targets, rendered, arguments.rounds)
        if arguments.scaling:
            scaling(backbone, targets, rendered, arguments)


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


if __name__ == "__main__":
    main()
