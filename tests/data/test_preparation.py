"""Preparation: what the embedded writers wrote is read back by the outside readers; determinism; reports."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from wildrayzer.config.sections.data import DataConfig, EmbeddedConfig, EmbeddedSplit, SplitConfig, StoreConfig
from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.data.copy_paste.cutouts import CutoutLibrary
from wildrayzer.data.embedded import cutouts
from wildrayzer.data.embedded.splits import make_clip
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.report import report_path
from wildrayzer.io.files import read_json
from wildrayzer.stages.prepare import make_cutouts, make_embedded, prepare_split

SIZE = 32
SPLITS = {
    "static": EmbeddedSplit(scenes=5, layout="pixelsplat"),
    "dynamic": EmbeddedSplit(scenes=3, movers="actors"),
    "pairs": EmbeddedSplit(scenes=4, movers="actors", truth="masks_and_clean"),
    "frozen": EmbeddedSplit(scenes=4, movers="actors", truth="masks_and_clean", frozen=True, reuse_seed_of="pairs"),
}
ROLES = {"static": "static", "dynamic": "dynamic", "pairs": "pairs", "frozen": "pairs"}


def data_config(**options) -> DataConfig:
    splits = {
        name: SplitConfig(layout="embedded", role=role, purpose="train" if name in ("static", "dynamic") else "test")
        for name, role in ROLES.items()
    }
    embedded = EmbeddedConfig(frames=4, cutouts=6, splits=SPLITS, **options)
    return DataConfig(splits=splits, static_train="static", dynamic_train="dynamic", embedded=embedded)


CONFIG = data_config()


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    for name in SPLITS:
        make_embedded(CONFIG.embedded, image_size=SIZE, split=name, out_dir=root / name)
    return root


def prepare(raw: Path, name: str, out: Path, *, image_size: int = SIZE) -> tuple[dict, FrameStore]:
    path = out / f"{name}.json"
    report = prepare_split(CONFIG.splits[name], raw / name, path, image_size=image_size, store=StoreConfig())
    return report, FrameStore(path)


def files(folder: Path) -> dict[str, str]:
    """Digests of all files but hidden ones, such as locks."""
    found = (file for file in sorted(folder.rglob("[!.]*")) if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def made(name: str, number: int, key: str):
    return make_clip(number, config=CONFIG.embedded, split=SPLITS[name], key=key, image_size=SIZE)


def test_pairs_come_back_without_loss(raw, tmp_path):
    report, store = prepare(raw, "pairs", tmp_path)
    counts = {"expected": None, "found": 4, "taken": 4, "used": 4, "skipped": 0, "unlisted": 0}
    assert report["scenes"] == counts
    assert report["frames"] == {"expected": None, "found": 16, "used": 16}
    assert report["digest"] == store.digest
    assert read_json(report_path(tmp_path / "pairs.json")) == report
    assert store.scenes == [f"pairs_{number:05d}" for number in range(4)]
    for number in range(4):
        clip = made("pairs", number, "pairs")
        index = np.arange(4) + store.offsets[number]
        assert np.array_equal(store.read(index), clip.rendering.frames)
        assert np.array_equal(store.read_clean(index), clip.rendering.clean)
        assert np.array_equal(store.read_masks(index), clip.rendering.masks)
        c2w, intrinsics = store.cameras(index)
        assert np.allclose(c2w, clip.clip.c2w, atol=1e-12)
        assert np.allclose(intrinsics, [1.25, 1.25, 0.5, 0.5])


def test_chunks_come_back_but_for_jpeg(raw, tmp_path):
    report, store = prepare(raw, "static", tmp_path)
    assert report["notes"] == []
    assert not store.has_masks
    assert not store.has_clean
    for number in range(5):
        clip = made("static", number, "static")
        index = np.arange(4) + store.offsets[number]
        assert np.abs(store.read(index).astype(int) - clip.rendering.frames).mean() < 3
        c2w, intrinsics = store.cameras(index)
        assert np.allclose(c2w, clip.clip.c2w, atol=1e-6)
        assert np.allclose(intrinsics, [1.25, 1.25, 0.5, 0.5])


def test_the_chunk_layout_is_pixelsplats(raw):
    import torch

    index = json.loads((raw / "static" / "index.json").read_text())
    assert index == {f"static_{number:05d}": "000000.torch" for number in range(5)}
    scenes = torch.load(raw / "static" / "000000.torch", weights_only=True)
    assert set(scenes[0]) == {"key", "url", "timestamps", "cameras", "images"}
    assert scenes[0]["cameras"].shape == (4, 18)
    assert scenes[0]["cameras"].dtype == torch.float32
    assert scenes[0]["images"][0].dtype == torch.uint8
    assert bytes(scenes[0]["images"][0][:3].tolist()) == b"\xff\xd8\xff"
    assert (scenes[0]["timestamps"].diff() > 0).all()


def test_frozen_clips_repeat_cameras_and_clean_twins(raw, tmp_path):
    _, pairs = prepare(raw, "pairs", tmp_path)
    _, frozen = prepare(raw, "frozen", tmp_path)
    index = np.arange(16)
    assert frozen.scenes[0] == "frozen_00000"
    assert np.array_equal(pairs.cameras(index)[0], frozen.cameras(index)[0])
    assert np.array_equal(pairs.read_clean(index), frozen.read_clean(index))
    assert not np.array_equal(pairs.read(index), frozen.read(index))


def test_making_and_preparing_are_byte_identical_whatever_the_processes(raw, tmp_path):
    for name in ("static", "pairs"):
        make_embedded(CONFIG.embedded, image_size=SIZE, split=name, out_dir=tmp_path / "two" / name, threads=2)
        assert files(raw / name) == files(tmp_path / "two" / name)
        for out in ("one", "two"):
            prepare(tmp_path / "two", name, tmp_path / "frames" / out)
    assert files(tmp_path / "frames" / "one") == files(tmp_path / "frames" / "two")


def test_another_seed_gives_other_clips(raw, tmp_path):
    make_embedded(data_config(seed=1).embedded, image_size=SIZE, split="dynamic", out_dir=tmp_path / "dynamic")
    one, two = files(raw / "dynamic"), files(tmp_path / "dynamic")
    images = [name for name in one if name.endswith(".png")]
    assert images
    assert all(one[name] != two[name] for name in images)


def test_frames_are_resized_and_cameras_keep_their_normalised_numbers(raw, tmp_path):
    _, large = prepare(raw, "pairs", tmp_path)
    (tmp_path / "half").mkdir()
    _, small = prepare(raw, "pairs", tmp_path / "half", image_size=16)
    index = np.arange(16)
    assert small.read(index).shape == (16, 16, 16, 3)
    box = large.read(index).reshape(16, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(small.read(index) - box).mean() < 4
    assert np.array_equal(large.cameras(index)[1], small.cameras(index)[1])
    shares = large.read_masks(index).mean(), small.read_masks(index).mean()
    assert shares[0] == pytest.approx(shares[1], abs=0.03)


def test_cutouts_are_a_coco_set(tmp_path):
    make_cutouts(CONFIG.embedded, out_dir=tmp_path)
    annotations = tmp_path / "annotations" / "instances_train2014.json"
    coco = COCO(str(annotations))
    assert {row["supercategory"] for row in coco.loadCats(coco.getCatIds())} == {"person", "vehicle", "animal"}
    found = coco.loadAnns(coco.getAnnIds())
    assert len(found) == 6
    for row in found:
        mask = coco.annToMask(row)
        assert mask.shape == (128, 128)
        assert mask.sum() == pytest.approx(row["area"], rel=0.1)
    library = CutoutLibrary.from_coco(annotations, tmp_path / "train2014", PasteConfig(), max_size=64)
    assert len(library) == 6
    make_cutouts(CONFIG.embedded, out_dir=tmp_path / "again", threads=2)
    first = {name: digest for name, digest in files(tmp_path).items() if not name.startswith("again")}
    assert files(tmp_path / "again") == first


def test_cutouts_of_the_default_family_are_not_drawn_by_the_movers_generator(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("the movers' generator was called")

    monkeypatch.setattr(cutouts, "actor_solids", refuse)
    make_cutouts(CONFIG.embedded, out_dir=tmp_path / "other")
    movers = CONFIG.embedded.model_copy(update={"cutout_family": "movers"})
    with pytest.raises(AssertionError, match="generator was called"):
        make_cutouts(movers, out_dir=tmp_path / "movers")


def test_contradictory_requests_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"data\.embedded\.splits has no 'other'"):
        make_embedded(CONFIG.embedded, image_size=SIZE, split="other", out_dir=tmp_path)
    splits = {"static": SPLITS["static"].model_copy(update={"movers": "actors", "truth": "masks"})}
    wrong = CONFIG.embedded.model_copy(update={"splits": splits})
    with pytest.raises(ValueError, match="layout: pixelsplat cannot hold truth: masks; use layout: lvsm"):
        make_embedded(wrong, image_size=SIZE, split="static", out_dir=tmp_path / "x")
