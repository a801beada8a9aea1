"""A small run folder made with the real writers, for the tests of the report."""

import base64
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import torch
import yaml

from wildrayzer.checkpoint import save_checkpoint
from wildrayzer.config import RunConfig, parse_config
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm, adopt_store
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.evaluation.tables.tables import TableContext
from wildrayzer.io.files import write_json
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.run.expected import ablation_scores, training_runs
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.row_specs import ROW_SPECS
from wildrayzer.stages.score_masks import MaskScoringJob, score_masks
from wildrayzer.stages.score_renderer import score_renderer_health
from wildrayzer.stages.score_views import ViewScoringJob, score_views
from wildrayzer.stages.write_tables import load_tables, write_tables
from wildrayzer.training.logging import MetricsLog

SIZE, PATCH, FRAMES, SCENES = 16, 4, 8, 3
METHODS = ("nearest", "blend", "static", "joint", "unmasked")
MASK_SPLITS = ("dynamic_train", "dynamic_test", "pairs_test", "frozen_test", "same_family_test")


def small_config() -> RunConfig:
    """The demo with a network and clips of next to nothing."""
    raw = copy.deepcopy(yaml.safe_load(Path("config/demo.yaml").read_text(encoding="utf-8")))
    raw["name"] = "small"
    raw["model"] |= {"image_size": SIZE, "patch_size": PATCH, "width": 32, "head_width": 8, "scene_tokens": 4}
    raw["model"] |= {"camera_blocks": 1, "decoder_blocks": 1, "ray_samples": 2}
    raw["model"]["motion_head"] = {"blocks": 1, "use_features": False}
    raw["benchmark"] |= {"methods": list(METHODS), "targets": 3, "min_distance": 4, "bootstrap": 100, "panels": 2}
    raw["benchmark"]["mask_sources"] = ["renderer"]
    raw["perceptual"] = {"kind": "pyramid", "weight": 0.0}
    raw["pseudo_masks"] = {"top_share": 0.35, "absolute_test": "patch", "false_positive_rate": 0.05}
    raw["pretrain"]["crop_pretext"] = {"steps": 5}
    raw["distill"]["psnr_filter"] = 17.0
    raw["residuals"] |= {"targets": 3, "clusters": 4}
    return parse_config(raw)


def true_masks(scene: int) -> np.ndarray:
    """A 4 × 4 patch that moves to the right."""
    masks = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    for frame in range(FRAMES):
        left = frame + 2 * scene
        masks[frame, 4:8, left : left + 4] = 1
    return masks


def make_store(config: RunConfig, layout: RunLayout, split: str, *, scenes: Sequence[str] | None = None) -> None:
    """Three clips of noise over a gradient, with cameras, and masks and clean twins where the split has them."""
    names = scenes or [f"{split}_{scene:05d}" for scene in range(SCENES)]
    rng = np.random.default_rng(len(split))
    role = config.data.splits[split].role
    masked = role != "static" and config.data.splits[split].purpose != "train"
    path = Path(layout.store(split))
    form = StoreForm(SIZE, config.data.store, masks=masked, clean=role == "pairs")
    with FrameStoreWriter(path.with_suffix(".zarr"), form) as writer:
        for scene in range(SCENES):
            base = np.linspace(40, 200, SIZE)[None, None, :, None].repeat(FRAMES, 0).repeat(SIZE, 1).repeat(3, 3)
            clean = (base + rng.integers(0, 40, base.shape)).astype(np.uint8)
            frames, masks = clean.copy(), true_masks(scene)
            frames[masks == 1] = (200, 30, 30)
            c2w = np.tile(np.eye(4), (FRAMES, 1, 1))
            c2w[:, 0, 3] = rng.normal(size=FRAMES)
            writer.add_scene(
                names[scene],
                frames if role != "static" else clean,
                c2w=c2w,
                intrinsics=np.tile([1.0, 1.0, 0.5, 0.5], (FRAMES, 1)),
                masks=masks if masked else None,
                clean=clean if role == "pairs" else None,
            )
    adopt_store(path.with_suffix(".zarr"), path)
    counts = {"expected": None, "found": SCENES + 1, "taken": SCENES + 1, "used": SCENES, "skipped": 1}
    report = {
        "image_size": SIZE,
        "scenes": counts,
        "frames": {"used": SCENES * FRAMES},
        "reasons": {"too few frames": 1},
        "notes": [],
        "digest": FrameStore(layout.store(split)).digest,
    }
    write_json(layout.data_report(split), report)


