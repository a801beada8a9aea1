"""What is counted of a split, its contact sheet, and the block of the HTML report."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.test_frame_store import content
from tests.helpers.report_run import small_config
from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit, SplitConfig, StoreConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.preparation.report import sheet_path
from wildrayzer.data.preparation.statistics import SplitFacts, camera_travel, camera_turn, scene_facts
from wildrayzer.data.readers.base import Scene
from wildrayzer.report.page.contact_sheets import SHEET_FRAMES, contact_sheet
from wildrayzer.report.page.page import Figures, TextTable
from wildrayzer.report.sections.data_sets import data_report
from wildrayzer.run.layout import RunLayout
from wildrayzer.stages.prepare import make_embedded, prepare_split


def turned(degrees: float, centre: tuple[float, float, float]) -> np.ndarray:
    """A camera turned about its vertical axis."""
    angle = np.radians(degrees)
    c2w = np.eye(4)
    c2w[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    c2w[:3, 3] = centre
    return c2w


def test_turn_is_the_largest_angle_to_the_first_view_and_travel_the_length_of_the_path():
    c2w = np.stack([turned(0, (0, 0, 0)), turned(30, (3, 4, 0)), turned(-40, (3, 4, 0)), turned(10, (3, 0, 0))])
    assert camera_turn(c2w) == pytest.approx(40)
    assert camera_travel(c2w) == pytest.approx(5 + 0 + 4)
    assert camera_turn(2 * c2w) == pytest.approx(40), "a scaled rotation turns no further"


def test_scenes_are_counted_by_resolution_length_and_motion():
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    c2w = np.stack([turned(0, (0, 0, 0)), turned(12, (1, 0, 0)), turned(3, (1, 0, 0)), turned(3, (1, 0, 0))])
    moving = scene_facts(Scene("a", frames, c2w, source_size=(640, 360)))
    assert moving == {"frames": 4, "size": "640×360", "turn": 12.0, "travel": 1.0}
    assert scene_facts(Scene("b", frames[:3])) == {"frames": 3}
    facts = SplitFacts()
    facts.add([moving, {"frames": 3, "size": "32×32", "turn": 200.0, "travel": 0.0}])
    facts.add([moving])
    report = facts.report()
    assert report["resolution"] == {"640×360": 2, "32×32": 1}
    assert report["clip_length"] == {"3": 1, "4": 2}
    turn = dict(zip(report["turn_degrees"]["edges"], report["turn_degrees"]["scenes"], strict=False))
    assert {edge: count for edge, count in turn.items() if count} == {10.0: 2, 175.0: 1}
    travel = dict(zip(report["travel"]["edges"], report["travel"]["scenes"], strict=False))
    assert {edge: count for edge, count in travel.items() if count} == {0.001: 1, 1.0: 2}
    assert SplitFacts().report()["travel"] is None


def test_a_contact_sheet_has_a_row_a_clip_with_true_masks_outlined(tmp_path):
    sheets = []
    for masks in (False, True):
        with FrameStoreWriter(tmp_path / "a.zarr", StoreForm(16, StoreConfig(), masks=masks)) as writer:
            for number, scene in enumerate(content()):
                masked = np.zeros((len(scene["frames"]), 16, 16), np.uint8)
                masked[:, 4:12, 4:12] = 1
                frames = np.full_like(scene["frames"], 40 * (number + 1))
                cameras = {"c2w": scene["c2w"], "intrinsics": scene["intrinsics"]}
                writer.add_scene(f"scene {number}", frames, masks=masked if masks else None, **cameras)
        image = cv2.imdecode(np.frombuffer(contact_sheet(FrameStore(tmp_path / "a.zarr")), np.uint8), 1)
        sheets.append(image[..., ::-1])
    # clips of 5, 3 and 7 frames, of which 5, 3 and 6 are shown at 96 px, under a line of text
    assert sheets[0].shape == (3 * (18 + 96 + 6), SHEET_FRAMES * 96 + 5 * 3, 3)
    assert sheets[0][60, 10].tolist() == [40, 40, 40]
    assert sheets[0][300, 10].tolist() == [120, 120, 120]
    assert (sheets[0][180, 400] == 255).all(), "the second clip has three frames"
    red = (sheets[1].astype(int) == [230, 30, 60]).all(-1)
    assert red.any()
    assert not (sheets[0].astype(int) == [230, 30, 60]).all(-1).any()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two prepared splits of a run, one with a skipped scene."""
    root = tmp_path_factory.mktemp("results")
    config = small_config()
    layout = RunLayout(config.name, str(root))
    splits = {"static_train": EmbeddedSplit(scenes=4), "dynamic_train": EmbeddedSplit(scenes=3, movers="actors")}
    embedded = EmbeddedConfig(frames=5, splits=splits)
    for name in splits:
        make_embedded(embedded, image_size=16, split=name, out_dir=layout.raw(name))
    next((Path(layout.raw("static_train")) / "images" / "static_train_00002").iterdir()).write_bytes(b"broken")
    for name in splits:
        section: SplitConfig = config.data.splits[name]
        prepare_split(
            section, layout.raw(name), layout.store(name), image_size=16, store=StoreConfig(max_skipped=0.5),
            expected_scenes=9 if name == "static_train" else None, expected_frames=20,
        )  # fmt: skip
    return config, layout


def test_the_report_shows_counts_skips_histograms_and_sheets(run):
    config, layout = run
    counts, skips, charts, sheets = data_report(config, layout)
    assert isinstance(counts, TextTable)
    assert counts.rows == (
        ("static_train", "9", "4", "3", "20", "20", "15", "16×16", "5 to 5", "zstd"),
        ("dynamic_train", "–", "3", "3", "20", "15", "15", "16×16", "5 to 5", "zstd"),
    )
    assert isinstance(skips, TextTable)
    assert [row[:2] for row in skips.rows] == [("static_train", "static_train_00002")]
    assert skips.rows[0][2].startswith("image cannot be decoded")
    assert isinstance(charts, Figures)
    assert [picture.alt.partition(": ")[2].partition(",")[0] for picture in charts.pictures] == [
        "frames of a clip", "turn of the camera", "travel of the camera",
    ]  # fmt: skip
    assert isinstance(sheets, Figures)
    assert [picture.caption for picture in sheets.pictures] == ["static_train", "dynamic_train"]


def test_paths_of_the_layout_are_those_of_the_stage(run):
    layout = run[1]
    assert str(sheet_path(layout.store("static_train"))) == layout.data_sheet("static_train")
    assert Path(layout.data_sheet("static_train")).is_file()


def test_reports_of_earlier_versions_are_left_out(tmp_path):
    config = small_config()
    assert data_report(config, RunLayout(config.name, str(tmp_path))) == []
