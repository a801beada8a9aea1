"""A small run with a real pseudo-mask cache, made by its stages, and caches made by hand."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from tests.stages.test_mask_stages import FEATURES, RESIDUALS, VOTING, clip, save_renderer
from wildrayzer.cli.main import app
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.data.frame_store.store import FrameStore, adopt_store
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.statistics import refinement_disagreement
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.run.layout import RunLayout
from wildrayzer.stages.patch_masks import list_residuals, vote_masks
from wildrayzer.stages.refine import refine_masks
from wildrayzer.stages.residuals import compute_residuals

SPLIT = "dynamic_train"
LENGTHS = (6, 7, 8, 12, 2)


def make_store(path, lengths=LENGTHS, *, masks=True, role="dynamic"):
    """A split with the manifest `path`: clips with a square that moves, and its true mask; the last one is too short
    for a window."""
    folder, form = Path(path).with_suffix(".zarr"), StoreForm(24, StoreConfig(), cameras=False, masks=masks)
    with FrameStoreWriter(folder, form, {"role": role}) as writer:
        for number, length in enumerate(lengths):
            frames = clip(number, length, moving=True)
            truth = (frames == (230, 40, 40)).all(-1).astype(np.uint8)
            writer.add_scene(f"clip_{number}", frames, masks=truth if masks else None)
    adopt_store(folder, path)
    return FrameStore(path)


def make_cache(root, predictor="renderer"):
    """Frames, windows, renderer and cache of a run named `small`; its folder."""
    layout = RunLayout("small", str(root))
    store = make_store(layout.store(SPLIT))
    WindowList.build(store, RESIDUALS).save(layout.windows(SPLIT))
    save_renderer(layout.checkpoint("pretrain"))
    where = (1, SPLIT, predictor)
    receipt = root / "receipt.json"
    data: dict[str, Any] = {"store_path": layout.store(SPLIT), "windows_path": layout.windows(SPLIT)}
    compute_residuals(
        checkpoint_dir=layout.checkpoint("pretrain"), config=RESIDUALS, features=FEATURES, predictor=predictor,
        out_path=layout.residuals(*where), receipt_path=receipt, **data,
    )  # fmt: skip
    list_residuals([receipt], out_path=layout.residuals(*where), psnr_filter=9.0, **data)
    vote_masks(residuals_path=layout.residuals(*where), config=VOTING, out_path=layout.patch_masks(*where))
    refine_masks(
        patch_masks_path=layout.patch_masks(*where), store_path=layout.store(SPLIT),
        config=RefineConfig(seed_erosion=3, grabcut=False), out_path=layout.pixel_masks(*where),
    )  # fmt: skip
    return Path(layout.masks(*where))


def write_residuals(path, d_dino, d_ssim, psnr, window, *, digests=None, about=None, lengths=None, scenes=None):
    """A group `residuals` of these arrays, in place of an earlier one."""
    shutil.rmtree(path / "residuals.zarr", ignore_errors=True)
    offsets = np.cumsum([0, *(lengths or [len(psnr)])])
    with CacheWriter(
        path / "residuals.zarr", "residuals", frames=len(psnr),
        sizes={"patch_row": d_dino.shape[1], "patch_column": d_dino.shape[2]}, digests=digests or {"renderer": "r"},
        scenes=scenes or [f"clip_{number}" for number in range(len(offsets) - 1)], offsets=offsets, about=about,
    ) as writer:  # fmt: skip
        writer.append(
            d_dino=d_dino.astype(np.float16), d_ssim=d_ssim.astype(np.float16), psnr=psnr.astype(np.float32),
            clusters=np.zeros(d_dino.shape, np.uint8), window=window.astype(np.int32),
        )  # fmt: skip
    return ResidualMaps(path / "residuals.zarr")


def write_masks(path, patch, pixel, *, parent):
    """Groups `patch_masks` and `pixel_masks` that follow from residuals of digest `parent`."""
    names = {"patch_masks": ("patch_row", "patch_column"), "pixel_masks": ("row", "column")}
    for layout, masks in (("patch_masks", patch), ("pixel_masks", pixel)):
        if masks is None:
            continue
        digests = {"residuals": parent} if layout == "patch_masks" else {
            "patch_masks": PatchMasks(path / "patch_masks.zarr").digest
        }  # fmt: skip
        with CacheWriter(
            path / f"{layout}.zarr", layout, frames=len(masks), digests=digests, scenes=["clip_0"],
            sizes=dict(zip(names[layout], masks.shape[1:], strict=True)), offsets=np.array([0, len(masks)]),
        ) as writer:  # fmt: skip
            masks = masks.astype(np.uint8)
            apart = refinement_disagreement(patch.astype(np.uint8), masks)
            writer.append(mask=masks, **({"disagreement": apart} if layout == "pixel_masks" else {}))


def command(*words):
    """`wildrayzer masks inspect` with these words."""
    return CliRunner().invoke(app, ["masks", "inspect", *map(str, words)])


def flat(text):
    """Text without its line breaks."""
    return re.sub(r"\s+", " ", text)
