"""Copy-paste: sizes, places, edges, per-view or the same object; cut-outs from a COCO file."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as runs

from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.data.copy_paste.cutouts import Cutout, CutoutLibrary, Outline
from wildrayzer.data.copy_paste.paste import paste

SIDE = 40
CASES = Path(__file__).parents[1] / "resources" / "cases" / "coco"


def packed(lengths: list[int]) -> str:
    """COCO's compressed run lengths."""
    return runs.frPyObjects({"size": [60, 80], "counts": lengths}, 60, 80)["counts"].decode()


def library(count: int = 1, height: int = 12, width: int = 20) -> CutoutLibrary:
    """Full rectangles, the n-th of the plain colour (n + 1, 200, 0)."""
    cutouts = []
    for number in range(count):
        image = np.full((height, width, 3), (number + 1, 200, 0), np.uint8)
        cutouts.append(Cutout(image, np.ones((height, width), np.uint8)))
    return CutoutLibrary(tuple(cutouts), {})


def blank(views: int = 4) -> np.ndarray:
    return np.full((views, SIDE, SIDE, 3), 100, np.uint8)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_one_object_has_the_area_and_the_place_that_were_asked_for(seed):
    config = PasteConfig(max_objects=1, min_area=0.1, max_area=0.15, edge_sigma=0, margin=0.35)
    pasted, masks = paste(np.random.default_rng(seed), blank(), library(), config)
    for image, mask in zip(pasted, masks, strict=True):
        # the largest such box, 7.8 × 12.9 % … of the side, fits at every allowed centre
        assert 0.08 < mask.mean() < 0.18
        rows, columns = np.nonzero(mask)
        centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / SIDE
        assert ((centre > 0.35 - 0.03) & (centre < 0.65 + 0.03)).all()
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert width / height == pytest.approx(20 / 12, rel=0.2)
        assert (image[mask == 1] == (1, 200, 0)).all()  # hard edges: the object inside,
        assert (image[mask == 0] == 100).all()  # the frame outside


def test_edges_are_blended_with_the_gaussian():
    # The step between frame and object becomes the normal distribution function, far from corners.
    config = PasteConfig(max_objects=1, min_area=0.35, max_area=0.35, edge_sigma=1.5, margin=0.45)
    pasted, masks = paste(np.random.default_rng(0), blank(1), library(), config)
    rows, columns = np.nonzero(masks[0])
    row, left = int(rows.mean()), columns.min()
    alpha = (pasted[0, row, :, 1].astype(float) - 100) / 100
    assert alpha[left] == pytest.approx(0.63, abs=0.04)  # Φ(0.5 / 1.5)
    assert alpha[left - 1] == pytest.approx(0.37, abs=0.04)
    assert alpha[left - 3] == pytest.approx(0.048, abs=0.03)  # Φ(−2.5 / 1.5)
    assert 0 < alpha[left - 2] < alpha[left - 1] < alpha[left] < alpha[left + 1] <= 1


def test_samples_have_other_objects_in_every_view_or_the_same():
    def colours(config: PasteConfig, seed: int) -> list[set[int]]:
        pasted, masks = paste(np.random.default_rng(seed), blank(6), library(50), config)
        return [set(image[mask == 1][:, 0].tolist()) for image, mask in zip(pasted, masks, strict=True)]

    hard = {"edge_sigma": 0.0, "max_objects": 1}
    same = colours(PasteConfig(per_view=0.0, **hard), 1)
    assert all(colour == same[0] for colour in same)
    other = colours(PasteConfig(per_view=1.0, **hard), 1)
    assert len(set(map(frozenset, other))) > 1
    share = np.mean([len(set(map(frozenset, colours(PasteConfig(**hard), seed)))) > 1 for seed in range(120)])
    assert 0.7 < share < 0.9  # per_view = 0.8


def test_frames_are_left_alone_and_draws_follow_from_the_generator():
    frames = blank()
    first = paste(np.random.default_rng(3), frames, library(9), PasteConfig())
    again = paste(np.random.default_rng(3), frames, library(9), PasteConfig())
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert (frames == 100).all()
    assert set(np.unique(first[1])) == {0, 1}


def test_two_objects_cover_more_than_one():
    def covered(count: int) -> float:
        config = PasteConfig(min_objects=count, max_objects=count, min_area=0.1, max_area=0.1, per_view=1.0)
        return float(
            np.mean([paste(np.random.default_rng(n), blank(), library(), config)[1].mean() for n in range(20)])
        )

    assert 0.08 < covered(1) < 0.12
    assert 1.4 * covered(1) < covered(2) < 2.1 * covered(1)


