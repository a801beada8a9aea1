"""The readers: geometry of the fit, and every kind of bad input, each with its reason."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from wildrayzer.config.sections.data import SplitConfig, StoreConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.report import refused_path, report_path
from wildrayzer.data.readers.base import Fit
from wildrayzer.io.files import read_json
from wildrayzer.stages.prepare import prepare_split

SIZE = 16


def picture(width: int = SIZE, height: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def split(layout: str, role: str = "dynamic", **options) -> SplitConfig:
    return SplitConfig(layout=layout, path="given", role=role, purpose="test", **options)


def prepared(layout: str, folder: Path, *, max_skipped: float = 1.0, role: str = "dynamic", **options):
    out = folder.parent / "out.json"
    config = StoreConfig(max_skipped=max_skipped)
    report = prepare_split(split(layout, role, **options), folder, out, image_size=SIZE, store=config)
    return report, FrameStore(out)


class Lvsm:
    """A processed folder with scenes of four frames, to be broken by the tests."""

    def __init__(
        self, folder: Path, scenes: tuple[str, ...] = ("good", "bad"), *, size: tuple[int, int] = (SIZE, SIZE)
    ):
        self.folder = folder
        self.documents: dict[str, dict] = {}
        for name in scenes:
            (folder / "images" / name).mkdir(parents=True)
            frames = []
            for number in range(4):
                path = folder / "images" / name / f"{number:05d}.png"
                Image.fromarray(picture(*size, seed=number)).save(path)
                fxfycxcy = [size[0], size[1], size[0] / 2, size[1] / 2]
                w2c = np.eye(4)
                w2c[0, 3] = -number
                frame = {"image_path": f"../images/{name}/{path.name}", "fxfycxcy": fxfycxcy, "w2c": w2c.tolist()}
                frames.append(frame)
            self.documents[name] = {"scene_name": name, "frames": frames}
        self.save()

    def save(self, listing: list[str] | None = None) -> None:
        (self.folder / "metadata").mkdir(exist_ok=True)
        for name, document in self.documents.items():
            (self.folder / "metadata" / f"{name}.json").write_text(json.dumps(document))
        lines = listing or [f"metadata/{name}.json" for name in self.documents]
        (self.folder / "full_list.txt").write_text("\n".join(lines) + "\n")

    def masks(self, name: str, *, first: int = 0, shape: tuple[int, int] = (SIZE, SIZE)) -> None:
        folder = self.folder / "binary_masks" / name
        folder.mkdir(parents=True)
        for number in range(4):
            mask = np.zeros(shape, np.uint8)
            mask[: 2 * number] = 1
            np.save(folder / f"{number + first:05d}.npy", mask)


@pytest.fixture
def lvsm(tmp_path) -> Lvsm:
    return Lvsm(tmp_path / "raw")


def chunk_scene(key: str, frames: int = 4) -> dict:
    cameras = torch.zeros(frames, 18)
    cameras[:, :4] = torch.tensor([1.0, 1.0, 0.5, 0.5])
    cameras[:, 6:] = torch.eye(4)[:3].flatten()
    images = [cv2.imencode(".jpg", picture(seed=number))[1].ravel() for number in range(frames)]
    return {
        "key": key,
        "url": "",
        "timestamps": torch.arange(frames),
        "cameras": cameras,
        "images": [torch.from_numpy(image) for image in images],
    }


def chunks(folder: Path, *groups: list[dict], index: bool = True) -> Path:
    folder.mkdir()
    where = {}
    for number, scenes in enumerate(groups):
        torch.save(scenes, folder / f"{number:06d}.torch")
        where |= {scene["key"]: f"{number:06d}.torch" for scene in scenes}
    if index:
        (folder / "index.json").write_text(json.dumps(where))
    return folder


def test_fit_crops_the_middle_and_takes_the_intrinsics_along():
    # 640 × 360 → 256 high, 640 · 256 / 360 = 455.1 → 448 wide; crop (448 − 256) / 2 = 96 left
    fit = Fit.of(640, 360, 256)
    assert (fit.width, fit.height, fit.left, fit.top) == (448, 256, 96, 0)
    # 0.5 · 448 / 256 = 0.875; the centre stays in the middle: 0.5 · 1.75 − 96 / 256 = 0.5
    assert np.allclose(fit.intrinsics(np.array([0.5, 0.9, 0.5, 0.5])), [0.875, 0.9, 0.5, 0.5])
    # a pixel 0.25 of the width right of the middle: 0.75 · 1.75 − 0.375 = 0.9375
    assert fit.intrinsics(np.array([0, 0, 0.75, 0.25]))[2:] == pytest.approx([0.9375, 0.25])
    assert Fit.of(360, 640, 256).top == 96
    square = picture()
    assert np.array_equal(Fit.of(SIZE, SIZE, SIZE).image(Image.fromarray(square)), square)


def test_wide_frames_are_cropped_and_their_masks_with_them(tmp_path):
    raw = Lvsm(tmp_path / "raw", ("wide",), size=(64, 32))
    mask = np.zeros((32, 64), np.uint8)
    mask[:, 16:32] = 1  # left half of the middle square
    folder = raw.folder / "binary_masks" / "wide"
    folder.mkdir(parents=True)
    np.save(folder / "00000.npy", mask)
    _, store = prepared("lvsm", raw.folder)
    masks = store.read_masks(np.arange(4))
    assert masks[0, :, :8].all()
    assert not masks[0, :, 8:].any()
    assert (masks[1:] == 255).all()  # no file: unknown
    assert np.allclose(store.cameras(np.arange(4))[1], [2, 1, 0.5, 0.5])


def test_camera_to_world_is_read_either_way(lvsm):
    for frame in lvsm.documents["bad"]["frames"]:
        frame["transform_matrix"] = np.linalg.inv(np.array(frame.pop("w2c"))).tolist()
    lvsm.save()
    _, store = prepared("lvsm", lvsm.folder)
    c2w = store.cameras(np.arange(8))[0]
    assert np.allclose(c2w[:4], c2w[4:])
    assert c2w[:4, 0, 3].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("first", [0, 1])
def test_masks_may_count_from_one(lvsm, first):
    lvsm.masks("good", first=first)
    _, store = prepared("lvsm", lvsm.folder)
    masks = store.read_masks(np.arange(8))
    assert masks[:4].sum((1, 2)).tolist() == [0, 2 * SIZE, 4 * SIZE, 6 * SIZE]
    assert (masks[4:] == 255).all()


def test_masks_may_be_pictures(lvsm):
    lvsm.masks("good")
    folder = lvsm.folder / "binary_masks" / "good"
    for file in list(folder.iterdir()):
        Image.fromarray(np.load(file) * np.uint8(255)).save(file.with_suffix(".png"))
        file.unlink()
    _, store = prepared("lvsm", lvsm.folder)
    assert store.read_masks(np.arange(4)).sum((1, 2)).tolist() == [0, 2 * SIZE, 4 * SIZE, 6 * SIZE]


def test_255_beside_1_is_unknown_and_beside_0_alone_is_transient(lvsm):
    for scene, values in (("good", [0, 1, 255, 0]), ("bad", [0, 255, 255, 0])):
        folder = lvsm.folder / "binary_masks" / scene
        folder.mkdir(parents=True)
        for number, value in enumerate(values):
            np.save(folder / f"{number:05d}.npy", np.full((SIZE, SIZE), value, np.uint8))
    _, store = prepared("lvsm", lvsm.folder)
    assert store.read_masks(np.arange(8))[:, 0, 0].tolist() == [0, 1, 255, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32])
def test_negative_masks_are_refused(lvsm, dtype):
    lvsm.masks("bad")
    np.save(lvsm.folder / "binary_masks" / "bad" / "00002.npy", np.full((SIZE, SIZE), -1, dtype))
    report, _ = prepared("lvsm", lvsm.folder)
    assert report["reasons"] == {"mask has negative values": 1}


def test_masks_under_names_that_say_no_frame_are_refused(lvsm):
    (lvsm.folder / "binary_masks" / "bad").mkdir(parents=True)
    (lvsm.folder / "binary_masks" / "bad" / "frame_0.png").touch()
    report, _ = prepared("lvsm", lvsm.folder)
    assert report["reasons"] == {"mask names are unknown": 1}


@pytest.mark.parametrize(
    ("folder", "note"),
    [
        ("masks/good", "masks may hold masks and is not read; masks are read from binary_masks/"),
        ("binary_masks/other", "binary_masks holds no folder of any scene: all masks are unknown"),
    ],
)
def test_masks_in_another_place_are_noted(lvsm, folder, note):
    (lvsm.folder / folder).mkdir(parents=True)
    report, _ = prepared("lvsm", lvsm.folder)
    assert note in report["notes"]


def test_intrinsics_in_another_unit_or_of_larger_frames_are_refused(tmp_path):
    raw = Lvsm(tmp_path / "lvsm", size=(64, 48))
    for frame in raw.documents["bad"]["frames"]:
        frame["fxfycxcy"] = [1.2, 1.6, 0.5, 0.5]
    raw.save()
    report, store = prepared("lvsm", raw.folder)
    assert (store.scenes, report["reasons"]) == (["good"], {"intrinsics do not fit the frames": 1})
    assert "[1.2, 1.6, 0.5, 0.5] looks normalised" in json.dumps(report["skipped"])
    for frame in raw.documents["bad"]["frames"]:
        frame["fxfycxcy"] = [110.0, 110.0, 64.2, 47.5]  # of frames twice as large
    raw.save()
    assert prepared("lvsm", raw.folder)[0]["reasons"] == {"intrinsics do not fit the frames": 1}
    pixels = chunk_scene("b")
    pixels["cameras"][:, :4] = torch.tensor([300.0, 300.0, 128.0, 128.0])
    report, store = prepared("pixelsplat", chunks(tmp_path / "chunks", [chunk_scene("a"), pixels]))
    assert (store.scenes, report["reasons"]) == (["a"], {"intrinsics do not fit the frames": 1})
    assert "divide pixels by width and height" in json.dumps(report["skipped"])


def test_lists_and_paths_of_windows_are_read(lvsm):
    for frame in lvsm.documents["bad"]["frames"]:
        frame["image_path"] = frame["image_path"].replace("/", "\\")
    lvsm.save(["metadata\\good.json", "D:\\set\\metadata\\bad.json"])
    assert prepared("lvsm", lvsm.folder)[1].scenes == ["good", "bad"]


def test_a_byte_order_mark_is_no_part_of_a_file(lvsm):
    for file in (lvsm.folder / "full_list.txt", lvsm.folder / "metadata" / "bad.json"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert prepared("lvsm", lvsm.folder)[1].scenes == ["good", "bad"]


def test_square_masks_of_another_size_are_of_the_cropped_frame(lvsm):
    lvsm.masks("good", shape=(2 * SIZE, 2 * SIZE))
    _, store = prepared("lvsm", lvsm.folder)
    assert store.read_masks(np.array([2])).sum() == 2 * SIZE


def test_absolute_lines_of_the_list_are_found_by_name(lvsm):
    lvsm.save(["/elsewhere/metadata/good.json", "/elsewhere/metadata/bad.json"])
    report, _ = prepared("lvsm", lvsm.folder)
    assert report["scenes"]["used"] == 2


def test_paths_of_another_machine_are_found_by_their_last_parts(lvsm):
    for frame in lvsm.documents["bad"]["frames"]:
        frame["image_path"] = "/elsewhere/processed/test/" + frame["image_path"].removeprefix("../")
    lvsm.save()
    assert prepared("lvsm", lvsm.folder)[1].scenes == ["good", "bad"]


def test_a_missing_list_is_rebuilt_from_the_scene_files_and_said_so(lvsm):
    (lvsm.folder / "full_list.txt").unlink()
    report, store = prepared("lvsm", lvsm.folder)
    assert store.scenes == ["bad", "good"]
    assert report["notes"] == ["full_list.txt is missing; scenes are those of metadata/"]


def test_scenes_named_twice_are_used_once_and_counted(lvsm):
    lvsm.save(["metadata/good.json", "metadata/bad.json", "other/good.json"])
    report, store = prepared("lvsm", lvsm.folder)
    assert store.scenes == ["good", "bad"]
    assert report["reasons"] == {"scene name is there twice": 1}
    assert list(report["skipped"]) == ["good (line 3)"]
    assert report["scenes"]["taken"] == 3
    with pytest.raises(ValueError, match="1 of 3 scenes cannot be used"):
        prepared("lvsm", lvsm.folder, max_skipped=0.2)


def test_sets_without_cameras_are_read(lvsm):
    for document in lvsm.documents.values():
        for frame in document["frames"]:
            del frame["w2c"], frame["fxfycxcy"]
    lvsm.save()
    report, store = prepared("lvsm", lvsm.folder)
    assert not store.has_cameras
    assert store.num_frames == 8
    assert report["notes"] == ["there are no cameras; training and masks need none"]
    assert report["content"]["turn_degrees"] is None
    with pytest.raises(ValueError, match="holds no cameras"):
        store.cameras(np.array([0]))


def test_pairs_in_the_layout_of_the_iphone_set(tmp_path):
    """Portrait frames, camera-to-world matrices, twins beside the frames, masks of the crop under the bare name."""
    raw = Lvsm(tmp_path / "raw", ("kitchen_context_2_split_0", "kitchen_context_2_split_1"), size=(24, 32))
    for document in raw.documents.values():
        for number, frame in enumerate(document["frames"]):
            frame["gt_image_path"] = frame["image_path"].replace("images", "gt_images")
            target = raw.folder / "metadata" / frame["gt_image_path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(24, 32, seed=10 + number)).save(target)
            frame["transform_matrix"] = np.linalg.inv(np.array(frame.pop("w2c"))).tolist()
    raw.save()
    raw.masks("kitchen", first=1)
    _, store = prepared("lvsm", raw.folder, role="pairs")
    index = np.arange(8)
    fit = Fit.of(24, 32, SIZE)
    assert (fit.width, fit.height) == (16, 16 * round(32 / 24))
    for number in range(4):
        assert np.array_equal(store.read(index)[number], fit.image(Image.fromarray(picture(24, 32, seed=number))))
        twin = fit.image(Image.fromarray(picture(24, 32, seed=10 + number)))
        assert np.array_equal(store.read_clean(index)[number], twin)
    assert store.read_masks(index).sum((1, 2)).tolist() == 2 * [0, 2 * SIZE, 4 * SIZE, 6 * SIZE]
    assert store.cameras(index)[0][:4, 0, 3].tolist() == [0, 1, 2, 3]


def _nan_camera(raw: Lvsm) -> None:
    raw.documents["bad"]["frames"][1]["w2c"][0][0] = float("nan")


def _no_camera(raw: Lvsm) -> None:
    del raw.documents["bad"]["frames"][1]["w2c"]


def _flat_camera(raw: Lvsm) -> None:
    raw.documents["bad"]["frames"][1]["w2c"][2] = [0, 0, 0, 0]


def _upwards(raw: Lvsm) -> None:
    Image.fromarray(picture()).save(raw.folder.parent / "outside.png")
    raw.documents["bad"]["frames"][2]["image_path"] = "../../outside.png"


def _absolute(raw: Lvsm) -> None:
    raw.documents["bad"]["frames"][2]["image_path"] = "/etc/hostname"


def _link(raw: Lvsm) -> None:
    Image.fromarray(picture()).save(raw.folder.parent / "outside.png")
    image = raw.folder / "images" / "bad" / "00002.png"
    image.unlink()
    image.symlink_to(raw.folder.parent / "outside.png")


def _truncated(raw: Lvsm) -> None:
    image = raw.folder / "images" / "bad" / "00002.png"
    image.write_bytes(image.read_bytes()[:200])


def _no_image(raw: Lvsm) -> None:
    (raw.folder / "images" / "bad" / "00002.png").write_text("not an image")


def _missing_image(raw: Lvsm) -> None:
    (raw.folder / "images" / "bad" / "00002.png").unlink()


def _other_size(raw: Lvsm) -> None:
    Image.fromarray(picture(20, 20)).save(raw.folder / "images" / "bad" / "00002.png")


def _mask_size(raw: Lvsm) -> None:
    raw.masks("bad", shape=(SIZE, SIZE + 4))


def _mask_broken(raw: Lvsm) -> None:
    raw.masks("bad")
    (raw.folder / "binary_masks" / "bad" / "00001.npy").write_bytes(b"no array")


def _mask_numbers(raw: Lvsm) -> None:
    raw.masks("bad")
    (raw.folder / "binary_masks" / "bad" / "00000.npy").unlink()  # 1 to 3 of 4 frames: from 0 or from 1?


def _short_intrinsics(raw: Lvsm) -> None:
    raw.documents["bad"]["frames"][1]["fxfycxcy"] = [1.0, 2.0]


def _two_frames(raw: Lvsm) -> None:
    del raw.documents["bad"]["frames"][2:]


def _no_frames(raw: Lvsm) -> None:
    raw.documents["bad"] = {"scene_name": "bad"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_nan_camera, "camera is not finite"),
        (_no_camera, "camera is missing or malformed"),
        (_flat_camera, "camera cannot be inverted"),
        (_upwards, "path leaves the data folder"),
        (_absolute, "path leaves the data folder"),
        (_link, "path leaves the data folder"),
        (_truncated, "image cannot be decoded"),
        (_no_image, "image cannot be decoded"),
        (_missing_image, "image is missing"),
        (_other_size, "frames differ in size"),
        (_mask_size, "mask has a wrong size"),
        (_mask_broken, "mask cannot be read"),
        (_mask_numbers, "mask numbers are unclear"),
        (_short_intrinsics, "camera is missing or malformed"),
        (_two_frames, "too few frames"),
        (_no_frames, "scene file cannot be read"),
    ],
)
def test_a_bad_scene_is_skipped_and_counted_with_its_reason(lvsm, damage, reason):
    damage(lvsm)
    lvsm.save()
    report, store = prepared("lvsm", lvsm.folder)
    assert store.scenes == ["good"]
    assert report["reasons"] == {reason: 1}
    assert report["skipped"]["bad"].startswith(reason)
    assert report["scenes"]["skipped"] == 1
    with pytest.raises(
        ValueError, match=rf"1 of 2 scenes cannot be used \({reason}: 1\), more than data\.store\.max_sk"
    ):
        prepared("lvsm", lvsm.folder, max_skipped=0.4)
    assert json.loads(refused_path(lvsm.folder.parent / "out.json").read_text())["reasons"] == {reason: 1}
    prepared("lvsm", lvsm.folder)
    assert not refused_path(lvsm.folder.parent / "out.json").exists()
    assert read_json(report_path(lvsm.folder.parent / "out.json")) == report


def test_a_listed_scene_without_file_and_a_clean_twin_that_is_missing_are_counted(lvsm):
    lvsm.save(["metadata/good.json", "metadata/nowhere.json"])
    report, _ = prepared("lvsm", lvsm.folder)
    assert report["reasons"] == {"scene file is missing": 1}
    for frame in lvsm.documents["good"]["frames"]:
        frame["gt_image_path"] = frame["image_path"]
    lvsm.save()
    report, store = prepared("lvsm", lvsm.folder, role="pairs")
    assert store.has_clean
    assert report["reasons"] == {"image is missing": 1}


def test_a_split_that_cannot_be_read_at_all_is_refused_with_the_remedy(lvsm, tmp_path):
    with pytest.raises(ValueError, match=r"data folder .*nowhere does not exist; set the split's `path`"):
        prepared("lvsm", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="role: pairs but no frame names a clean twin"):
        prepared("lvsm", lvsm.folder, role="pairs")
    (lvsm.folder / "full_list.txt").write_text("\n")
    with pytest.raises(ValueError, match="names no scenes"):
        prepared("lvsm", lvsm.folder)
    (lvsm.folder / "full_list.txt").unlink()
    for file in (lvsm.folder / "metadata").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"has neither full_list\.txt nor metadata/\*\.json"):
        prepared("lvsm", lvsm.folder)
    with pytest.raises(ValueError, match=r"neither index\.json nor \*\.torch chunks"):
        prepared("pixelsplat", lvsm.folder)


def test_the_limit_and_the_expected_count_are_honoured(lvsm):
    report, store = prepared("lvsm", lvsm.folder, limit=1, expected_scenes=3)
    assert store.scenes == ["good"]
    counts = {"expected": 3, "found": 2, "taken": 1, "used": 1, "skipped": 0, "unlisted": 0}
    assert report["scenes"] == counts
    assert report["notes"] == ["the split should have 3 scenes but 2 were found"]


def test_a_truncated_chunk_loses_its_scenes_alone(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("a")], [chunk_scene("b"), chunk_scene("c")])
    file = raw / "000001.torch"
    file.write_bytes(file.read_bytes()[:-300])
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert report["reasons"] == {"chunk cannot be read": 2}
    file.unlink()
    assert prepared("pixelsplat", raw)[0]["reasons"] == {"chunk is missing": 2}


class Payload:
    """Pickled code that would leave a file behind."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_code_in_a_chunk_is_refused_and_not_run(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("a")], [chunk_scene("b")])
    torch.save([Payload(tmp_path / "ran")], raw / "000001.torch")
    report, _ = prepared("pixelsplat", raw)
    assert report["reasons"] == {"chunk cannot be read": 1}
    assert not (tmp_path / "ran").exists()
    (raw / "000001.torch").write_bytes(pickle.dumps([Payload(tmp_path / "ran")]))
    assert prepared("pixelsplat", raw)[0]["reasons"] == {"chunk cannot be read": 1}
    assert not (tmp_path / "ran").exists()


