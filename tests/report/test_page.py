"""Pieces of the report, by hand-computed values."""

import base64

import cv2
import numpy as np
import pytest

from tests.helpers.report_run import small_config, svg_texts
from wildrayzer.evaluation.tables.rows import Table
from wildrayzer.evaluation.tables.text import parse_tables
from wildrayzer.report.page.charts import chart, legend_above, plain
from wildrayzer.report.page.contact_sheets import spread
from wildrayzer.report.page.page import Column, Gallery, GalleryRow, Note, Section, TextTable, render_page
from wildrayzer.report.page.pictures import (
    cluster_picture,
    encode,
    heat,
    map_uri,
    mask_picture,
    outlined,
    resize,
    strip,
)
from wildrayzer.report.run_files import MaskFiles
from wildrayzer.report.sections import distributions
from wildrayzer.report.sections.distributions import SplitMasks, mask_distributions
from wildrayzer.report.sections.gallery import galleries
from wildrayzer.report.sections.run_info import describe
from wildrayzer.run.expected import training_runs
from wildrayzer.run.layout import RunLayout


def decoded(uri):
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), 1)[..., ::-1]


def test_small_pictures_grow_by_whole_multiples_and_large_ones_shrink():
    assert resize(np.zeros((48, 48, 3), np.uint8), smooth=True).shape == (96, 96, 3)
    assert resize(np.zeros((8, 16, 3), np.uint8), smooth=False).shape == (96, 192, 3)
    assert resize(np.zeros((200, 200, 3), np.uint8), smooth=True).shape == (200, 200, 3)
    assert resize(np.zeros((512, 1024, 3), np.uint8), smooth=True).shape == (256, 512, 3)


def test_maps_keep_their_colours_to_the_bit():
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(map_uri(image)), image.repeat(24, 0).repeat(24, 1))


def test_photographs_stay_close():
    image = np.full((48, 48, 3), (200, 40, 90), np.uint8)
    assert np.abs(decoded(encode(image, photograph=True)).astype(int) - image).max() <= 4


def test_heat_clips_and_greys_out():
    found = heat(np.array([[-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]]), 0.0, 1.0)[0]
    assert (found[0] == found[1]).all()
    assert (found[3] == found[4]).all()
    assert found[1].sum() < found[2].sum() < found[3].sum()
    assert found[5].tolist() == [200, 200, 200]


def test_masks_are_white_where_transient_and_grey_where_unknown():
    found = mask_picture(np.array([[0, 1, 255]], np.uint8))[0]
    assert found.tolist() == [[0, 0, 0], [255, 255, 255], [200, 200, 200]]


def test_clusters_that_were_not_computed_are_grey():
    found = cluster_picture(np.array([[0, 1, 255]], np.uint8))[0]
    assert found[0].tolist() != found[1].tolist()
    assert found[2].tolist() == [200, 200, 200]


def test_the_outline_surrounds_the_mask_alone():
    image, mask = np.zeros((48, 48, 3), np.uint8), np.zeros((48, 48), np.uint8)
    mask[10:20, 10:20] = 1
    mask[40:, 40:] = 255
    red = outlined(image, mask)[..., 0] > 0
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 39, 20, 39)
    assert not red[25:35, 25:35].any()


def test_a_strip_has_gaps():
    images = [np.zeros((4, 5, 3), np.uint8)] * 3
    found = strip(images, gap=2)
    assert found.shape == (4, 19, 3)
    assert (found[0, :, 0] == 255).sum() == 4


def test_numbers_are_spread_evenly():
    assert spread(10, 5) == [1, 3, 5, 7, 9]
    assert spread(2, 4) == [0, 1]
    assert spread(0, 4) == []


def test_the_same_plot_gives_the_same_bytes():
    def draw(axes):
        axes.plot([0, 1], [1, 0], label="line")
        axes.legend()

    assert chart(draw) == chart(draw)


