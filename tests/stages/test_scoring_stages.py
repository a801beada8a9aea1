"""Scoring jobs on a store and a network small enough to check by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from wildrayzer.checkpoint import save_checkpoint
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.index_file import EvaluationWindow
from wildrayzer.evaluation.methods.input_masks import head_masks
from wildrayzer.evaluation.methods.render_method import check_method, render_method
from wildrayzer.evaluation.metrics.masks import best_threshold, score_frames
from wildrayzer.evaluation.metrics.view_synthesis import score_batch, target_regions
from wildrayzer.evaluation.scoring import ScoringJob
from wildrayzer.evaluation.tables.scores import COLUMNS, read_manifests, read_scores
from wildrayzer.evaluation.window_batches import read_windows
from wildrayzer.io.files import read_json, write_json
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.run.row_specs import ROW_SPECS
from wildrayzer.stages.score_input_masks import score_input_masks
from wildrayzer.stages.score_masks import MaskScoringJob, score_masks
from wildrayzer.stages.score_renderer import score_renderer_health
from wildrayzer.stages.score_views import ViewScoringJob, score_views

SIZE, FRAMES, SCENES = 16, 8, 3
CONFIG = BenchmarkConfig(inputs=(2,), targets=3, min_distance=4, panels=2, bootstrap=100)
FEATURES = FeaturesConfig(backbone="descriptor")


def masks_of(scene):
    """A 4 × 4 patch that moves one patch to the right every other frame; unknown in the last frame."""
    masks = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    for frame in range(FRAMES):
        left = 4 * (frame // 2)
        masks[frame, 4 * scene : 4 * scene + 4, left : left + 4] = 1
    masks[-1, 0, 0] = 255
    return masks


def write_store(path, *, clean=True, masks=True, moving=True):
    rng = np.random.default_rng(0)
    with FrameStoreWriter(path, StoreForm(SIZE, StoreConfig(frames_per_shard=16), masks=masks, clean=clean)) as writer:
        for scene in range(SCENES):
            frames = rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
            c2w = np.tile(np.eye(4), (FRAMES, 1, 1))
            c2w[:, 0, 3] = rng.normal(size=FRAMES)
            twin = frames.copy()
            twin[masks_of(scene) == 1] = 0
            writer.add_scene(
                f"scene{scene}",
                frames,
                c2w=c2w,
                intrinsics=np.tile([1.0, 1.0, 0.5, 0.5], (FRAMES, 1)),
                masks=masks_of(scene) * np.uint8(moving) if masks else None,
                clean=twin if clean else None,
            )
    return path


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("stores") / "pairs.zarr")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    head = MotionHeadConfig(blocks=1, use_features=False)
    sizes = {"camera_blocks": 1, "scene_blocks": 1, "decoder_blocks": 1, "scene_tokens": 4}
    model = WildRayZer(ModelConfig(image_size=SIZE, patch_size=4, width=32, head_width=8, motion_head=head, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, model, stage="joint", step=1, inputs=2, targets=3, config_digest="x")
    return folder


def batch_of(path, inputs=(0, 6), targets=(1, 3, 7)):
    return read_windows(FrameStore(path), [EvaluationWindow(scene, inputs, targets) for scene in (0, 2)])


def test_nearest_copies_by_frame_number_and_blend_averages(store_path):
    batch = batch_of(store_path)
    nearest, _ = render_method("nearest", batch)
    # frame 3 lies between 0 and 6: the earlier is taken
    assert torch.equal(nearest, batch.images[:, [0, 0, 1]])
    blend, _ = render_method("blend", batch)
    torch.testing.assert_close(blend[:, 2], (batch.images[:, 0] + batch.images[:, 1]) / 2)


def test_regions_with_a_clean_twin(store_path):
    regions = target_regions(batch_of(store_path))
    assert list(regions) == ["full", "static", "transient", "ghost"]
    areas = {name: region.sum((2, 3, 4))[0].tolist() for name, region in regions.items()}
    assert areas["full"] == [256, 256, 256]
    assert areas["transient"] == [16, 16, 16]
    assert areas["static"] == [240, 240, 239]  # a pixel of the last frame is unknown
    # inputs cover patches 0 and 3; targets 0, 1 and 3; the unknown pixel of the last target lies under the first input
    assert areas["ghost"] == [32, 48, 31]


def test_unknown_pixels_of_inputs_put_nothing_into_the_ghost(store_path):
    batch = batch_of(store_path)
    known = target_regions(batch)["ghost"]
    batch.masks[:, :2][batch.masks[:, :2] == 0] = 255
    assert torch.equal(target_regions(batch)["ghost"], known)


def test_regions_without_a_clean_twin_are_what_has_a_truth(tmp_path):
    assert list(target_regions(batch_of(write_store(tmp_path / "a", clean=False)))) == ["static"]
    assert list(target_regions(batch_of(write_store(tmp_path / "b", clean=False, masks=False)))) == ["full"]


def test_truth_is_the_clean_frame(store_path):
    batch = batch_of(store_path)
    scores = score_batch(batch.clean[:, 2:], batch)
    assert set(scores["ghost"]["psnr"]) == {np.inf}
    dynamic = score_batch(batch.images[:, 2:], batch)
    assert set(dynamic["static"]["psnr"]) == {np.inf}
    assert np.isfinite(dynamic["transient"]["psnr"]).all()


def test_methods_gate_as_they_say(store_path, checkpoint):
    from wildrayzer.checkpoint import load_checkpoint

    model, _ = load_checkpoint(checkpoint)
    batch = batch_of(store_path)
    _, static = render_method("static", batch, model=model)
    assert static.token_mask is None
    _, true = render_method("static_true_masks", batch, model=model)
    expected = torch.zeros(2, 2, 16, dtype=torch.bool)
    expected[0, 0, 0] = expected[0, 1, 3] = expected[1, 0, 8] = expected[1, 1, 11] = True
    assert torch.equal(true.token_mask, expected)
    _, own = render_method("joint", batch, model=model)
    assert torch.equal(own.token_mask, model.token_mask_from_probability(own.motion_logits[:, :2].sigmoid()))
    clean, _ = render_method("static_clean", batch, model=model)
    images = torch.cat([batch.clean[:, :2], batch.images[:, 2:]], 1)
    with torch.no_grad():
        torch.testing.assert_close(clean, model(images, 2).render)
    with pytest.raises(ValueError, match="renders with the pretrain checkpoint"):
        render_method("static", batch)


def test_methods_that_a_split_cannot_serve(tmp_path):
    store = FrameStore(write_store(tmp_path / "plain", clean=False, masks=False))
    with pytest.raises(ValueError, match="joint_clean needs clean twins"):
        check_method("joint_clean", store)
    with pytest.raises(ValueError, match="static_true_masks needs true masks"):
        check_method("static_true_masks", store)


def run_method(tmp_path, store_path, method="nearest", checkpoint=None, inputs=2, config=CONFIG, spec=None, **options):
    paths = {name: tmp_path / f"{method}.{name}" for name in ("csv", "json", "npz")}
    job = ViewScoringJob(
        row=method, spec=spec or ROW_SPECS[method], split="pairs_test", inputs=inputs, store_path=store_path,
        checkpoint_dir=checkpoint, config=config, features=FEATURES, scores=paths["csv"], manifest=paths["json"],
        panels=paths["npz"], **options,
    )  # fmt: skip
    score_views(job)
    return paths


def test_score_views_writes_tidy_rows_manifest_and_panels(tmp_path, store_path, checkpoint):
    paths = run_method(tmp_path, store_path, "joint", checkpoint)
    scores = read_scores([paths["csv"]])
    assert tuple(scores.columns) == COLUMNS
    assert len(scores) == SCENES * CONFIG.targets * 4 * 3
    (manifest,) = read_manifests([paths["json"]])
    assert manifest["counts"] == {"scenes": 3, "frames": 9, "nan": {}, "rows": len(scores)}
    assert (manifest["method"], manifest["split"], manifest["inputs"], manifest["forced"]) == (
        "joint", "pairs_test", 2, False,
    )  # fmt: skip
    assert set(manifest["definitions"]) == {"psnr", "psnr_aligned", "ssim"}
    assert "no VGG-16 weights" in manifest["lpips"]
    assert manifest["digests"]["checkpoint_stage"] == "joint"
    with np.load(paths["npz"]) as panels:
        assert panels["inputs"].shape == (3, 2, SIZE, SIZE, 3)
        assert panels["rendering"].shape == panels["truth"].shape == (3, SIZE, SIZE, 3)
        # two first scenes, then the worst of the others
        assert panels["scene"].tolist() == ["scene0", "scene1", "scene2"]
    first = paths["csv"].read_bytes(), paths["json"].read_bytes(), paths["npz"].read_bytes()
    run_method(tmp_path, store_path, "joint", checkpoint)
    assert first[:2] == (paths["csv"].read_bytes(), paths["json"].read_bytes())


def test_an_index_file_may_mix_numbers_of_targets(tmp_path, store_path, checkpoint):
    index = {
        name: {"context": [0, 6], "target": list(targets)}
        for name, targets in (("scene0", (1, 2, 3)), ("scene1", (1, 3)), ("scene2", (2, 4)))
    }
    write_json(tmp_path / "index.json", index)
    config = CONFIG.model_copy(update={"index": {"pairs_test": str(tmp_path / "index.json")}})
    paths = run_method(tmp_path, store_path, "static", checkpoint, config=config)
    scores = read_scores([paths["csv"]])
    full = scores[(scores["region"] == "full") & (scores["metric"] == "psnr")].set_index(["scene", "frame"])["value"]
    assert sorted(full.index) == [(name, frame) for name in index for frame in index[name]["target"]]
    (tmp_path / "alone").mkdir()
    write_json(tmp_path / "index.json", {"scene1": index["scene1"]})
    alone = read_scores([run_method(tmp_path / "alone", store_path, "static", checkpoint, config=config)["csv"]])
    alone = alone[(alone["region"] == "full") & (alone["metric"] == "psnr")].set_index(["scene", "frame"])["value"]
    np.testing.assert_allclose(full[["scene1"]], alone, rtol=1e-5)
    write_json(tmp_path / "index.json", index)
    assert len(run_head(tmp_path, store_path, checkpoint, config=config)[0]) == SCENES * 2 * 7
    score_renderer_health(
        split="pairs_test", inputs=2, store_path=store_path, checkpoint_dir=checkpoint, config=config,
        out=tmp_path / "health.json",
    )  # fmt: skip
    health = read_json(tmp_path / "health.json")
    assert (health["windows"], health["figures"]["psnr"]["frames"]) == (3, 7)
    assert set(health["camera_r2"]) == {"tx", "shift"}


def test_untrained_number_of_inputs_is_refused_unless_forced(tmp_path, store_path, checkpoint):
    with pytest.raises(ValueError, match=r"benchmark\.inputs = 3: .* was trained with \[2\] input views"):
        run_method(tmp_path, store_path, "static", checkpoint, inputs=3)
    paths = run_method(
        tmp_path, store_path, "static", checkpoint, inputs=3, config=CONFIG.model_copy(update={"force_inputs": True})
    )
    assert read_json(paths["json"])["forced"]
    with pytest.raises(ValueError, match="name its folder"):
        run_method(tmp_path, store_path, "static")


def test_renderer_health(tmp_path, store_path, checkpoint):
    score_renderer_health(
        split="pairs_test", inputs=2, store_path=store_path, checkpoint_dir=checkpoint, config=CONFIG,
        out=tmp_path / "health.json",
    )  # fmt: skip
    health = read_json(tmp_path / "health.json")
    assert health["windows"] == 3
    assert set(health["camera_r2"]) == {"tx", "shift"}  # nothing else varies
    assert health["figures"]["psnr"]["frames"] == 9
    assert health["figures"]["reordered"]["mean"] != 0  # view numbers enter this network


def test_renderings_that_are_not_finite_are_refused(tmp_path, store_path):
    torch.manual_seed(0)
    model = WildRayZer(ModelConfig(image_size=SIZE, patch_size=4, width=32, head_width=8, camera_blocks=1,
                                   scene_blocks=1, decoder_blocks=1, scene_tokens=4))  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.inf)
    save_checkpoint(tmp_path, model, stage="pretrain", step=1, inputs=2, targets=3, config_digest="x")
    arguments = {"split": "pairs_test", "inputs": 2, "store_path": store_path, "checkpoint_dir": tmp_path}
    with pytest.raises(ValueError, match=r"^renderer health: renderings of 3 windows are not finite"):
        score_renderer_health(**arguments, config=CONFIG, out=tmp_path / "health.json")
    names = {name: tmp_path / name for name in ("scores", "manifest", "panels")}
    job = ViewScoringJob(row="static", spec=ROW_SPECS["static"], **arguments, config=CONFIG, features=FEATURES, **names)
    with pytest.raises(ValueError, match=r"^static: renderings of 3 windows are not finite, the first of scene0"):
        score_views(job)
    assert {path.name for path in tmp_path.iterdir()} & {"health.json", *names} == set()


def test_measuring_takes_no_tf32(tmp_path, store_path, checkpoint):
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    score_renderer_health(
        split="pairs_test", inputs=2, store_path=store_path, checkpoint_dir=checkpoint, config=CONFIG,
        out=tmp_path / "health.json",
    )  # fmt: skip
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32


def write_caches(folder, store, mask):
    """A cache whose saliency and patch masks are `mask` [F g g]; the last frame is not computed."""
    common = {
        "frames": store.num_frames, "scenes": store.scenes,
        "sizes": {"patch_row": 4, "patch_column": 4, "row": SIZE, "column": SIZE},
        "offsets": store.offsets, "about": {},
    }  # fmt: skip
    maps = mask.astype(np.float16)
    psnr = np.full(store.num_frames, 20.0, np.float32)
    psnr[-1] = np.nan
    patches = mask.copy()
    patches[-1] = 255
    from wildrayzer.pseudo_masks.cache.cache import PatchMasks, ResidualMaps

    with CacheWriter(folder / "r.zarr", "residuals", digests={"store": store.digest}, **common) as writer:
        writer.append(
            d_dino=maps, d_ssim=maps, psnr=psnr, clusters=np.zeros(mask.shape, np.uint8),
            window=np.zeros(store.num_frames, np.int32),
        )  # fmt: skip
    digest = ResidualMaps(folder / "r.zarr").digest
    with CacheWriter(folder / "p.zarr", "patch_masks", digests={"residuals": digest}, **common) as writer:
        writer.append(mask=patches)
    digest = PatchMasks(folder / "p.zarr").digest
    with CacheWriter(folder / "x.zarr", "pixel_masks", digests={"patch_masks": digest}, **common) as writer:
        writer.append(mask=patches.repeat(4, 1).repeat(4, 2))


def run_masks(tmp_path, store_path, **paths):
    job = MaskScoringJob(
        split="pairs_test",
        predictor="renderer",
        store_path=store_path,
        residuals_path=paths.get("r", tmp_path / "r.zarr"),
        patch_masks_path=tmp_path / "p.zarr",
        pixel_masks_path=tmp_path / "x.zarr",
        config=PseudoMasksConfig(),
        inputs=2,
        scores=tmp_path / "m.csv",
        manifest=tmp_path / "m.json",
    )
    score_masks(job)


def test_score_masks(tmp_path, store_path):
    store = FrameStore(store_path)
    truth = store.read_masks(np.arange(store.num_frames))
    coarse = (truth[:, ::4, ::4] == 1).astype(np.uint8)
    wrong = coarse.copy()
    wrong[0] = np.roll(coarse[0], 1, axis=1)
    write_caches(tmp_path, store, wrong)
    run_masks(tmp_path, store_path)
    scores = read_scores([tmp_path / "m.csv"])
    assert set(scores["method"]) == {"pseudo:renderer", "refined:renderer", "residual:renderer"}
    iou = scores[(scores["metric"] == "iou")].set_index(["method", "scene", "frame"])["value"]
    for method in ("pseudo:renderer", "refined:renderer", "residual:renderer"):
        assert iou[method, "scene0", 0] == 0
        assert iou[method, "scene0", 1] == 1
        assert np.isnan(iou[method, "scene2", FRAMES - 1])  # not computed
        assert iou[method, "scene1", FRAMES - 1] == 1  # an unknown pixel is left out
    assert read_json(tmp_path / "m.json")["residual_threshold"]["choice"].startswith("best mean IoU on the split")


def test_score_masks_refuses_a_cache_of_another_store(tmp_path, store_path):
    store = FrameStore(store_path)
    write_caches(tmp_path, store, np.zeros((store.num_frames, 4, 4), np.uint8))
    other = write_store(tmp_path / "other.zarr", clean=False)
    with pytest.raises(ValueError, match="store"):
        run_masks(tmp_path, other)


def test_score_frames_unknown_and_not_computed():
    truth = np.zeros((3, 2, 2), np.uint8)
    truth[0] = [[1, 255], [0, 0]]
    truth[1] = 255
    masks = np.array([[[1, 1], [0, 0]], [[1, 1], [1, 1]], [[0, 255], [0, 0]]], np.uint8)
    scores = score_frames(masks, truth)
    np.testing.assert_allclose(scores["iou"], [1, np.nan, np.nan])
    np.testing.assert_allclose(scores["coverage"], [1 / 3, np.nan, np.nan])


def test_threshold_without_foreground_falls_back(tmp_path):
    def make(threshold):
        return lambda part: np.zeros((part.stop - part.start, SIZE, SIZE), np.uint8)

    value, choice = best_threshold(make, FrameStore(write_store(tmp_path / "still", moving=False)))
    assert value == 1.0
    assert "no true foreground" in choice


def run_head(tmp_path, store_path, checkpoint, *, inputs=2, config=CONFIG, **options):
    job = ScoringJob(
        split="pairs_test", inputs=inputs, store_path=store_path, scores=tmp_path / "h.csv",
        manifest=tmp_path / "h.json", **options,
    )  # fmt: skip
    score_input_masks(job, head_masks("joint", checkpoint, config=config, features=FEATURES), config=config)
    return read_scores([tmp_path / "h.csv"]), read_json(tmp_path / "h.json")


def test_score_head(tmp_path, store_path, checkpoint):
    scores, manifest = run_head(tmp_path, store_path, checkpoint)
    assert set(scores["method"]) == {"head:joint"}
    assert len(scores) == SCENES * 2 * 7
    assert isinstance(scores, pd.DataFrame)
    assert manifest["mask_threshold"] == 0.5
    scores, _ = run_head(tmp_path, store_path, checkpoint, variant="cross_view")
    assert set(scores["method"]) == {"head:joint@cross_view"}
    with pytest.raises(ValueError, match="holds no masks; use a split that has them"):
        run_head(tmp_path, write_store(tmp_path / "bare", clean=False, masks=False), checkpoint)


def test_heads_are_scored_with_view_counts_they_know(tmp_path, store_path, checkpoint):
    with pytest.raises(ValueError, match=r"head:joint was trained with \[2\] input views"):
        run_head(tmp_path, store_path, checkpoint, inputs=3)
    forced = CONFIG.model_copy(update={"force_inputs": True})
    assert run_head(tmp_path, store_path, checkpoint, inputs=3, config=forced)[1]["forced"]