@pytest.fixture
def coco(tmp_path):
    """A picture with a person (polygon 40 × 20 px), a chair, a crowd, a speck, and one whose file is missing."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:30, 20:60] = (0, 0, 255)  # red, BGR
    cv2.imwrite(str(tmp_path / "1.png"), picture)
    box = [20, 10, 60, 10, 60, 30, 20, 30]
    rows = [
        {"category_id": 1, "image_id": 1, "iscrowd": 0, "segmentation": [box]},
        {"category_id": 2, "image_id": 1, "iscrowd": 0, "segmentation": [box]},
        {"category_id": 1, "image_id": 1, "iscrowd": 1, "segmentation": {"counts": [0, 4800], "size": [60, 80]}},
        {"category_id": 1, "image_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 3, 0, 3, 3, 0, 3]]},
        {"category_id": 1, "image_id": 2, "iscrowd": 0, "segmentation": [box]},
    ]
    annotations = [{"id": n + 1, "area": 800.0, "bbox": [20, 10, 40, 20], **row} for n, row in enumerate(rows)]
    document = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 80, "height": 60} for n in (1, 2)],
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 2, "name": "chair", "supercategory": "furniture"},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    return tmp_path


def test_cutouts_come_from_the_categories_asked_for(coco):
    found = CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(), max_size=20)
    assert len(found) == 1
    assert found.skipped == {"too small": 1, "image missing": 1}
    cutout = found[0]
    assert cutout.image.shape == (10, 20, 3)  # 40 × 20 halved to max_size
    assert cutout.mask.mean() > 0.95
    assert (cutout.image[2:-2, 2:-2] == (255, 0, 0)).all()  # RGB
    chairs = CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(categories=("furniture",)), max_size=80)
    assert chairs[0].image.shape == (20, 40, 3)


def test_no_picture_is_read_before_its_object_is_drawn(coco, monkeypatch):
    """The objects of a set of COCO's size would fill memory as pixels, in every training process."""
    read, imread = [], cv2.imread
    monkeypatch.setattr(cv2, "imread", lambda path, flags: read.append(path) or imread(path, flags))
    found = CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(), max_size=19)
    assert read == []
    again = [paste(np.random.default_rng(5), blank(), found, PasteConfig())[0] for _ in range(2)]
    assert read == [str(coco / "1.png")]  # once: objects drawn of late are kept
    assert np.array_equal(*again)


@pytest.mark.parametrize(("content", "message"), [
    (b"no picture", r"1\.png is no readable picture, annotated are 60×80"),
    (cv2.imencode(".png", np.zeros((8, 6, 3), np.uint8))[1].tobytes(), r"1\.png has 8×6 pixels, annotated are 60×80"),
])  # fmt: skip
def test_pictures_that_do_not_fit_their_annotations_are_named(coco, content, message):
    (coco / "1.png").write_bytes(content)
    found = CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(), max_size=18)
    with pytest.raises(ValueError, match=rf"data\.coco\.images: .*{message}; fetch it again"):
        found[0]


def test_an_object_of_a_broken_picture_gives_way_to_the_next_one(coco, caplog):
    whole = CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(), max_size=17)
    broken = Outline(coco / "gone.png", (60, 80), b"", 17)
    found = CutoutLibrary((broken, broken, whole.objects[0]), {})
    for seed in range(5):
        assert np.array_equal(found.draw(np.random.default_rng(seed)).image, whole[0].image)
    assert "gone.png is no readable picture, annotated are 60×80" in caplog.text
    with pytest.raises(ValueError, match=r"gone\.png is no readable picture"):
        CutoutLibrary((broken,) * 100, {}).draw(np.random.default_rng(0))


def objects_of(coco: Path, **changes) -> CutoutLibrary:
    """The set of `coco` with its first annotation (`a__…`), picture (`i__…`) or category (`c__…`) changed."""
    document = json.loads((coco / "a.json").read_text())
    del document["annotations"][1:]
    for key, value in changes.items():
        part = {"a": "annotations", "i": "images", "c": "categories"}[key[0]]
        entry = document[part][0]
        entry[key[3:]] = value
        if value is GONE:
            del entry[key[3:]]
    (coco / "changed.json").write_text(json.dumps(document))
    return CutoutLibrary.from_coco(coco / "changed.json", coco, PasteConfig(), max_size=20)