def one_part(path: str) -> Path:
    """Where a version without manifests kept what is one part: such caches stay readable."""
    return Path(path).with_suffix(".zarr")


def make_masks(config: RunConfig, layout: RunLayout, split: str) -> None:
    """A window list and a pseudo-mask cache whose maps fire at the true masks."""
    store, rng = FrameStore(layout.store(split)), np.random.default_rng(1)
    windows = WindowList.build(store, config.residuals)
    windows.save(layout.windows(split))
    window = np.full(store.num_frames, -1, np.int32)
    for number, one in enumerate(windows.windows):
        window[store.offsets[one.scene] + np.array(one.targets)] = number
    truth = np.concatenate([true_masks(scene) for scene in range(SCENES)])
    grid = SIZE // PATCH
    share = truth.reshape(-1, grid, PATCH, grid, PATCH).mean((2, 4))
    common: dict[str, Any] = {"frames": store.num_frames, "scenes": store.scenes, "offsets": store.offsets}
    sizes = {"patch_row": grid, "patch_column": grid}
    origin = {"store": store.digest, "windows": windows.digest}
    with CacheWriter(
        one_part(layout.residuals(1, split)), "residuals", sizes=sizes, digests=origin, **common
    ) as writer:
        writer.append(
            d_dino=(share + 0.1 * rng.random(share.shape)).astype(np.float16),
            d_ssim=(share + 0.2 * rng.random(share.shape)).astype(np.float16),
            clusters=rng.integers(0, 4, share.shape).astype(np.uint8),
            psnr=np.linspace(14, 24, store.num_frames).astype(np.float32),
            window=window,
        )
    marked = (share > 0.3).astype(np.uint8)
    origin = {"store": store.digest, "residuals": ResidualMaps(layout.residuals(1, split)).digest}
    with CacheWriter(
        one_part(layout.patch_masks(1, split)), "patch_masks", sizes=sizes, digests=origin, **common
    ) as writer:
        writer.append(mask=marked)
    origin = {"store": store.digest, "patch_masks": PatchMasks(layout.patch_masks(1, split)).digest}
    sizes = {"row": SIZE, "column": SIZE}
    with CacheWriter(
        one_part(layout.pixel_masks(1, split)), "pixel_masks", sizes=sizes, digests=origin, **common
    ) as writer:
        writer.append(mask=marked.repeat(PATCH, 1).repeat(PATCH, 2))


def make_training(config: RunConfig, layout: RunLayout) -> None:
    """Checkpoints of an untrained network, metrics files and a validation sheet."""
    torch.manual_seed(0)
    model = WildRayZer(config.model)
    for stage, number in training_runs(config):
        extra = {"features": "descriptor", "perceptual": "pyramid", "summary": {"samples_per_second": 9.5}}
        save_checkpoint(
            layout.checkpoint(stage, number), model, stage=stage, step=200, inputs=2, targets=2, config_digest="c0ffee",
            parent=None if stage == "pretrain" else "abad1dea", extra=extra,
        )  # fmt: skip
        log = MetricsLog(Path(layout.metrics(stage, number)))
        for step in (50, 100, 150, 200):
            values = {"loss": 3.0 / step, "gradient_norm": 1.0, "skipped_updates": 0.0}
            if stage in ("distill", "joint"):
                values |= {"bce": 2.0 / step, "label_iou": step / 400, "mean_probability": 0.1, "mean_label": 0.12}
            if stage != "distill":
                values |= {"mse": 1.0 / step, "perceptual": 0.5 / step}
            log.write("train", step, values)
            if stage != "distill" and step % 100 == 0:
                figures = {"psnr": 15 + step / 50, "above_nearest": 1.25, "above_mean": 4.5, "pose_use": 0.75}
                log.write("validation", step, figures)
    pictures = Path(layout.metrics("pretrain")).parent / "pictures"
    pictures.mkdir()
    sheet = np.random.default_rng(2).integers(0, 255, (3 * 2 * SIZE, 4 * SIZE, 3), dtype=np.uint8)
    cv2.imwrite(str(pictures / "validation-000000200.png"), sheet)