def test_bad_scenes_in_chunks_are_counted(tmp_path):
    good, nan, wrong, short, text, lacks, wide = (chunk_scene(key) for key in "abcdefg")
    nan["cameras"][2, 7] = float("nan")
    wrong["cameras"] = wrong["cameras"][:, :17]
    short["images"] = short["images"][:3]
    text["images"][1] = torch.zeros(50, dtype=torch.uint8)
    del lacks["cameras"]
    wide["images"][3] = torch.from_numpy(cv2.imencode(".jpg", picture(20, 16))[1].ravel())
    raw = chunks(tmp_path / "raw", [good, nan, wrong, short, text, lacks, wide])
    index = json.loads((raw / "index.json").read_text())
    (raw / "index.json").write_text(json.dumps({**index, "unknown": "000000.torch"}))
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert report["reasons"] == {
        "camera is not finite": 1,
        "cameras have a wrong shape": 1,
        "counts differ": 1,
        "frames differ in size": 1,
        "image cannot be decoded": 1,
        "scene is not in its chunk": 1,
        "scene lacks a part": 1,
    }


def test_a_missing_index_is_rebuilt_and_said_so(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("b")], [chunk_scene("a")], index=False)
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["b", "a"]  # in the order of the chunks
    assert report["notes"] == ["index.json is missing; scene keys were taken from the chunks"]
    (raw / "000001.torch").write_bytes(b"broken")
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["b"]
    assert report["reasons"] == {"chunk cannot be read": 1}


