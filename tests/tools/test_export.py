"""Exports: every format read back by a public reader of it, polarity, gauge, and what is refused."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from tests.helpers.inspect_run import write_masks, write_residuals
from wildrayzer.cli.main import app
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore, adopt_store
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.data.readers.davis import DavisReader
from wildrayzer.io.files import read_json, write_json
from wildrayzer.tools.export.cameras import checked
from wildrayzer.tools.export.pictures import davis_palette
from wildrayzer.tools.export.source import PREDICTED, Camera, ExportFrame

SIZE = 16
LENGTHS = {"clip_a": 3, "clip_b": 2}
MASK = np.zeros((SIZE, SIZE), np.uint8)
MASK[2:6, 4:10] = 1
MASK[12:, 12:] = 255


def turned(degrees: float, centre: tuple[float, float, float]) -> np.ndarray:
    """Camera-to-world of a camera at `centre`, turned about its y axis."""
    angle = np.radians(degrees)
    c2w = np.eye(4)
    c2w[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    c2w[:3, 3] = centre
    return c2w


C2W = np.stack([turned(10 * number, (number, 0.5, -number)) for number in range(5)])
INTRINSICS = np.tile([0.9, 1.1, 0.5, 0.45], (5, 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A frame store with true masks and cameras; its manifest."""
    path = tmp_path_factory.mktemp("run") / "frames" / "test.json"
    rng = np.random.default_rng(0)
    with FrameStoreWriter(path.with_suffix(".zarr"), StoreForm(SIZE, StoreConfig(), cameras=True, masks=True),
                          {"role": "dynamic"}) as writer:  # fmt: skip
        start = 0
        for name, length in LENGTHS.items():
            rows, start = slice(start, start + length), start + length
            frames = rng.integers(0, 256, (length, SIZE, SIZE, 3), np.uint8)
            masks = np.stack([MASK] * length)
            masks[1] = 0
            writer.add_scene(name, frames, c2w=C2W[rows], intrinsics=INTRINSICS[rows], masks=masks)
    adopt_store(path.with_suffix(".zarr"), path)
    return path


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def exported(kind, source, to, out, *options):
    result = run(kind, source, "--to", to, "--out", out, *options)
    assert result.exit_code == 0, result.stderr
    return out


def test_davis_masks_are_palette_png_with_void(store, tmp_path):
    out = exported("masks", store, "davis", tmp_path / "out")
    with Image.open(out / "Annotations/480p/clip_a/00000.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        np.testing.assert_array_equal(np.asarray(image), MASK)
    assert (out / "ImageSets/2017/val.txt").read_text() == "clip_a\nclip_b\n"
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.jpg"))
    assert names[-1] == "JPEGImages/480p/clip_b/00001.jpg"
    assert len(names) == 5
    about = read_json(out / "export.json")
    assert about["polarity"].startswith("0 = static, 1 = transient")
    assert "cameras" not in about


def test_masks_in_the_layout_of_davis_come_back_as_they_were(store, tmp_path):
    out = exported("frames", store, "davis", tmp_path / "out")
    scene = DavisReader(out).read("clip_a", image_size=SIZE)
    np.testing.assert_array_equal(scene.masks[0], MASK)
    assert (len(scene.frames), int(scene.masks[1].max())) == (3, 0)


def test_davis_palette_is_that_of_pascal_voc():
    palette = np.reshape(davis_palette(), (256, 3))
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 255: (224, 224, 192)}
    for number, colour in expected.items():
        assert tuple(palette[number]) == colour