def test_tables_are_read_back_from_markdown():
    text = (
        "# Benchmark tables\n\nRun a.\n\n## Masks on b. Things.\n\n| method | x |\n| --- | --- |\n"
        "| a \\| b | 1 [0, 2] |\n\n- First.\n- Second.\n\n## Claims: c.\n\n| claim |\n| --- |\n| – |\n"
    )
    assert parse_tables(text) == (
        Table("masks_on_b", "Masks on b. Things.", ("method", "x"), (("a | b", "1 [0, 2]"),), ("First.", "Second.")),
        Table("claims", "Claims: c.", ("claim",), (("–",),), ()),
    )


def test_a_table_with_a_short_row_is_refused():
    with pytest.raises(ValueError, match="'A' is no table; run the stage benchmark_tables again"):
        parse_tables("\n## A\n\n| a | b |\n| --- | --- |\n| 1 |\n")


def test_options_are_described_by_the_configuration():
    assert describe("model.motion_head.cross_view") != ""
    assert describe("perceptual.weight") == "Weight of the perceptual term beside the MSE."
    assert describe("masked") == "Stage 4: masked reconstruction; null leaves it out (ablation)."


def test_training_runs_follow_the_configuration():
    config = small_config().model_copy(update={"rounds": 2, "masked": None})
    rounds = [("distill", 1), ("joint", 1), ("distill", 2), ("joint", 2)]
    assert training_runs(config) == [("pretrain", None), *rounds, ("unmasked", 2)]


class Masks:
    """Two splits' files, of which the first has windows."""

    def __init__(self, window):
        self.any_computed = bool((np.array(window) >= 0).any())


def test_masks_of_controls_alone_and_splits_without_windows_are_said(monkeypatch):
    config = small_config()
    config = config.model_copy(update={"benchmark": config.benchmark.model_copy(update={"mask_sources": ("nearest",)})})
    made = {"dynamic_test": Masks([0, -1]), "pairs_test": Masks([-1, -1]), "frozen_test": Masks([-1])}
    share = np.array([0.5])
    monkeypatch.setattr(
        MaskFiles, "open", staticmethod(lambda layout, config, split, predictor="renderer": made.get(split))
    )
    monkeypatch.setattr(
        distributions, "_measure", lambda files, source: SplitMasks("dynamic_test", source, share, share, share, None)
    )
    table, *notes = mask_distributions(config, RunLayout("small"))
    assert [row[:2] for row in table.rows] == [("dynamic_test", "nearest")]
    assert [note.text.partition(",")[0] for note in notes] == [
        "pairs_test", "frozen_test", "The renderer's pseudo-masks are not made yet",
    ]  # fmt: skip
    del made["dynamic_test"]
    assert any("frozen_test: no clip is long enough" in note.text for note in galleries(config, RunLayout("small")))


def test_labels_show_names_as_they_are_and_powers_of_ten_as_such():
    def draw(axes):
        axes.plot([1, 2], [0.001, 1], label=plain("p^$ and $_x"))
        axes.set(xlabel=plain("cost in $"), yscale="log")
        axes.set_xticks([1, 2], [plain("$a$"), plain("b")])
        legend_above(axes)

    texts = svg_texts(chart(draw))
    assert texts == ["$a$", "b", "cost in $", "10−3", "10−2", "10−1", "100", "p^$ and $_x"]


def test_pages_show_names_of_old_files():
    html = render_page("T", "holiday-\udcff.png", [])
    assert "holiday-?.png" in html.encode().decode()


def test_text_is_escaped_and_empty_places_stay_empty():
    gallery = Gallery("t", "x", (Column("a"), Column("b")), (GalleryRow("row", (None, None)),))
    blocks = (Note("<b>&"), TextTable("t", ("c",), (("holds",), ("x < y",))), gallery)
    html = render_page("T", "lead", [Section("s", "S", "", blocks)])
    assert "&lt;b&gt;&amp;" in html
    assert "x &lt; y" in html
    assert '<span class="verdict holds">holds</span>' in html
    assert "<img" not in html


def test_a_gallery_has_one_picture_per_column():
    with pytest.raises(AssertionError, match="one picture per column"):
        Gallery("t", "x", (Column("a"), Column("b")), (GalleryRow("row", (None,)),))
