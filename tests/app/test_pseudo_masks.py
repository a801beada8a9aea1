"""Pseudo-masks of the app: equal to those of the stages, calibrated once, shown step by step, packed."""

import threading
import zipfile

import numpy as np
import pytest

import wildrayzer as wr
from tests.stages.test_mask_stages import clip, save_renderer
from tests.tools.test_render import pictures
from wildrayzer.app import text
from wildrayzer.app.download import write_zip
from wildrayzer.app.mask_steps import step_pictures
from wildrayzer.app.pseudo_masks import MaskMaker
from wildrayzer.app.session import Session
from wildrayzer.app.uploads import of_arrays
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.stages.patch_masks import calibrate_threshold, list_residuals, vote_masks
from wildrayzer.stages.refine import refine_masks
from wildrayzer.stages.residuals import compute_residuals

SIZE = 24
pytestmark = pytest.mark.usefixtures("one_thread")


def silent(share, what):
    assert 0 <= share <= 1
    assert what


def small(maker):
    """Two still clips instead of sixty."""
    config = maker.config
    embedded = config.data.embedded
    splits = {**embedded.splits, "calibration": embedded.splits["calibration"].model_copy(update={"scenes": 2})}
    data = config.data.model_copy(update={"embedded": embedded.model_copy(update={"splits": splits})})
    maker.config = config.model_copy(update={"data": data})
    return maker


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maker")
    save_renderer(folder / "renderer")
    made = small(MaskMaker(wr.load(folder / "renderer", device="cpu"), folder))
    made.calibrate(silent)
    assert [path.name for path in folder.iterdir()] == ["renderer"], "the still clips are left"
    return made


@pytest.fixture(scope="module")
def session(maker):
    images = clip(0, 7, moving=True)
    made = Session(maker.model, "Clip", of_arrays(images, [f"{n}" for n in range(7)], image_size=SIZE))
    made.predict(silent)
    made.make_masks(maker, silent)
    return made


def residuals_of(maker, clips, out):
    """The stages windows and residuals, on files."""
    store, windows, manifest = out / "store", out / "windows.json", out / "masks" / "residuals.json"
    with FrameStoreWriter(store, StoreForm(SIZE, StoreConfig(), cameras=False)) as writer:
        for number, frames in enumerate(clips):
            writer.add_scene(f"{number}", frames)
    WindowList.build(FrameStore(store), maker.config.residuals).save(windows)
    compute_residuals(
        checkpoint_dir=maker.model.folder, store_path=store, windows_path=windows, config=maker.config.residuals,
        features=maker.config.features, out_path=manifest, receipt_path=out / "job.json",
    )  # fmt: skip
    list_residuals([out / "job.json"], store_path=store, windows_path=windows, out_path=manifest)
    return manifest


def test_masks_and_thresholds_are_those_of_the_stages(maker, session, tmp_path):
    config, thresholds, masks = maker.config, tmp_path / "thresholds.json", tmp_path / "masks"
    still = residuals_of(maker, [frames for clips, _ in maker._still_clips() for frames in clips], tmp_path / "still")
    calibrate_threshold([still], config=config.pseudo_masks, out_path=thresholds)
    expected = AbsoluteThresholds.load(thresholds)
    for name in ("scale_dino", "scale_ssim", "patch", "cluster", "region"):
        assert getattr(maker.thresholds, name) == pytest.approx(getattr(expected, name), rel=1e-5)
    assert maker.thresholds.patches == expected.patches == 2 * 10 * 36

    maps = ResidualMaps(residuals_of(maker, [session.predicted.images], tmp_path))
    patch_masks, pixel_masks = masks / "patch_masks.json", masks / "pixel_masks.json"
    vote_masks(residuals_path=maps.path, config=config.pseudo_masks, out_path=patch_masks, thresholds_path=thresholds)
    refine_masks(
        patch_masks_path=patch_masks, store_path=tmp_path / "store", config=config.refine, out_path=pixel_masks
    )
    steps = session.mask_steps
    for name in ("d_dino", "d_ssim"):
        np.testing.assert_allclose(np.stack([getattr(one, name) for one in steps]), maps.all(name), atol=2e-3)
    np.testing.assert_allclose([one.psnr for one in steps], maps.psnr, rtol=1e-5)
    np.testing.assert_array_equal(np.stack([one.patches for one in steps]), PatchMasks(patch_masks).all("mask"))
    refined = PixelMasks(pixel_masks).all("mask")
    np.testing.assert_array_equal(np.stack([one.pixels for one in steps]), refined)
    assert refined.any()