def test_coco_is_read_by_pycocotools(store, tmp_path, capsys):
    out = exported("masks", store, "coco", tmp_path / "out", "--no-frames")
    coco = COCO(out / "annotations.json")
    assert len(coco.getImgIds()) == 5
    assert [coco.imgs[number]["file_name"] for number in (1, 5)] == ["clip_a/00000.png", "clip_b/00001.png"]
    (moving,), (unknown,) = (coco.loadAnns(coco.getAnnIds(imgIds=1, iscrowd=crowd)) for crowd in (False, True))
    np.testing.assert_array_equal(coco.annToMask(moving), MASK == 1)
    np.testing.assert_array_equal(coco.annToMask(unknown), MASK == 255)
    assert (moving["area"], moving["bbox"]) == (24, [4, 2, 6, 4])
    assert coco.getAnnIds(imgIds=2) == []
    assert not (out / "images").exists()


def test_nerfstudio_masks_keep_what_is_white(store, tmp_path):
    out = exported("cameras", store, "nerfstudio", tmp_path / "out", "--scene", "clip_a")
    document = read_json(out / "clip_a" / "transforms.json")
    assert (document["w"], document["h"]) == (SIZE, SIZE)
    assert [document[key] for key in ("fl_x", "fl_y", "cx", "cy")] == pytest.approx([14.4, 17.6, 8, 7.2])
    frame = document["frames"][1]
    pose = np.array(frame["transform_matrix"])
    np.testing.assert_allclose(pose[:3, 3], C2W[1, :3, 3])
    # nerfstudio's cameras look along −z with y up
    np.testing.assert_allclose(-pose[:3, 2], C2W[1, :3, 2])
    np.testing.assert_allclose(-pose[:3, 1], C2W[1, :3, 1])
    with Image.open(out / "clip_a" / document["frames"][0]["mask_path"]) as mask:
        np.testing.assert_array_equal(np.asarray(mask) > 0, MASK == 0)
    assert all((out / "clip_a" / entry["file_path"]).is_file() for entry in document["frames"])
    assert "data set" in document["comment"]
    assert not (out / "clip_b").exists()