def test_keys_that_several_scenes_have_are_counted(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("a"), chunk_scene("b"), chunk_scene("b")], [chunk_scene("c")])
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a", "c"]
    assert report["reasons"] == {"scene name is there twice": 1}
    (raw / "index.json").unlink()
    torch.save([chunk_scene("a", frames=5), chunk_scene("d")], raw / "000002.torch")
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a", "c", "d"]
    assert store.length(0) == 4, "the first one is used"
    assert report["reasons"] == {"scene name is there twice": 2}
    assert set(report["skipped"]) == {"b", "a (000002.torch)"}


def test_what_the_index_does_not_name_is_said(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("a"), chunk_scene("b")], [chunk_scene("c")])
    (raw / "index.json").write_text(json.dumps({"a": "000000.torch"}))
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert report["scenes"]["unlisted"] == 1
    assert report["notes"] == [
        "1 chunks are not named in index.json and were not read: 000001.torch",
        "1 scenes in the chunks are not named in index.json and were left out: b (000000.torch)",
    ]


def test_frames_of_skipped_scenes_are_counted_as_found(tmp_path):
    broken = chunk_scene("b", frames=6)
    broken["images"][5] = torch.zeros(9, dtype=torch.uint8)
    raw = chunks(tmp_path / "raw", [chunk_scene("a"), broken, chunk_scene("c", frames=2)])
    out = tmp_path / "out.json"
    report = prepare_split(
        split("pixelsplat"), raw, out, image_size=SIZE, store=StoreConfig(max_skipped=1), expected_frames=12,
        expected_scenes=4,
    )  # fmt: skip
    assert report["frames"] == {"expected": 12, "found": 12, "used": 4}
    assert report["notes"] == ["the split should have 4 scenes but 3 were found"]


