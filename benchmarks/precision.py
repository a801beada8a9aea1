"""What bfloat16 changes in masks and scores, on a finished run of the demo.

    python benchmarks/precision.py results/demo --config config/demo.yaml

Residuals, patch masks, pixel masks and their scores are made in temporary folders: with the renderer in float32 and in
bfloat16, and with a DINOv3 ViT of random weights in both. The split is one with true masks. Then renderings of the
static test split are scored in both. The run itself is only read.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import torch
from mask_material import VIT_SIZES, save_random_backbone

from wildrayzer.config import RunConfig, load_config
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.metrics.masks import pixel_masks, score_split
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.row_specs import row_spec
from wildrayzer.stages.patch_masks import calibrate_threshold, list_residuals, vote_masks
from wildrayzer.stages.refine import refine_masks
from wildrayzer.stages.residuals import compute_residuals
from wildrayzer.stages.score_views import ViewScoringJob, score_views


class Masks:
    """Masks of a split with one set of options, made below `folder`."""

    def __init__(
        self,
        run: RunConfig,
        layout: RunLayout,
        folder: Path,
        *,
        split: str,
        residuals: ResidualsConfig,
        features: FeaturesConfig,
    ) -> None:
        made = {
            name: _residuals(layout, folder / name, name, residuals, features)
            for name in (split, *run.data.of(purpose="calibration"))
        }
        calibrated = run.pseudo_masks.absolute_test != "off"
        thresholds = folder / "thresholds.json" if calibrated else None
        if thresholds is not None:
            calibration = [made[name] for name in run.data.of(purpose="calibration")]
            calibrate_threshold(calibration, config=run.pseudo_masks, out_path=thresholds)
        patches, pixels = folder / "patch_masks.json", folder / "pixel_masks.json"
        vote_masks(residuals_path=made[split], config=run.pseudo_masks, out_path=patches, thresholds_path=thresholds)
        store = FrameStore(layout.store(split))
        refine_masks(patch_masks_path=patches, store_path=store.path, config=run.refine, out_path=pixels)
        maps, fine = ResidualMaps(made[split]), PixelMasks(pixels)
        self.psnr, self.clusters = maps.psnr, maps.all("clusters")
        self.patches, self.pixels = PatchMasks(patches).all("mask"), fine.all("mask")
        self.scores = {name: float(np.nanmean(one)) for name, one in score_split(pixel_masks(fine), store).items()}

    def line(self, other: "Masks") -> str:
        """How these masks differ from `other`, and the scores of both."""
        both, either = ((self.pixels & other.pixels) == 1).sum(), ((self.pixels | other.pixels) == 1).sum()
        scores = ", ".join(
            f"{name} {100 * other.scores[name]:.2f} → {100 * one:.2f}" for name, one in self.scores.items()
        )
        return (
            f"patches that differ {(self.patches != other.patches).mean():.3%}, frames with equal patch masks "
            f"{(self.patches == other.patches).all((1, 2)).mean():.1%}; pixels that differ "
            f"{(self.pixels != other.pixels).mean():.3%}, IoU of the two {both / max(1, either):.4f}; PSNR differs by "
            f"at most {np.nanmax(abs(self.psnr - other.psnr)):.3f} dB; scores in %: {scores}"
        )


def _residuals(
    layout: RunLayout, folder: Path, split: str, residuals: ResidualsConfig, features: FeaturesConfig
) -> Path:
    folder.mkdir(parents=True)
    data = {"store_path": layout.store(split), "windows_path": layout.windows(split)}
    out, receipt = folder / "residuals.json", folder / "receipt.json"
    compute_residuals(
        checkpoint_dir=layout.checkpoint("pretrain"),
        config=residuals,
        features=features,
        out_path=out,
        receipt_path=receipt,
        **data,
    )
    list_residuals([receipt], out_path=out, **data)
    return out


def compare_masks(run: RunConfig, layout: RunLayout, split: str, sizes: list[str], clusters: int) -> None:
    """Print what bfloat16 changes: of the renderer, then of backbones with random weights."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def made(name: str, residuals: ResidualsConfig, features: FeaturesConfig) -> Masks:
            return Masks(run, layout, folder / name, split=split, residuals=residuals, features=features)

        usual = run.residuals.model_copy(update={"precision": "float32"})
        quick = run.residuals.model_copy(update={"precision": "bfloat16"})
        exact = made("exact", usual, run.features)
        print(f"renderer in bfloat16, backbone {run.features.backbone}: "
              f"{made('quick', quick, run.features).line(exact)}", flush=True)  # fmt: skip
        for size in sizes:
            weights = folder / f"weights-{size}"
            save_random_backbone(size, weights)
            float32, bfloat16 = (
                FeaturesConfig(weights=str(weights), precision=precision) for precision in ("float32", "bfloat16")
            )
            usual, quick = (one.model_copy(update={"clusters": clusters}) for one in (usual, quick))
            exact = made(f"exact-{size}", usual, float32)
            print(f"{size} ViT with random weights in bfloat16: "
                  f"{made(f'features-{size}', usual, bfloat16).line(exact)}", flush=True)  # fmt: skip
            print(
                f"{size} ViT and renderer in bfloat16: {made(f'both-{size}', quick, bfloat16).line(exact)}", flush=True
            )


def compare_scores(run: RunConfig, layout: RunLayout, row: str, split: str) -> None:
    """Print the mean scores of a row's renderings in both precisions."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for precision in ("float32", "bfloat16"):
            folder = Path(place) / precision
            folder.mkdir()
            config = run.benchmark.model_copy(update={"precision": precision})
            job = ViewScoringJob(
                scores=folder / "scores.csv",
                manifest=folder / "scores.json",
                panels=folder / "panels.npz",
                store_path=layout.store(split),
                split=split,
                inputs=run.benchmark.inputs[0],
                config=config,
                row=row,
                spec=row_spec(row, run.benchmark),
                features=run.features,
                checkpoint_dir=layout.checkpoint("pretrain"),
            )
            score_views(job)
            with job.scores.open(encoding="utf-8") as stream:
                found[precision] = list(csv.DictReader(stream))
    for metric in ("psnr", "ssim"):
        exact, quick = (
            np.array([float(one["value"]) for one in rows if one["metric"] == metric and one["region"] == "full"])
            for rows in found.values()
        )
        print(f"{row} on {split}, {metric} of {len(exact)} frames: {exact.mean():.4f} → {quick.mean():.4f}, a frame "
              f"differs by at most {abs(exact - quick).max():.4f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run, such as results/demo")
    parser.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    parser.add_argument("--split", default="dynamic_test", help="with true masks")
    parser.add_argument("--views", default="static_test", help="split whose renderings are scored")
    parser.add_argument("--backbone", action="append", choices=VIT_SIZES, help="repeat for several; tiny by default")
    parser.add_argument("--clusters", type=int, default=16, help="of the windows that a random ViT describes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = load_config(arguments.config)
    layout = RunLayout(arguments.run.name, str(arguments.run.parent))
    compare_masks(run, layout, arguments.split, arguments.backbone or ["tiny"], arguments.clusters)
    compare_scores(run, layout, "static", arguments.views)


if __name__ == "__main__":
    main()
