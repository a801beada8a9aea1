"""Stage 2 end to end on a tiny split: residuals, their list, calibration, voting, refinement."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from wildrayzer.checkpoint import save_checkpoint
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.images.blur import gaussian_blur
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.fusion import zscore
from wildrayzer.pseudo_masks.patch_masks import vote_frames, window_rows
from wildrayzer.pseudo_masks.voting import vote
from wildrayzer.stages.patch_masks import calibrate_threshold, list_residuals, vote_masks
from wildrayzer.stages.refine import refine_masks
from wildrayzer.stages.residuals import compute_residuals

SIZE, PATCH = 24, 4
FEATURES = FeaturesConfig(backbone="descriptor")
RESIDUALS = ResidualsConfig(targets=3, inputs=2, batch=2, clusters=6, ssim_size=5)
VOTING = PseudoMasksConfig(top_share=0.4, frame_quantile=0.6)


pytestmark = pytest.mark.usefixtures("one_thread")


def clip(seed, frames, *, moving):
    """A textured background that stays, and a bright square that moves."""
    rng = np.random.default_rng(seed)
    frame = rng.integers(60, 120, (SIZE // 4, SIZE // 4, 3)).repeat(4, 0).repeat(4, 1)
    found = np.stack([frame] * frames)
    if moving:
        for number in range(frames):
            left = 2 * number
            found[number, 8:16, left : left + 8] = (230, 40, 40)
    return found.astype(np.uint8)


def write_store(path, clips):
    with FrameStoreWriter(path, StoreForm(SIZE, StoreConfig(), cameras=False)) as writer:
        for number, frames in enumerate(clips):
            writer.add_scene(f"clip{number}", frames)
    return FrameStore(path)


def save_renderer(folder, seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"width": 16, "head_width": 8, "camera_blocks": 1, "scene_blocks": 1, "decoder_blocks": 1}
    small = {"image_size": SIZE, "patch_size": PATCH, "scene_tokens": 4, "motion_head": None}
    model = WildRayZer(ModelConfig(**{**sizes, **small, **options}))
    save_checkpoint(folder, model, stage="pretrain", step=1, inputs=2, targets=3, config_digest="c")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    for name, moving in (("dynamic", True), ("static", False)):
        store = write_store(folder / name, [clip(seed, length, moving=moving) for seed, length in enumerate([6, 7, 6])])
        WindowList.build(store, RESIDUALS).save(folder / f"{name}.json")
    save_renderer(folder / "checkpoint")
    return folder


def residuals(split, out, name="dynamic", *, jobs=1, predictor="nearest", config=RESIDUALS, checkpoint="checkpoint"):
    receipts = [out / f"job{job}.json" for job in range(jobs)]
    data = {"store_path": split / name, "windows_path": split / f"{name}.json"}
    for job, receipt in enumerate(receipts):
        compute_residuals(
            checkpoint_dir=split / checkpoint,
            config=config,
            features=FEATURES,
            predictor=predictor,
            job=job,
            jobs=jobs,
            out_path=out / "residuals.json",
            receipt_path=receipt,
            device="cpu",
            **data,
        )
    list_residuals(receipts, out_path=out / "residuals.json", **data)
    return ResidualMaps(out / "residuals.json")


def test_the_whole_stage(split, tmp_path):
    maps = residuals(split, tmp_path, predictor="renderer")
    assert maps.num_frames == 19
    assert (maps.window >= 0).all()
    assert np.isfinite(maps.psnr).all()
    summary = json.loads((tmp_path / "residuals.json").read_text())["summary"]
    assert summary["frames_computed"] == 19
    assert summary["backbone"] == "descriptor"
    assert summary["mean_psnr"] == pytest.approx(float(maps.psnr.mean()), rel=1e-5)
    vote_masks(residuals_path=maps.path, config=VOTING, out_path=tmp_path / "patch_masks.json")
    refine_masks(
        patch_masks_path=tmp_path / "patch_masks.json",
        store_path=split / "dynamic",
        config=RefineConfig(seed_erosion=3),
        out_path=tmp_path / "pixel_masks.json",
        workers=2,
    )
    patches = PatchMasks(tmp_path / "patch_masks.json", expect={"residuals": maps.digest})
    pixels = PixelMasks(tmp_path / "pixel_masks.json", expect={"patch_masks": patches.digest, "residuals": maps.digest})
    assert pixels.all("mask").shape == (19, SIZE, SIZE)
    assert set(np.unique(pixels.all("mask"))) <= {0, 1}
    assert pixels.summary["coverage"] == pytest.approx(pixels.all("mask").mean())


def test_the_mask_lies_on_what_moved(split, tmp_path):
    maps = residuals(split, tmp_path)
    vote_masks(residuals_path=maps.path, config=VOTING, out_path=tmp_path / "patch_masks.json")
    masks = PatchMasks(tmp_path / "patch_masks.json").all("mask").astype(bool)
    assert masks.any()
    # The square covers patch rows 2 and 3; its neighbours differ through the SSIM window and the gradients' context.
    assert masks[:, 2:4].mean() > 3 * masks[:, [0, 1, 4, 5]].mean()


def arrays(maps):
    return {name: maps.all(name) for name in ("d_dino", "d_ssim", "clusters", "psnr", "window")}


@pytest.mark.parametrize("predictor", ["renderer", "nearest", "blurred"])
def test_jobs_and_batches_do_not_matter(split, tmp_path, predictor):
    expected = arrays(residuals(split, tmp_path / "a", predictor=predictor))
    other = RESIDUALS.model_copy(update={"batch": 1, "shards": 3})
    found = residuals(split, tmp_path / "b", jobs=3, predictor=predictor, config=other)
    for name, values in arrays(found).items():
        # The network itself rounds differently in another batch; everything after it does not.
        tolerance = 2e-3 if predictor == "renderer" and name != "clusters" else 0
        np.testing.assert_allclose(values.astype(float), expected[name].astype(float), atol=tolerance, rtol=0)
    assert found.digest == ResidualMaps(tmp_path / "a" / "residuals.json").digest


def test_precision_is_that_of_the_renderer_only(split, tmp_path):
    quick = RESIDUALS.model_copy(update={"precision": "bfloat16"})
    exact, found = (
        residuals(split, tmp_path / name, predictor="renderer", config=config)
        for name, config in (("exact", RESIDUALS), ("quick", quick))
    )
    assert 0 < abs(exact.psnr - found.psnr).max() < 0.1
    assert "precision" not in exact.about["residuals"]  # as in caches of earlier versions, which stay
    assert found.about["residuals"]["precision"] == "bfloat16"
    assert exact.digests["config"] != found.digests["config"]
    exact, found = (
        arrays(residuals(split, tmp_path / f"blurred-{name}", predictor="blurred", config=config))
        for name, config in (("exact", RESIDUALS), ("quick", quick))
    )
    for name, values in found.items():
        np.testing.assert_array_equal(values, exact[name], err_msg=name)


def test_nearest_copies_the_nearest_input(split, tmp_path):
    maps = residuals(split, tmp_path, "static")
    assert (maps.psnr == 100).all()
    assert maps.all("d_dino").max() < 1e-6
    vote_masks(residuals_path=maps.path, config=VOTING, out_path=tmp_path / "patch_masks.json")
    assert not PatchMasks(tmp_path / "patch_masks.json").all("mask").any()
    assert PatchMasks(tmp_path / "patch_masks.json").summary["empty_share"] == 1.0


def test_blur_keeps_the_mean_and_spreads_a_point():
    image = torch.zeros(1, 3, 15, 15)
    image[..., 7, 7] = 1
    found = gaussian_blur(image, sigma=1.0)
    torch.testing.assert_close(found.sum((2, 3)), torch.ones(1, 3))
    torch.testing.assert_close(found[0, 0, 7, 8] / found[0, 0, 7, 7], torch.tensor(0.5).neg().exp())
    torch.testing.assert_close(gaussian_blur(torch.full((1, 3, 8, 8), 0.3), sigma=2.0), torch.full((1, 3, 8, 8), 0.3))


def test_the_absolute_test_thins_out_masks_and_tells_renderers_apart(split, tmp_path):
    dynamic = residuals(split, tmp_path / "d", predictor="blurred")
    static = residuals(split, tmp_path / "s", "static", predictor="blurred")
    config = VOTING.model_copy(update={"absolute_test": "patch", "false_positive_rate": 0.05})
    thresholds = tmp_path / "thresholds.json"
    calibrate_threshold([static.path], config=config, out_path=thresholds)
    options = {"config": config, "out_path": tmp_path / "patch_masks.json"}
    vote_masks(residuals_path=static.path, thresholds_path=thresholds, **options)
    summary = PatchMasks(tmp_path / "patch_masks.json").summary
    assert summary["coverage"] <= 0.05 < summary["coverage_of_voting_alone"]
    vote_masks(residuals_path=dynamic.path, thresholds_path=thresholds, **options)
    assert PatchMasks(tmp_path / "patch_masks.json").summary["coverage"] > 0
    with pytest.raises(ValueError, match="absolute_test: patch needs thresholds"):
        vote_masks(residuals_path=dynamic.path, **options)
    other = residuals(split, tmp_path / "o", predictor="nearest")
    with pytest.raises(ValueError, match=r"calibrated with renderer blurred, the residuals .* have nearest"):
        vote_masks(residuals_path=other.path, thresholds_path=thresholds, **options)
    with pytest.raises(ValueError, match="renderer is nearest, expected blurred"):
        calibrate_threshold([static.path, other.path], config=config, out_path=thresholds)
    with pytest.raises(ValueError, match="purpose: calibration"):
        calibrate_threshold([], config=config, out_path=thresholds)


def test_masks_of_another_store_are_refused(split, tmp_path):
    maps = residuals(split, tmp_path)
    vote_masks(residuals_path=maps.path, config=VOTING, out_path=tmp_path / "patch_masks.json")
    with pytest.raises(ValueError, match=r"patch_masks\.json was made from something else: store is"):
        refine_masks(
            patch_masks_path=tmp_path / "patch_masks.json",
            store_path=split / "static",
            config=RefineConfig(),
            out_path=tmp_path / "pixel_masks.json",
        )


def compute(split, tmp_path, **changes):
    options = {
        "checkpoint_dir": split / "checkpoint",
        "store_path": split / "dynamic",
        "windows_path": split / "dynamic.json",
        "config": RESIDUALS,
        "features": FEATURES,
        "out_path": tmp_path / "residuals.json",
        "receipt_path": tmp_path / "job.json",
    }
    compute_residuals(**{**options, **changes})


def test_windows_of_another_store_are_refused(split, tmp_path):
    with pytest.raises(ValueError, match=r"static\.json lists windows of frame store .*make the window list again"):
        compute(split, tmp_path, windows_path=split / "static.json")


def test_a_window_whose_targets_repeat_is_refused(split, tmp_path):
    windows = WindowList.load(split / "dynamic.json")
    first = windows.windows[0]
    twice = replace(first, targets=(*first.targets[:-1], first.targets[0]))
    replace(windows, windows=(twice, *windows.windows[1:])).save(tmp_path / "windows.json")
    with pytest.raises(ValueError, match=r"windows: clip 0 repeats or leaves its frames"):
        compute(split, tmp_path, windows_path=tmp_path / "windows.json")


def test_the_releases_variant_is_a_matter_of_options(split, tmp_path):
    release = RESIDUALS.model_copy(update={"ssim_window": "uniform"})
    paper, other = residuals(split, tmp_path / "p"), residuals(split, tmp_path / "r", config=release)
    np.testing.assert_array_equal(paper.all("d_dino"), other.all("d_dino"))
    np.testing.assert_array_equal(paper.all("clusters"), other.all("clusters"))
    assert (paper.all("d_ssim") != other.all("d_ssim")).any()
    assert paper.digests["config"] != other.digests["config"]
    fixed = VOTING.model_copy(update={"weighting": "fixed", "dino_weight": 0.6})
    masks, _ = vote_frames(other, fixed)
    for number in np.unique(other.window):
        rows = np.flatnonzero(other.window == number)
        saliency = 0.6 * zscore(other.all("d_dino")[rows]) + 0.4 * zscore(other.all("d_ssim")[rows])
        np.testing.assert_array_equal(masks[rows], vote(saliency, other.all("clusters")[rows], fixed))


def test_some_windows_alone_get_the_same_masks(split, tmp_path):
    maps = residuals(split, tmp_path)
    everything, _ = vote_frames(maps, VOTING)
    chosen = np.where(maps.window == 1, 1, -1)
    masks, _ = vote_frames(maps, VOTING, window=chosen)
    np.testing.assert_array_equal(masks[chosen == 1], everything[chosen == 1])
    assert (masks[chosen < 0] == 255).all()


def test_a_renderer_of_another_size_is_refused(split, tmp_path):
    save_renderer(tmp_path / "large", image_size=32)
    with pytest.raises(ValueError, match=r"renders 32 px, .* holds 24 px"):
        compute(split, tmp_path, checkpoint_dir=tmp_path / "large")


def test_a_renderer_that_gives_nan_is_refused(split, tmp_path):
    torch.manual_seed(0)
    save_renderer(tmp_path / "broken")
    from wildrayzer.checkpoint import load_checkpoint

    model, _ = load_checkpoint(tmp_path / "broken", device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    save_checkpoint(tmp_path / "broken", model, stage="pretrain", step=1, inputs=2, targets=3, config_digest="c")
    with pytest.raises(ValueError, match=r"windows of scenes \['clip\d'.*renderings contain NaN"):
        compute(split, tmp_path, checkpoint_dir=tmp_path / "broken")
    assert not (tmp_path / "residuals").exists()


@pytest.mark.parametrize("predictor", ["nearest", "renderer"])
def test_black_clips_give_empty_masks(split, tmp_path, predictor):
    store = write_store(tmp_path / "black", [np.zeros((6, SIZE, SIZE, 3), np.uint8)])
    WindowList.build(store, RESIDUALS).save(tmp_path / "black.json")
    (tmp_path / "checkpoint").symlink_to(split / "checkpoint")
    maps = residuals(tmp_path, tmp_path / "out", "black", predictor=predictor)
    assert (maps.all("d_ssim").max() > 0.1) == (predictor == "renderer")
    assert (maps.all("clusters") == 0).all()
    vote_masks(residuals_path=maps.path, config=VOTING, out_path=tmp_path / "patch_masks.json")
    assert not PatchMasks(tmp_path / "patch_masks.json").all("mask").any()


def test_clips_without_windows_stay_uncomputed(split, tmp_path):
    store = write_store(tmp_path / "mixed", [clip(0, 6, moving=True), clip(1, 2, moving=True)])
    WindowList.build(store, RESIDUALS).save(tmp_path / "mixed.json")
    (tmp_path / "checkpoint").symlink_to(split / "checkpoint")
    maps = residuals(tmp_path, tmp_path / "out", "mixed")
    vote_masks(residuals_path=maps.path, config=VOTING, out_path=tmp_path / "p.json")
    refine_masks(
        patch_masks_path=tmp_path / "p.json",
        store_path=tmp_path / "mixed",
        config=RefineConfig(grabcut=False),
        out_path=tmp_path / "x.json",
    )
    for name, reader in (("p.json", PatchMasks), ("x.json", PixelMasks)):
        masks = reader(tmp_path / name).all("mask")
        assert (masks[6:] == 255).all()
        assert (masks[:6] != 255).all()
    assert PixelMasks(tmp_path / "x.json").summary["frames_computed"] == 6


def test_window_rows_group_windows_of_equal_length():
    rows = list(window_rows(np.array([1, 0, 1, -1, 2, 0, 1], np.int32)))
    assert [row.tolist() for row in rows] == [[[4]], [[1, 5]], [[0, 2, 6]]]