@pytest.mark.parametrize("layout", ["pixelsplat", "lvsm", "davis"])
def test_a_scene_whose_name_no_list_can_hold_is_skipped(tmp_path, layout):
    raw = tmp_path / "raw"
    if layout == "pixelsplat":
        chunks(raw, [chunk_scene("good"), chunk_scene("b\ud800d")])
    elif layout == "lvsm":
        (Lvsm(raw).folder / "full_list.txt").unlink()
        (raw / "metadata" / "bad.json").rename(raw / "metadata" / "b\udcff.json")
    else:
        for name in ("good", "b\udcff"):
            (raw / "JPEGImages" / "480p" / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(picture()).save(raw / "JPEGImages" / "480p" / name / f"{number}.png")
    report, store = prepared(layout, raw)
    assert report["reasons"] == {"scene name is not Unicode": 1}
    assert list(store.scenes) == ["good"]


def test_an_index_that_leaves_the_folder_is_refused(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("a")])
    (raw / "index.json").write_text(json.dumps({"a": "../000000.torch"}))
    with pytest.raises(ValueError, match="must map scene keys to file names in its folder"):
        prepared("pixelsplat", raw)


def test_no_usable_scene_fails_whatever_is_allowed(tmp_path):
    raw = chunks(tmp_path / "raw", [chunk_scene("a", frames=2)])
    with pytest.raises(ValueError, match=r"none of the 1 scenes can be used \(too few frames: 1\); mend"):
        prepared("pixelsplat", raw, max_skipped=1.0)
