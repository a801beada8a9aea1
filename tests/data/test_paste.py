"""Copy-paste: sizes, places, edges, per-view or the same object; cut-outs from a COCO file."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wildrayzer.config.sections.training import PasteConfig
from wildrayzer.data.copy_paste.cutouts import Cutout, CutoutLibrary, Outline
from wildrayzer.data.copy_paste.paste import paste

SIDE = 40


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


def test_coco_sets_without_a_fitting_object_are_refused(coco):
    with pytest.raises(ValueError, match=r"no cut-outs of paste\.categories = \['animal'\].*knows \['furniture', 'per"):
        CutoutLibrary.from_coco(coco / "a.json", coco, PasteConfig(categories=("animal",)), max_size=20)
    with pytest.raises(ValueError, match=r"nothing\.json does not exist"):
        CutoutLibrary.from_coco(coco / "nothing.json", coco, PasteConfig(), max_size=20)
