"""Caches as xarray data sets and frame stores as torch data sets; the code of the document on a small run."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray
from torch.utils.data import DataLoader

import wildrayzer as wr
from tests.data.test_frame_store import LENGTHS, content, write
from tests.helpers.inspect_run import SPLIT, make_cache
from wildrayzer.api import masks as api_masks
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.tools.video_masks.workspace import SPLIT as VIDEO_SPLIT

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("run"))


def test_masks_are_those_of_the_cache(cache):
    found = wr.open_masks(cache)
    maps, patches, pixels = (
        kind(cache / f"{name}.json")
        for kind, name in ((ResidualMaps, "residuals"), (PatchMasks, "patch_masks"), (PixelMasks, "pixel_masks"))
    )
    assert found.d_dino.dims == ("frame", "patch_row", "patch_column")
    assert found.pixel_mask.dims == ("frame", "row", "column")
    for name in ("d_dino", "d_ssim", "clusters", "psnr", "window", "disagreement"):
        np.testing.assert_array_equal(found[name].values, maps.all(name))
    np.testing.assert_array_equal(found.patch_mask.values, patches.all("mask"))
    np.testing.assert_array_equal(found.pixel_mask.values, pixels.all("mask"))
    np.testing.assert_array_equal(found.pixel_mask_coverage.values, pixels.all("coverage"))
    assert found.scene.values[:7].tolist() == ["clip_0"] * 6 + ["clip_1"]
    assert found.frame_of_scene.values[:7].tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert found.attrs == {"path": str(cache), "residuals": maps.digest}


@pytest.mark.parametrize(
    "index",
    [
        {"frame": 3},
        {"frame": slice(5, 20, 3)},
        {"frame": [9, 2, 2]},
        {"frame": slice(2, 4), "row": 3, "column": [5, 1]},
        {"frame": -1, "column": slice(None, None, -1)},
        {"row": [1, 2], "column": [0, 3]},
    ],
)
def test_any_part_of_an_array_is_read_alone(cache, index):
    lazy = wr.open_masks(cache).pixel_mask
    whole = xarray.DataArray(PixelMasks(cache / "pixel_masks.json").all("mask"), dims=lazy.dims)
    np.testing.assert_array_equal(lazy.isel(index).values, whole.isel(index).values)


def test_the_cache_of_a_run_is_found_and_several_are_named(cache, tmp_path):
    run = cache.parents[3]
    assert wr.open_masks(run).attrs["path"] == str(cache)
    assert wr.open_masks(run, SPLIT, round=1).attrs["path"] == str(cache)
    with pytest.raises(ValueError, match=r"no caches of predictor nearest, split dynamic_train; name .*\n .*renderer"):
        wr.open_masks(run, SPLIT, predictor="nearest")
    with pytest.raises(ValueError, match="does not exist"):
        wr.open_masks(tmp_path / "nowhere")


def test_a_damaged_cache_is_refused_by_name(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "copy")
    (part,) = PixelMasks(tmp_path / "copy" / "pixel_masks.json").parts
    (file,) = [path for path in (part.path / "mask" / "c").rglob("*") if path.is_file()]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"pixel_masks.* bytes"):
        wr.open_masks(tmp_path / "copy").pixel_mask.load()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "pairs.zarr"
    write(path, content())
    return path


def test_frames_are_those_of_the_store(store):
    frames, scenes = wr.open_frames(store), content()
    assert (len(frames), frames.scenes) == (sum(LENGTHS), ["scene0", "scene1", "scene2"])
    item = frames[6]
    assert (item["scene"], item["frame"], item["index"]) == ("scene1", 1, 6)
    assert item["image"].dtype == item["clean"].dtype == item["c2w"].dtype == torch.float32
    np.testing.assert_array_equal((item["image"] * 255).round().movedim(0, -1), scenes[1]["frames"][1])
    np.testing.assert_array_equal((item["clean"] * 255).round().movedim(0, -1), scenes[1]["clean"][1])
    np.testing.assert_array_equal(item["mask"], scenes[1]["masks"][1])
    np.testing.assert_allclose(item["c2w"], scenes[1]["c2w"][1], rtol=1e-6)
    assert frames[-1]["index"] == len(frames) - 1
    assert frames.clip("scene2")["image"].shape == (7, 3, 16, 16)
    with pytest.raises(IndexError, match="15 frames; asked for 15"):
        frames[15]
    with pytest.raises(ValueError, match="no clip 'other'"):
        frames.clip("other")


def test_a_loader_with_workers_gives_every_frame_once(store):
    loader = DataLoader(wr.open_frames(store), batch_size=4, shuffle=True, num_workers=1)
    batches = list(loader)
    assert sorted(index for batch in batches for index in batch["index"].tolist()) == list(range(15))
    assert batches[0]["image"].shape == (4, 3, 16, 16)
    assert set(batches[0]["scene"]) <= {"scene0", "scene1", "scene2"}


def test_the_split_of_a_run_is_named(cache):
    run = cache.parents[3]
    assert len(wr.open_frames(run, SPLIT)) == len(wr.open_masks(run).frame)
    with pytest.raises(ValueError, match=f"is a run; name one of its splits: {SPLIT}"):
        wr.open_frames(run)
    with pytest.raises(ValueError, match="is no folder of a run"):
        wr.open_frames(run / "frames" / f"{SPLIT}.json", SPLIT)


def test_the_code_of_the_document_reads_a_run(cache):
    text = Path("docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    reading = [block for block in blocks if "wr.open_" in block]
    assert len(reading) == 2
    names = {"wr": wr, "torch": torch}
    for block in reading:
        exec(re.sub(r'"results/demo", "\w+"', f"{str(cache.parents[3])!r}, {SPLIT!r}", block), names)
    assert names["moving"].dims == ("scene",)
    assert next(iter(names["loader"]))["image"].shape[1:] == (3, 24, 24)


def test_pseudo_masks_of_a_video_are_those_of_masks_run(monkeypatch, tmp_path):
    calls = []

    def stand_in(videos, workspace, **options):
        calls.append((videos, workspace.folder, options))
        return SimpleNamespace(coverage=0.25, refused={"b.heic": "not read"})

    monkeypatch.setattr(api_masks, "video_masks", stand_in)
    made = wr.pseudo_masks("walk.mp4", wr.load(), out=tmp_path, fps=2.0, cores=1)
    ((videos, folder, options),) = calls
    assert (videos, folder) == ([Path("walk.mp4")], tmp_path)
    assert options["checkpoint"] == wr.load().folder
    assert (options["options"], options["cores"]) == ({"fps": 2, "clip_length": None}, 1)
    assert (made.coverage, made.refused) == (0.25, {"b.heic": "not read"})
    monkeypatch.setattr(api_masks, "open_masks", lambda *named: xarray.Dataset(attrs={"named": named}))
    assert made.open().named == (tmp_path, VIDEO_SPLIT)