GONE = object()
BOX = [20, 10, 60, 10, 60, 30, 20, 30]
COLUMNS = [1210, *[20, 40] * 39, 20, 1230]  # the box in columns of 60 pixels: 20 · 60 + 10 before it


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("a__iscrowd", value) for value in (GONE, None, "0", False)),
        ("a__image_id", 1.0),
        ("c__id", 1.0),
        ("a__segmentation", {"size": [60, 80], "counts": [float(count) for count in COLUMNS]}),
        ("c__supercategory", GONE),
        ("a__image_id", "1"),
        ("i__id", "1"),
        ("a__category_id", "1"),
        ("i__width", 80.0),
        ("a__segmentation", BOX),
        ("a__segmentation", [[10, 10], BOX]),
        ("a__segmentation", [[10, 10, 50, 50], BOX, [], None]),
        ("a__segmentation", {"size": [60, 80], "counts": COLUMNS}),
        ("a__segmentation", {"size": [60, 80], "counts": packed(COLUMNS)}),
    ],
)
def test_what_coco_tools_leave_out_or_write_otherwise_is_read_the_same(coco, key, value):
    wanted, found = objects_of(coco)[0], objects_of(coco, **{key: value})
    assert found.skipped == {}
    assert np.array_equal(found[0].mask, wanted.mask)
    assert np.array_equal(found[0].image, wanted.image)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        *(("a__segmentation", outline, "outline has no area") for outline in (
            [], [[]], [[10, 10]], [[10, 10, 50, 50]], [[1, 2, 3, 4, 5]], [["a"] * 6], [[0, 0, 1e9, 0, 0, 1e9]], [None],
        )),
        *(("a__segmentation", outline, "object has no outline") for outline in (None, GONE, 7, "text")),
        ("a__segmentation", {"size": [80, 60], "counts": [0, 4800]}, "run lengths are of another size than the image"),
        ("a__segmentation", {"counts": [0, 4800]}, "run lengths are of another size than the image"),
        ("a__segmentation", {"size": [60, 80], "counts": [0, 480000]}, "run lengths do not fill the image"),
        ("a__segmentation", {"size": [60, 80], "counts": packed([0, 99999])}, "run lengths do not fill the image"),
        ("a__segmentation", {"size": [60, 80], "counts": "P"}, "run lengths are no whole numbers"),
        ("a__segmentation", {"size": [60, 80], "counts": None}, "run lengths are no whole numbers"),
        ("a__segmentation", {"size": [60, 80], "counts": [-5, 4805]}, "run lengths are no whole numbers"),
        ("a__category_id", 9, "category has no entry"),
        ("a__category_id", None, "category has no entry"),
        ("a__image_id", 9, "image has no entry"),
        ("a__image_id", GONE, "image has no entry"),
        ("i__width", GONE, "image has no width and height"),
        ("i__height", 10**9, "image has no width and height"),
        ("i__height", 10**400, "image has no width and height"),  # more than a float holds
        ("i__height", math.inf, "image has no width and height"),
        ("i__width", "80", "image has no width and height"),
        ("i__file_name", GONE, "image has no file_name"),
        ("i__file_name", 3, "image has no file_name"),
        ("i__file_name", "../1.png", "file_name leaves the folder of images"),
        ("i__file_name", "/etc/1.png", "file_name leaves the folder of images"),
        ("i__file_name", "2.png", "image missing"),
    ],
)  # fmt: skip
def test_objects_that_cannot_be_cut_out_are_counted_by_reason(coco, key, value, reason):
    with pytest.raises(ValueError, match=rf"changed\.json gives no cut-outs .* skipped {{'{reason}': 1}}"):
        objects_of(coco, **{key: value})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hello", "not valid JSON .*; export it again as COCO instances"),
        ("[1]", "holds a list at the top; export it again"),
        ('{"images": [], "annotations": []}', "has no list 'categories'; export it again"),
        ('{"images": {}, "annotations": [], "categories": []}', "has no list 'images'"),
        ('{"images": [], "categories": []}', "has no list 'annotations'"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_files_that_are_no_coco_sets_are_named_with_their_lack(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=rf"a\.json:? {message}"):
        CutoutLibrary.from_coco(tmp_path / "a.json", tmp_path, PasteConfig(), max_size=20)


@pytest.mark.parametrize(
    ("name", "count", "skipped"),
    [
        ("ok", 2, {}),
        ("no_iscrowd", 2, {}),
        ("no_supercategory", 1, {}),  # "car" is no supercategory that is asked for, "person" is
        ("poly2", 2, {}),
        ("poly4", 1, {"outline has no area": 1}),
        ("missing_image_entry", 1, {"image has no entry": 1}),
    ],
)
def test_files_of_coco_tools(name, count, skipped):
    library = CutoutLibrary.from_coco(CASES / f"{name}.json", CASES / "images", PasteConfig(), max_size=20)
    assert (len(library), library.skipped) == (count, skipped)
    assert all(library[number].mask.any() for number in range(count))


@pytest.mark.parametrize("orientation", [3, 6])
def test_outlines_belong_to_the_stored_pixels(coco, orientation):
    before = objects_of(coco)[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(coco / "1.png") as image:
        image.save(coco / "turned.png", exif=exif)
    found = objects_of(coco, i__file_name="turned.png")[0]
    assert np.array_equal(found.image, before.image)


def test_coco_sets_without_a_fitting_object_are_refused(coco):
    with pytest.raises(ValueError, match=r"no cut-outs of paste\.categories = \['animal'\].*knows \['furniture', 'per"):
        CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(categories=("animal",)), max_size=20)
    with pytest.raises(ValueError, match=r"nothing\.json does not exist"):
        CutoutLibrary.from_coco(coco / "nothing.json", coco, PasteConfig(), max_size=20)
