"""The layout of DAVIS as a data set: lists, palettes, unions, and masks that do not belong to their frames."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.test_readers import prepared, split
from wildrayzer.config.sections.data import SplitConfig
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.davis import DavisReader, read_annotation, scenes_folder
from wildrayzer.data.readers.layouts import open_reader
from wildrayzer.datasets.on_disk import fits, look_through, scene_names
from wildrayzer.tools.export.pictures import davis_palette

WIDTH, HEIGHT = 32, 16


def annotation(**objects: tuple[slice, slice]) -> np.ndarray:
    """Numbers of a palette picture: `o1=(rows, columns)` marks object 1."""
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, place in objects.items():
        numbers[place] = int(name[1:])
    return numbers


def save(path: Path, numbers: np.ndarray, *, palette: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(numbers)
    if palette:
        image.putpalette(davis_palette())
    image.save(path)


TWO = annotation(o1=(slice(0, 4), slice(8, 12)), o2=(slice(4, 8), slice(20, 24)), o255=(slice(12, 16), slice(8, 24)))


@pytest.fixture
def davis(tmp_path):
    """Three scenes of three frames; `dogs` has two objects and void, `bear` one object."""
    folder = tmp_path / "DAVIS"
    for scene in ("bear", "cows", "dogs"):
        for number in range(3):
            frame = np.full((HEIGHT, WIDTH, 3), 60 * number, np.uint8)
            path = folder / "JPEGImages" / "480p" / scene / f"{number:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(path)
            numbers = TWO if scene == "dogs" else annotation(o1=(slice(0, 4), slice(8, 12)))
            save(folder / "Annotations" / "480p" / scene / f"{number:05d}.png", numbers)
    for year, names in (("2016", ["cows"]), ("2017", ["bear", "dogs"])):
        listing = folder / "ImageSets" / year / "val.txt"
        listing.parent.mkdir(parents=True)
        listing.write_text("".join(f"{name}\n" for name in names))
    return folder


def test_a_split_has_the_scenes_of_its_list_and_the_union_of_objects_once_in_the_report(davis):
    report, store = prepared("davis", davis)
    assert store.scenes == ["bear", "dogs"]
    assert report["notes"] == [
        "scenes are those of ImageSets/2017/val.txt",
        "in 1 of 2 scenes the masks tell several objects apart (up to 2); the union of all is taken as transient",
    ]
    assert not store.has_cameras
    # frames of 32×16 are cropped to the central 16 columns
    expected = np.select([TWO == 255, TWO > 0], [255, 1], 0)[:, 8:24]
    np.testing.assert_array_equal(store.read_masks(np.array([3]))[0], expected)
    assert (expected == 1).sum() == 32
    assert report["content"]["resolution"] == {"32×16": 2}
    again, _ = prepared("davis", davis)
    assert again["notes"] == report["notes"], "a part that stays keeps what it was made from"


def test_another_list_and_that_of_2016_with_paths(davis):
    assert prepared("davis", davis, scene_list="ImageSets/2016/val.txt")[1].scenes == ["cows"]
    lines = [f"/JPEGImages/480p/bear/{n:05d}.jpg /Annotations/480p/bear/{n:05d}.png" for n in range(3)]
    (davis / "ImageSets" / "old.txt").write_text("\n".join(lines))
    assert DavisReader(davis, "ImageSets/old.txt").names == ["bear"]
    with pytest.raises(ValueError, match=r"none\.txt cannot be read as a list of scenes"):
        DavisReader(davis, "none.txt")
    with pytest.raises(ValueError, match="only `davis` has such lists"):
        SplitConfig(layout="lvsm", path="x", role="dynamic", purpose="test", scene_list="a")


def test_without_lists_every_scene_is_taken_and_a_note_says_so(davis):
    for listing in davis.rglob("val.txt"):
        listing.unlink()
    reader = DavisReader(davis)
    assert reader.names == ["bear", "cows", "dogs"]
    assert reader.notes == ["there is no list of scenes; all of JPEGImages/480p are taken"]


def test_masks_of_another_size_are_refused_by_name(davis):
    wrong = davis / "Annotations" / "480p" / "dogs" / "00001.png"
    save(wrong, np.zeros((WIDTH, WIDTH), np.uint8))
    report, store = prepared("davis", davis)
    assert store.scenes == ["bear"]
    assert report["reasons"] == {"mask has a wrong size": 1}
    assert f"{wrong}: 32×32 for frames of 32×16" in report["skipped"]["dogs"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: save(folder / "Annotations/480p/dogs/00007.png", TWO), "mask without a frame"),
        (lambda folder: (folder / "Annotations/480p/dogs/00001.png").write_bytes(b"no"), "image cannot be decoded"),
        (lambda folder: save(folder / "JPEGImages/480p/dogs/00001.jpg", TWO[:8], palette=False),
         "frames differ in size"),
        (lambda folder: [path.unlink() for path in (folder / "JPEGImages/480p/dogs").iterdir()], "image is missing"),
        (lambda folder: (folder / "ImageSets/2017/val.txt").write_text("bear\n../dogs\n"),
         "path leaves the data folder"),
    ],
)  # fmt: skip
def test_broken_scenes_are_skipped_with_their_reason(davis, damage, reason):
    damage(davis)
    report, store = prepared("davis", davis)
    assert (store.scenes, report["reasons"]) == (["bear"], {reason: 1})


def test_frames_without_annotation_are_unknown_and_missing_annotations_are_no_masks(davis):
    (davis / "Annotations/480p/bear/00001.png").unlink()
    masks = prepared("davis", davis)[1].read_masks(np.arange(3))
    assert [set(np.unique(mask).tolist()) for mask in masks] == [{0, 1}, {255}, {0, 1}]
    (davis / "Annotations").rename(davis / "others")
    assert not open_reader(split("davis"), davis).has_masks


def test_grey_annotations_are_those_of_2016(tmp_path):
    binary = np.where(TWO == 1, 255, 0).astype(np.uint8)
    save(tmp_path / "grey.png", binary, palette=False)
    mask, objects = read_annotation(tmp_path / "grey.png")
    np.testing.assert_array_equal(mask, TWO == 1)
    assert objects == frozenset()
    save(tmp_path / "palette.png", binary)
    assert set(np.unique(read_annotation(tmp_path / "palette.png")[0]).tolist()) == {0, 255}
    assert read_annotation(tmp_path / "palette.png")[1] == frozenset()


def test_folders_of_scenes(davis, tmp_path):
    assert scenes_folder(davis, "JPEGImages") == davis / "JPEGImages" / "480p"
    flat = tmp_path / "flat" / "JPEGImages"
    (flat / "a").mkdir(parents=True)
    (flat / "a" / "00000.jpg").touch()
    assert scenes_folder(tmp_path / "flat", "JPEGImages") == flat
    for name in ("1080p", "Full-Resolution"):
        (tmp_path / "two" / "JPEGImages" / name / "bear").mkdir(parents=True)
    with pytest.raises(ValueError, match="has the resolutions 1080p, Full-Resolution; link the one to use as 480p"):
        scenes_folder(tmp_path / "two", "JPEGImages")
    with pytest.raises(ValueError, match="has no folder JPEGImages"):
        DavisReader(tmp_path)


def test_data_check_looks_through_the_layout(davis):
    assert fits(davis, "davis")
    assert not fits(davis / "ImageSets", "davis")
    assert scene_names(davis, "davis") == ["bear", "dogs"]
    assert look_through(davis, "davis").frames == 6
    save(davis / "Annotations/480p/dogs/00007.png", TWO)
    content = look_through(davis, "davis", "ImageSets/2017/val.txt")
    assert (content.frames, content.reasons) == (3, {"mask without a frame": 1})


def test_a_name_that_leads_elsewhere_has_no_files(davis):
    reader = DavisReader(davis)
    assert reader.files("../bear") == []
    with pytest.raises(BadSceneError):
        reader.check("../bear")
