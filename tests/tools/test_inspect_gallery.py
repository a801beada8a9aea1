"""The folder that `wildrayzer masks inspect` writes: its pictures, figures and pages; and the cache in a notebook."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.inspect_run import command, flat, make_cache, write_residuals
from tests.report.test_page import decoded
from tests.stages.test_mask_stages import save_renderer
from wildrayzer.io.files import read_json, write_json
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks
from wildrayzer.tools.inspect.files import open_cache
from wildrayzer.tools.inspect.pictures import photo, small
from wildrayzer.tools.inspect.provenance import origins

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("results"))


@pytest.fixture
def copied(cache, tmp_path):
    """A run of one's own to damage: its cache."""
    shutil.copytree(cache.parents[3], tmp_path / "small")
    return tmp_path / "small" / cache.relative_to(cache.parents[3])


def pictures_of(folder, number):
    text = (folder / "windows" / f"{number:06d}.js").read_text()
    assert text.startswith(f"gallery.receive({number}, ")
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def page_data(folder):
    text = (folder / "windows.html").read_text()
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)[1])


def test_the_gallery_holds_what_the_cache_holds(cache, tmp_path):
    result = command(cache, "--out", tmp_path / "g")
    assert result.exit_code == 0, result.output
    files = open_cache(cache)
    data = page_data(tmp_path / "g")
    names = [column["name"] for column in data["columns"]]
    assert names == [
        "target", "rendering", "feature residual", "SSIM residual", "fused", "clusters", "patch mask", "refined mask",
        "truth",
    ]  # fmt: skip
    assert [window["number"] for window in data["windows"]] == list(range(len(files.windows)))
    window = data["windows"][4]
    listed = files.windows.windows[window["number"]]
    assert (window["inputs"], window["frames"]) == (list(listed.inputs), list(listed.targets))
    frames = files.maps.offsets[listed.scene] + np.array(listed.targets)
    np.testing.assert_allclose(window["psnr"], files.maps.psnr[frames], atol=1e-4)
    found = pictures_of(tmp_path / "g", 4)
    assert len(found["inputs"]) == 2
    for row, frame in enumerate(frames):
        shown = dict(zip(names, found["targets"][row], strict=True))
        for name, masks in (("patch mask", files.patches), ("refined mask", files.pixels)):
            np.testing.assert_array_equal(decoded(shown[name])[..., 0] // 255, masks.read(np.array([frame]))[0])
        np.testing.assert_array_equal(
            decoded(shown["truth"])[..., 0] // 255, files.store.read_masks(np.array([frame]))[0]
        )
        target = files.store.read(np.array([frame]))[0]
        assert np.abs(decoded(shown["target"]).astype(float) - target).mean() < 16


def test_renderings_are_those_of_the_cache(cache, tmp_path):
    result = command(cache, "--out", tmp_path / "g", "--worst", 2)
    assert "written" in result.output
    checks = {check["name"]: check for check in read_json(tmp_path / "g" / "gallery.json")["checks"]}
    assert checks["Renderings repeat"]["verdict"] == "fine"
    assert len(page_data(tmp_path / "g")["windows"]) == 2
    assert "The gallery shows 2 of 14 windows" in (tmp_path / "g" / "index.html").read_text()


def test_another_renderer_is_not_used(copied, tmp_path):
    save_renderer(copied.parents[3] / "pretrain" / "checkpoint", seed=5)
    result = command(copied, "--out", tmp_path / "g", "--worst", 1)
    assert result.exit_code == 0
    assert "rendering" not in [column["name"] for column in page_data(tmp_path / "g")["columns"]]
    assert "renderings are left out" in (tmp_path / "g" / "index.html").read_text()
    result = command(copied, "--out", tmp_path / "g", "--renderer", copied.parents[3] / "pretrain" / "checkpoint")
    assert result.exit_code == 2
    assert "the cache was made with" in flat(result.output)


def test_controls_need_no_renderer(tmp_path):
    cache = make_cache(tmp_path, predictor="nearest")
    shutil.rmtree(cache.parents[3] / "pretrain")
    assert command(cache, "--out", tmp_path / "g").exit_code == 0
    checks = {check["name"]: check for check in read_json(tmp_path / "g" / "gallery.json")["checks"]}
    assert checks["Renderings repeat"]["value"] == "largest difference 0.000 dB"
    data = page_data(tmp_path / "g")
    place = [column["name"] for column in data["columns"]].index("rendering")
    # target 0 of window 0 copies input 0, frame 1
    found = pictures_of(tmp_path / "g", 0)
    assert found["targets"][0][place] == found["inputs"][0]


def test_a_cache_alone_is_shown_too(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "alone")
    assert command(tmp_path / "alone").exit_code == 0
    folder = tmp_path / "alone" / "inspect"
    assert page_data(folder)["inputs"] == 0
    assert page_data(folder)["columns"][0]["name"] == "feature residual"
    assert "The frame store is unknown, since the cache is in no run" in (folder / "index.html").read_text().replace(
        "&#39;", "'"
    )


def test_nothing_but_a_gallery_is_replaced(cache, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    result = command(cache, "--out", tmp_path / "mine")
    assert result.exit_code == 2
    assert "exists and is not a gallery; name a new folder" in flat(result.output)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    for worst in (3, 2):
        assert command(cache, "--out", tmp_path / "g", "--worst", worst, "--no-render").exit_code == 0
    assert len(list((tmp_path / "g" / "windows").iterdir())) == 2
    marker = tmp_path / "g" / "gallery.json"
    write_json(marker, read_json(marker) | {"residuals": "of another cache"})
    result = command(cache, "--out", tmp_path / "g", "--worst", 1, "--no-render")
    assert result.exit_code == 2
    assert "g exists, and is not what this command writes" in flat(result.output)
    assert command(cache, "--out", tmp_path / "g", "--worst", 1, "--no-render", "--overwrite").exit_code == 0
    assert len(list((tmp_path / "g" / "windows").iterdir())) == 1


def test_a_folder_named_by_a_link_or_a_dot(cache, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real")
    for out in (tmp_path / "link", "."):
        result = command(cache, "--out", out, "--worst", 1, "--no-render")
        assert result.exit_code == 0, result.output
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "index.html").is_file()
        assert Path("index.html").is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "real"]


def test_options_are_refused_before_the_cache_is_measured(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("wildrayzer.tools.inspect.frame_statistics.measure", lambda _files: pytest.fail("measured"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for words, said in (
        (["--device", "cuda"], "device cuda is asked for, but torch sees none"),
        (["--device", "gpu"], "'gpu' is not one of"),
        (["--psnr-filter", "nan"], "--psnr-filter nan: give a finite number of dB"),
    ):
        result = command(cache, "--out", tmp_path / "g", *words)
        assert result.exit_code == 2
        assert said in flat(result.output)


def test_damaged_files_of_the_run_are_named_and_defeat_nothing(copied, tmp_path):
    base, split = copied.parents[3], copied.parent.name
    shutil.copytree(base / "frames", tmp_path / "frames")
    next((base / "frames" / split).glob("*.zarr")).rename(base / "frames" / "lost")
    (base / "windows" / f"{split}.json").write_text("{}")
    (base / "aaa" / "checkpoint").mkdir(parents=True)
    (base / "aaa" / "checkpoint" / "manifest.json").write_text("{")
    result = command(copied, "--out", tmp_path / "g", "--worst", 1, "--frames", tmp_path / "frames" / f"{split}.json")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "g" / "index.html").read_text()
    assert "1 of 1 parts are missing" in page
    assert "The window list of the run cannot be read" in page
    rows = {(one.group, one.name): one for one in origins(copied)}
    assert rows["residuals", "store"].state == rows["residuals", "windows"].state == "damaged"
    assert rows["residuals", "store"].what.startswith("damaged: ")
    assert rows["residuals", "renderer"].state == "fits"
    shutil.rmtree(base / "pretrain")
    found = next(one for one in origins(copied) if one.name == "renderer")
    assert "aaa/checkpoint/manifest.json is damaged" in found.what
    assert command(copied, "--out", tmp_path / "g2", "--worst", 1).exit_code == 0


def test_a_gallery_that_fails_leaves_nothing(cache, tmp_path, monkeypatch):
    def fail(*_args):
        raise ValueError("no more room")

    monkeypatch.setattr("wildrayzer.tools.inspect.inspect.windows_page", fail)
    result = command(cache, "--out", tmp_path / "g", "--worst", 1, "--no-render")
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_pages_need_nothing_from_outside(cache, tmp_path):
    command(cache, "--out", tmp_path / "g", "--worst", 2)
    for name in ("index.html", "windows.html"):
        text = (tmp_path / "g" / name).read_text()
        # the JSON and JavaScript of a page have no addresses either
        assert "http" not in re.sub(r"data:image/[^\"]*", "", text)
        assert str(tmp_path) not in text


def test_frames_with_nan_are_counted_and_shown(tmp_path):
    maps = np.random.default_rng(0).random((3, 2, 2))
    maps[1, 0, 0] = np.nan
    write_residuals(tmp_path, maps, maps, np.array([20.0, np.nan, 21]), np.zeros(3))
    result = command(tmp_path, "--out", tmp_path / "g")
    assert result.exit_code == 0, result.output
    assert "Frames with broken maps" in result.output
    assert page_data(tmp_path / "g")["windows"][0]["psnr"] == [20.0, None, 21.0]


def test_pictures_are_thumbnails():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert decoded(photo(noise)).shape == (128, 128, 3)
    np.testing.assert_array_equal(decoded(small(noise[:8, :8])), noise[:8, :8])


def test_xarray_reads_a_part_of_a_cache(cache):
    xarray = pytest.importorskip("xarray")
    (part,) = PixelMasks(cache / "pixel_masks.json").parts
    masks = xarray.open_zarr(part.path, consolidated=False)
    assert masks["mask"].dims == ("frame", "row", "column")
    assert masks["mask"].dtype == np.uint8
    assert masks.attrs["digests"]["patch_masks"] == PatchMasks(cache / "patch_masks.json").digest