def make_scores(config: RunConfig, layout: RunLayout) -> None:
    """Scores, panels and tables of the test splits."""
    section = config.benchmark
    stages = {"static": ("pretrain", None), "joint": ("joint", 1), "unmasked": ("unmasked", 1)}
    files = []
    for split in config.data.of(purpose="test"):
        for method in METHODS:
            scores = Path(layout.view_scores(method, split, 2))
            job = ViewScoringJob(
                row=method, spec=ROW_SPECS[method], split=split, inputs=2, store_path=layout.store(split),
                checkpoint_dir=layout.checkpoint(*stages[method]) if method in stages else None, config=section,
                features=config.features, scores=scores, manifest=scores.with_suffix(".json"),
                panels=scores.with_suffix(".npz"),
            )  # fmt: skip
            score_views(job)
            files.append(scores)
    for split in MASK_SPLITS:
        if split != config.data.dynamic_train:
            scores = Path(layout.mask_scores("renderer", split))
            masks = MaskScoringJob(
                split=split, predictor="renderer", store_path=layout.store(split),
                residuals_path=layout.residuals(1, split), patch_masks_path=layout.patch_masks(1, split),
                pixel_masks_path=layout.pixel_masks(1, split), config=config.pseudo_masks, inputs=2, scores=scores,
                manifest=scores.with_suffix(".json"),
            )  # fmt: skip
            score_masks(masks)
            files.append(scores)
    score_renderer_health(
        split="static_test", inputs=2, store_path=layout.store("static_test"),
        checkpoint_dir=layout.checkpoint("pretrain"), config=section, out=layout.renderer_scores,
    )  # fmt: skip
    context = TableContext.from_config(config)
    manifests = [file.with_suffix(".json") for file in files]
    write_tables(load_tables(files, manifests, [layout.renderer_scores], context), layout.tables)


def make_ablation(config: RunConfig, layout: RunLayout) -> None:
    """Training figures of one ablation, with half the IoU of the run."""
    own = ablation_scores(config, "cross_view", root=str(layout.base.parent)).layout
    log = MetricsLog(Path(own.metrics("distill", 1)))
    for step in (50, 100, 150, 200):
        log.write("train", step, {"loss": 1.0, "label_iou": step / 800})


def make_costs(layout: RunLayout) -> None:
    """Benchmark files as Snakemake writes them; a job that was too short has no memory figure."""
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    lines = {
        layout.benchmark("prepare_split", "static_train"): "90.5\t0:01:30\t512.00\t1\t1\t1\t0\t0\t99\t89\n",
        layout.benchmark("prepare_split", "static_test"): "0.4\t0:00:00\t-\t-\t-\t-\t-\t-\tNA\tNA\n",
        layout.benchmark("pretrain"): "430.0\t0:07:10\t2048.00\t1\t1\t1\t0\t0\t180\t800\n",
    }
    for path, line in lines.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(head + line, encoding="utf-8")


def make_run(root: Path) -> tuple[RunConfig, RunLayout]:
    """A finished run in the folder `root`."""
    config = small_config()
    layout = RunLayout(config.name, str(root))
    for split in config.data.splits:
        make_store(config, layout, split)
    for split in MASK_SPLITS:
        make_masks(config, layout, split)
    make_training(config, layout)
    make_scores(config, layout)
    make_ablation(config, layout)
    make_costs(layout)
    return config, layout


def svg_texts(uri: str) -> list[str]:
    """Every text in a plot that is an SVG data URI, without markup: ten to the power of two is 102."""
    svg = ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))
    elements = svg.iter("{http://www.w3.org/2000/svg}text")
    return ["".join(part.strip() for part in element.itertext()) for element in elements]