def quaternion_matrix(q):
    """COLMAP's rotation matrix of QW QX QY QZ."""
    w, x, y, z = q
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def test_colmap_text_by_its_rules(store, tmp_path):
    """Lines that begin with # are comments; an image has two lines, the second of which may be empty."""
    out = exported("cameras", store, "colmap", tmp_path / "out")
    model = out / "clip_b" / "sparse" / "0"
    cameras = [line.split() for line in (model / "cameras.txt").read_text().splitlines() if line[0] != "#"]
    assert cameras[0][:4] == ["1", "PINHOLE", str(SIZE), str(SIZE)]
    assert [float(value) for value in cameras[0][4:]] == pytest.approx([14.4, 17.6, 8, 7.2])
    lines = [line for line in (model / "images.txt").read_text().split("\n") if not line.startswith("#")]
    assert lines[1::2] == ["", ""]
    for number, line in enumerate(lines[0:4:2]):
        words = line.split()
        assert (words[0], words[8], words[9]) == (str(number + 1), "1", f"{number:05d}.png")
        values = [float(word) for word in words[1:8]]
        w2c = np.linalg.inv(C2W[3 + number])
        np.testing.assert_allclose(quaternion_matrix(values[:4]), w2c[:3, :3], atol=1e-12)
        np.testing.assert_allclose(values[4:], w2c[:3, 3], atol=1e-12)
    assert all(line.startswith("#") for line in (model / "points3D.txt").read_text().splitlines())
    # COLMAP names the mask of an image IMAGE.png, and reads black as ignored
    with Image.open(out / "clip_b" / "masks" / "00000.png.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) == 0, MASK != 0)


def test_colmap_is_read_by_pycolmap(store, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    out = exported("cameras", store, "colmap", tmp_path / "out")
    model = pycolmap.Reconstruction(out / "clip_a" / "sparse" / "0")
    assert (model.num_images(), model.num_points3D(), model.num_cameras()) == (3, 0, 1)
    for number, image in model.images.items():
        w2c = np.linalg.inv(C2W[number - 1])[:3]
        np.testing.assert_allclose(image.cam_from_world().matrix(), w2c, atol=1e-9)
        # a point one unit ahead of the camera lands on the principal point
        ahead = C2W[number - 1] @ [0, 0, 1, 1]
        np.testing.assert_allclose(image.project_point(ahead[:3]), [8, 7.2], atol=1e-6)


def test_webdataset_reads_the_shards(store, tmp_path):
    out = exported("frames", store, "webdataset", tmp_path / "out", "--per-shard", "2")
    shards = sorted(out.glob("*.tar"))
    assert [shard.name for shard in shards] == [f"frames-{number:06d}.tar" for number in range(3)]
    samples = list(webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples][2:4] == ["clip_a/00002", "clip_b/00000"]
    np.testing.assert_array_equal(samples[3]["mask.png"][..., 0], MASK)
    np.testing.assert_allclose(samples[3]["json"]["c2w"], C2W[3])
    assert samples[3]["png"].shape == (SIZE, SIZE, 3)


def test_shards_are_the_same_bytes_again(store, tmp_path):
    shards = [exported("frames", store, "webdataset", tmp_path / name) / "frames-000000.tar" for name in "ab"]
    assert shards[0].read_bytes() == shards[1].read_bytes()
    with tarfile.open(shards[0]) as archive:
        assert archive.getnames()[:3] == ["clip_a/00000.json", "clip_a/00000.png", "clip_a/00000.mask.png"]


def test_masks_of_a_cache_are_its_refined_ones(store, tmp_path):
    digest = FrameStore(store).digest
    coarse, pixels = np.zeros((5, 2, 2)), np.zeros((5, SIZE, SIZE))
    coarse[0, 0, 0] = 1
    pixels[0, 1:3, 1:3], pixels[4] = 1, 255
    maps = write_residuals(
        tmp_path, coarse, coarse, np.full(5, 20.0), np.zeros(5), digests={"store": digest},
        lengths=[3, 2], scenes=list(LENGTHS),
    )  # fmt: skip
    write_masks(tmp_path, coarse, pixels, parent=maps.digest)
    out = exported("masks", tmp_path, "davis", tmp_path / "out", "--store", store, "--no-frames")
    found = np.asarray(Image.open(out / "Annotations/480p/clip_a/00000.png"))
    np.testing.assert_array_equal(found, pixels[0])
    about = read_json(out / "export.json")
    assert "refined" in about["masks"]
    assert about["counts"] == {"scenes": 2, "frames": 5, "masks": 5, "masks_unknown": 1}
    # without --store nothing says which frames these are
    result = run("masks", tmp_path, "--to", "davis", "--out", tmp_path / "other")
    assert result.exit_code == 2
    assert "--store" in result.stderr
    assert not (tmp_path / "other").exists()


@pytest.fixture
def views(tmp_path):
    """What `render --masks` writes of three views in two passes."""
    folder = tmp_path / "views"
    for name in ("recorded", "renderings", "masks"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((SIZE, SIZE, 3), 10 * number, np.uint8)
            if name == "masks":
                pixels = np.where(MASK == 1, 200, 100).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")
    entries = [
        {"name": f"p{number}.jpg", "input": number < 2, "c2w": np.eye(4).tolist(), "fxfycxcy": [1, 1, 0.5, 0.5],
         "c2w_common": C2W[number].tolist()}
        for number in range(4)
    ]  # fmt: skip
    about = {"checkpoint": "joint", "weights_digest": "0", "masks": True, "targets": 1, "views": entries}
    write_json(folder / "render.json", about)
    return folder


def test_rendered_views_have_one_frame_of_reference_and_say_gauge(views, tmp_path):
    out = exported("cameras", views, "nerfstudio", tmp_path / "out")
    document = read_json(out / "views" / "transforms.json")
    assert PREDICTED in document["comment"]
    np.testing.assert_allclose(np.array(document["frames"][3]["transform_matrix"])[:3, 3], C2W[3, :3, 3])
    with Image.open(out / "views" / document["frames"][0]["mask_path"]) as mask:
        np.testing.assert_array_equal(np.asarray(mask) == 0, MASK == 1)
    assert PREDICTED in read_json(out / "export.json")["cameras"]
    colmap = exported("cameras", views, "colmap", tmp_path / "colmap", "--rendered")
    assert PREDICTED in (colmap / "views/sparse/0/images.txt").read_text()
    assert not (colmap / "views" / "masks").exists()


def test_views_of_several_passes_without_a_common_frame_are_refused(views, tmp_path):
    about = json.loads((views / "render.json").read_text())
    for entry in about["views"]:
        del entry["c2w_common"]
    write_json(views / "render.json", about)
    result = run("cameras", views, "--to", "colmap", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "several passes" in result.stderr
    assert "at most 3 views" in result.stderr


def test_a_folder_that_exists_is_refused(store, tmp_path):
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    result = run("masks", store, "--to", "coco", "--out", out)
    assert (result.exit_code, (out / "mine").exists()) == (2, True)
    assert "is no earlier export; name another folder" in result.stderr
    result = run("masks", store, "--to", "coco", "--out", out, "--overwrite")
    assert (result.exit_code, (out / "mine").exists()) == (2, True)


def test_an_earlier_export_is_replaced_only_on_request(store, tmp_path):
    out = exported("masks", store, "coco", tmp_path / "out")
    result = run("masks", store, "--to", "davis", "--out", out)
    assert result.exit_code == 2
    assert "replace it with --overwrite" in result.stderr
    assert (out / "annotations.json").is_file()
    exported("masks", store, "davis", out, "--overwrite")
    assert not (out / "annotations.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cameras", "{bare}", "--to", "colmap"], "has no cameras; predict them with `wildrayzer render"),
        (["masks", "{bare}", "--to", "coco"], "has no masks"),
        (["frames", "{bare}", "--to", "webdataset", "--scene", "nothing"], "no scene of"),
        (["frames", "{empty}", "--to", "webdataset"], "holds nothing that can be exported"),
        (["frames", "{empty}/none", "--to", "webdataset"], "does not exist"),
        (["frames", "{bare}", "--to", "webdataset", "--store", "x"], "leave --store out"),
        (["cameras", "{bare}", "--to", "colmap", "--rendered"], "leave --rendered out"),
        (["frames", "{odd}", "--to", "webdataset"], "'../away' cannot be the name of a folder"),
    ],
)
def test_bad_input_is_refused_by_name(tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    for key, scene in (("bare", "clip"), ("odd", "../away")):
        folder = tmp_path / f"{key}.zarr"
        with FrameStoreWriter(folder, StoreForm(SIZE, StoreConfig(), cameras=False), {"role": "dynamic"}) as writer:
            writer.add_scene(scene, np.zeros((2, SIZE, SIZE, 3), np.uint8))
    places = {"bare": tmp_path / "bare.zarr", "odd": tmp_path / "odd.zarr", "empty": tmp_path / "empty"}
    result = run(*(word.format(**places) for word in words), "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()
    assert list(Path(tmp_path).glob(".out*")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [({"intrinsics": np.array([-1.0, 1, 0.5, 0.5])}, "focal"), ({"c2w": np.diag([1.0, -1, 1, 1])}, "no rigid motion"),
     ({"c2w": np.full((4, 4), np.nan)}, "not finite")],
)  # fmt: skip
def test_broken_cameras_are_refused(change, said):
    camera = Camera(**({"c2w": np.eye(4), "intrinsics": INTRINSICS[0]} | change))
    frame = ExportFrame(7, np.zeros((4, 4, 3), np.uint8), None, camera)
    with pytest.raises(ValueError, match=f"clip, frame 7: the camera .*{said}"):
        checked(frame, where="clip")