def test_steps_follow_from_each_other(session):
    for one in session.mask_steps:
        assert not (one.patches & ~one.voted).any()
        assert one.saliency.mean() == pytest.approx(0, abs=1e-9)
        assert one.predicted.shape == (SIZE, SIZE, 3)
    assert [one.name for one in session.steps][-1] == "pseudo-masks of 7 views"


def test_the_first_visitor_waits_for_the_calibration_and_a_second_one_beside_him_too(maker, session):
    fresh = small(MaskMaker(maker.model, maker.folder))
    calls = []
    windows = fresh._windows
    fresh._windows = lambda images, **options: calls.append(options) or windows(images, **options)
    visitors = [Session(maker.model, "", session.pictures, scene=session.scene) for _ in range(2)]
    threads = [threading.Thread(target=one.make_masks, args=(fresh, silent)) for one in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.count({}) == 2  # the pictures of each
    assert len(calls) == 2 + 1  # the still clips, once
    assert any(one.steps[0].name == "thresholds from still clips (once)" for one in visitors)
    for a, b in zip(visitors[0].mask_steps, visitors[1].mask_steps, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_two_pictures_are_refused_before_anything_is_computed(maker):
    fresh = MaskMaker(maker.model, maker.folder)
    made = Session(maker.model, "", of_arrays(pictures(2), "ab", image_size=SIZE))
    made.predict(silent)
    with pytest.raises(ValueError, match=r"2 pictures are too few .* predicted from 2 others; give 3 or more"):
        made.make_masks(fresh, silent)
    assert fresh.thresholds is None


def test_large_renderers_are_not_calibrated_and_the_page_says_so(maker, monkeypatch):
    assert "60 procedural clips" in text.about_pseudo_masks(maker.model)
    monkeypatch.setattr(type(maker.model), "image_size", 256)
    assert not MaskMaker(maker.model, maker.folder).to_calibrate
    assert "Not calibrated:** at 256 px" in text.about_pseudo_masks(maker.model)


def test_without_thresholds_all_voted_patches_stay(maker):
    for one in MaskMaker(maker.model, maker.folder).make(clip(0, 3, moving=True), silent):
        np.testing.assert_array_equal(one.patches, one.voted)


def test_every_step_has_a_row_of_pictures_and_numbers(session):
    rows = step_pictures(session.mask_steps, session.predicted.images)
    assert len(rows) == len(text.MASK_STEPS)
    assert all([caption.split()[0] for _, caption in row] == [f"{n + 1}" for n in range(7)] for row in rows)
    assert rows[0][0][1] == f"1 · {session.mask_steps[0].psnr:.1f} dB"
    assert all(picture.shape == (288, 288, 3) for row in rows for picture, _ in row)
    voted, patches = (sum(getattr(one, name).sum() for one in session.mask_steps) for name in ("voted", "patches"))
    said = text.about_mask_steps(session.mask_steps, 0)
    assert "7 of 7 are over 0 dB" in said
    assert f"Voting chose {voted} of {7 * 36} patches, {patches} are left" in said


def test_the_zip_has_the_masks(session, tmp_path):
    with zipfile.ZipFile(write_zip(session, tmp_path / "all.zip")) as packed:
        names = packed.namelist()
        assert {f"pseudo_masks/00{number}.png" for number in range(7)} <= set(names)
        readme = packed.read("README.txt").decode()
    assert "made without the motion head" in readme
    assert f"masks run recorded --out again-masks --clip-length 7 --checkpoint {session.model.folder}" in readme
