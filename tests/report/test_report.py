"""The report of a small run: structure, content, and what it says when something is missing."""

import base64
import os
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from tests.helpers.browser import MISSING, Browser
from tests.helpers.report_run import make_run, one_part, small_config, svg_texts
from wildrayzer.cli.main import app
from wildrayzer.evaluation.tables.text import read_tables
from wildrayzer.report.sections.relations import binned
from wildrayzer.run.layout import RunLayout
from wildrayzer.stages.write_report import write_report

SECTIONS = [
    "glance", "claims", "masks", "pictures", "benchmark", "relations", "ablations", "training", "data", "run",
]  # fmt: skip
VOID = {"meta", "img", "link", "br", "hr"}


class Page(HTMLParser):
    """Elements, text by section, and whether all that was opened is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.count, self.images, self.addresses, self.text, self.section = [], Counter(), [], [], {}, ""
        self.folded = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.count[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = attrs["id"]
        if tag == "details":
            self.section = ""
            self.folded.append("open" not in attrs)
        if tag == "img":
            self.images.append(attrs)
        self.addresses += [value for name, value in attrs.items() if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.handle_data(" ")

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + data


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def html(run):
    config, layout = run
    write_report(config=config, layout=layout, out=layout.report)
    return Path(layout.report).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_is_whole_and_stands_alone(html, page):
    assert html.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert list(page.text)[1:] == SECTIONS
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert page.count["script"] == page.count["link"] == 0
    assert "http" not in re.sub(r"data:image/[^\"]*", "", html)
    assert all(image["alt"] for image in page.images)


def test_every_picture_can_be_decoded_and_seen(page):
    for image in page.images:
        head, payload = image["src"].split(";base64,")
        raw = base64.b64decode(payload)
        if head == "data:image/svg+xml":
            assert raw.lstrip().startswith(b"<?xml")
        elif image["alt"] != "colour scale":
            assert min(cv2.imdecode(np.frombuffer(raw, np.uint8), 1).shape[:2]) >= 32


def test_plots_have_no_raw_markup(page):
    plots = [image["src"] for image in page.images if image["src"].startswith("data:image/svg+xml")]
    texts = [text for plot in plots for text in svg_texts(plot)]
    assert len(plots) > 10
    assert any("×10−" in text for text in texts), "a logarithmic axis"
    assert not [text for text in texts if re.search(r"[$\\{}]|mathdefault", text)]


def test_the_answer_comes_first_and_the_rest_is_folded(run, page):
    assert page.folded == [False, False, *[True] * 8]
    text = _spaced(page.text["glance"])
    scene = "pairs_test_00000"
    means = pd.read_csv(Path(run[1].base, "scores", "views", "joint-pairs_test-2.csv"))
    means = means.query("region == 'static' and metric == 'psnr'").groupby("scene")["value"].mean()
    assert re.search(rf"{scene}, frame \d: static rendering \d+\.\d dB, ours", text)
    assert f"ours {means[scene]:.1f} dB input 1 input 2 mask 1 mask 2 static rendering ours truth error of ours" in text
    assert [image["alt"] for image in page.images[1:9]] == [
        f"Input 1 of {scene}", f"Input 2 of {scene}", f"Mask of input 1 of {scene}, white: left out",
        f"Mask of input 2 of {scene}, white: left out", f"Static rendering of {scene}", f"Our rendering of {scene}",
        f"Truth of {scene}", f"Error of our rendering of {scene}",
    ]  # fmt: skip
    rows = pd.read_csv(Path(run[1].tables) / "summary.csv").set_index(["split", "method", "region", "metric"])["mean"]
    view = [rows["static_test", method, "full", "psnr"] for method in ("static", "nearest", "blend")]
    assert "{:.1f} dB New views of static clips. Copying the nearest input: {:.1f} dB, blending".format(*view) in text
    assert f"blending the inputs: {view[2]:.1f} dB." in text
    assert "descriptor, not DINOv3" in text


BEYOND = """
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    const wide = document.documentElement.clientWidth;
    const cut = [...document.querySelectorAll("main *")].filter((one) => {
        const scrolls = one.closest(".scroll");
        return one.getBoundingClientRect().right > wide + 1 && !(scrolls && scrolls !== one);
    });
    return [document.documentElement.scrollWidth - wide, cut.map((one) => one.outerHTML.slice(0, 200))];
"""
"""Opens all sections; by how much the page is too wide, and what reaches over its edge outside of scrolling boxes."""


@pytest.mark.skipif(MISSING is not None and "WILDRAYZER_NEED_BROWSER" not in os.environ, reason=str(MISSING))
def test_nothing_reaches_over_the_edge_at_any_width(run, html):
    with Browser() as browser:
        for width in (420, 768, 1280):
            browser.resize(width)
            browser.open(run[1].report)
            assert browser.run(BEYOND) == [0, []], width
        # A link to a folded section opens it.
        browser.open(run[1].report, "#data")
        assert browser.run("return document.querySelector('#data').closest('details').open")
        assert not browser.run("return document.querySelector('#run').closest('details').open")
        assert browser.errors() == []


def test_what_was_run_is_said(run, page):
    config, text = run[0], page.text["run"]
    assert "Run small, seed 0" in text
    assert all(deviation in text for deviation in config.deviations)
    assert "two crops of one frame with known offset" in text
    assert "this is not DINOv3" in text
    assert "this is not VGG-19 (weight 0: switched off)" in text
    assert "torch 2" in text
    for stage in ("pretrain", "distill, round 1", "masked, round 1", "joint, round 1", "unmasked, round 1"):
        assert stage in text
    assert "abad1dea" in text


def test_time_and_memory_by_rule(page):
    text = " ".join(page.text["run"].split())
    # 90.5 s and 0.4 s of preparation, one without a memory figure, and 430 s of training
    assert "prepare_split 2 1 min 31 s 1 min 30 s 0.50 GiB" in _spaced(page.text["run"])
    assert "pretrain 1 7 min 10 s 7 min 10 s 2.00 GiB" in _spaced(page.text["run"])
    assert "all 3 8 min 41 s 7 min 10 s 2.00 GiB" in _spaced(page.text["run"])
    assert "side by side" in text


def _spaced(text):
    return re.sub(r"\s+", " ", text)


def test_data_are_counted_with_what_was_skipped(page):
    text = page.text["data"]
    assert text.count("3 of 4") == 10
    assert "too few frames: 1" in text
    assert "cameras, masks, clean twins" in text
    for split in ("static_test", "dynamic_test", "pairs_test", "frozen_test", "same_family_test"):
        assert f"{split}_00000, frames 0, 2, 4, 5, 7" in text


def test_curves_quote_the_last_figures(page):
    text = page.text["training"]
    assert "19.00 dB, +1.25 dB against copying the nearest input" in text
    assert "0.50 at step 200" in text
    assert "at step 200, the first ones of the set" in text
    # loss of five stages, validation of four, labels of two, three windows of the contact sheet
    assert len([image for image in page.images if "optimiser step" in image["alt"]]) == 11
    assert len([image for image in page.images if image["alt"].startswith("Validation window")]) == 3


def test_mask_galleries_quote_configuration_and_filter(page):
    text = _spaced(page.text["masks"])
    assert "0.8 at 17 dB to 0.4 at 27 dB" in text
    assert "an absolute test per patch that lets 5% of static patches pass" in text
    assert "left out by the PSNR filter, 17 dB" in text
    assert "kept, over 17 dB" in text
    assert [name for name in ("dynamic", "frozen", "same_family") if f"Pseudo-masks of {name}_test" in text] == [
        "dynamic", "frozen", "same_family",
    ]  # fmt: skip
    # frames 14 to 24 dB in even steps: 17 of 24 are over 17 dB
    assert "dynamic_test renderer 24 19.00 70.8%" in text


def test_tables_are_those_of_the_folder(run, page):
    text = _spaced(page.text["benchmark"])
    rows = pd.read_csv(Path(run[1].tables) / "summary.csv").set_index(["split", "method", "region", "metric"])
    best = rows.loc[("pairs_test", "joint", "ghost", "psnr")]
    assert f"{best['mean']:.2f} ± {best['error']:.2f}" in text
    assert "Claims" not in text, "they have their own section"
    assert "camera R², shift" in text
    assert "`" not in text


def test_every_claim_is_shown_with_its_interval(run, page, html):
    text, claims = _spaced(page.text["claims"]), pd.read_csv(Path(run[1].tables) / "claims.csv")
    assert f"Of {len(claims)} claims: " in text
    for _, claim in claims.iterrows():
        assert f"{claim['claim'].replace('`', '')} {claim['compared']}; {claim['where']}" in text
    row = claims.query("compared == 'static − nearest, full psnr'").iloc[0]
    value = " ".join(f"{row[name]:+.2f}".replace("-", "−") for name in ("mean", "low", "high"))
    mean, low, high = value.split()
    assert f"{mean} dB [{low}, {high}]" in text
    assert len(re.findall('class="mean" style="left: ', html)) == claims["mean"].notna().sum()


def test_scores_against_motion_and_psnr_have_axes_and_a_sentence(page):
    text = _spaced(page.text["relations"])
    assert "Mask IoU against the size of what moves in the frame." in text
    assert "Mask IoU against how well the frozen renderer renders the frame" in text
    assert "PSNR of the ghost region, against the clean frame" in text
    charts = [image for image in page.images if " against " in image["alt"] and "%" in image["alt"]]
    # IoU against motion and PSNR, PSNR against motion, on dynamic and pairs
    assert len(charts) == 6


def test_ablations_that_were_run_are_shown_beside_the_run(run, page):
    text = _spaced(page.text["ablations"])
    assert "model.motion_head.cross_view: true" in text
    assert "Stage distill. At the end: run 0.50, cross_view 0.25." in text
    assert "paste_only" not in text, "it has not been run"


def test_bins_hold_equally_many_points():
    places = np.array([3.0, 1.0, np.nan, 2.0, 4.0])
    centres, means, errors = binned(places, np.array([30.0, 10.0, 99.0, 20.0, 40.0]), bins=2)
    np.testing.assert_allclose(centres, [1.5, 3.5])
    np.testing.assert_allclose(means, [15, 35])
    np.testing.assert_allclose(errors, [5, 5])
    centres, means, errors = binned(places[:1], places[:1], bins=6)
    assert (centres.tolist(), means.tolist(), errors.tolist()) == ([3.0], [3.0], [0.0])


def test_pictures_of_renderings_and_worst_scenes(run, page):
    text = _spaced(page.text["pictures"])
    scores = pd.concat(map(pd.read_csv, Path(run[1].base, "scores", "views").glob("joint-dynamic_test-2.csv")))
    means = scores.query("region == 'static' and metric == 'psnr'").groupby("scene")["value"].mean()
    assert f"joint {means['dynamic_test_00000']:.1f} dB" in text
    assert "Renderings of pairs_test" in text
    worst = text[text.index("the 3 worst scenes of joint") :]
    assert worst.index(means.idxmin()) < worst.index(means.idxmax())
    # without a clean twin nobody knows what is behind a transient
    dynamic, pairs = text[: text.index("Renderings of pairs_test")], text[text.index("Renderings of pairs_test") :]
    assert "Renderings of static_test" in pairs
    assert "grey where a transient hides" in dynamic
    assert "grey where a transient hides" not in pairs


def test_the_same_run_gives_the_same_page(run, html, tmp_path):
    config, layout = run
    write_report(config=config, layout=layout, out=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == html


def test_an_empty_folder_gives_a_page_that_says_what_is_missing(tmp_path):
    config = small_config()
    write_report(config=config, layout=RunLayout(config.name, str(tmp_path)), out=tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert "Not trained yet, so left out: pretrain;" in page.text["run"]
    assert "No benchmark files" in page.text["run"]
    assert "Not prepared yet, so left out: static_train," in page.text["data"]
    assert "pretrain: no metrics file yet" in page.text["training"]
    assert "No pseudo-masks are made yet" in page.text["masks"]
    assert "No test split has been rendered yet" in page.text["glance"]
    assert "so there are no figures" in page.text["glance"]
    assert "so the claims are left out" in page.text["claims"]
    assert "The benchmark tables are not made yet" in page.text["benchmark"]
    assert "are not scored yet" in page.text["pictures"]
    assert "scores against motion are left out" in page.text["relations"]
    assert "No ablation has been run" in page.text["ablations"]


def test_masks_of_another_split_are_refused(run, tmp_path):
    config, layout = run
    other = RunLayout(config.name, str(tmp_path))
    shutil.copytree(layout.base, other.base)
    shutil.rmtree(one_part(other.residuals(1, "dynamic_test")))
    shutil.copytree(one_part(layout.residuals(1, "frozen_test")), one_part(other.residuals(1, "dynamic_test")))
    with pytest.raises(ValueError, match="made from something else: store is"):
        write_report(config=config, layout=other, out=tmp_path / "page.html")


def test_a_damaged_table_is_refused(run, tmp_path):
    config, layout = run
    other = RunLayout(config.name, str(tmp_path))
    shutil.copytree(layout.tables, other.tables)
    file = Path(other.tables) / "tables.md"
    file.write_text(file.read_text().replace("| 2 | blend |", "| 2 |", 1))
    with pytest.raises(ValueError, match=r"tables\.md: .* run the stage benchmark_tables again"):
        read_tables(config, other)


def _summary(run, tmp_path, *options):
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(run[0].model_dump(mode="json")))
    results = Path(run[1].base).parent
    result = CliRunner().invoke(app, ["run", "summary", str(file), "--results", str(results), *options])
    assert result.exit_code == 0, result.output
    return file, result.output


def test_the_summary_is_a_few_lines(run, html, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    file, text = _summary(run, tmp_path)
    lines = text.splitlines()
    assert len(lines) <= 12
    assert lines[0].startswith("Run small. ")
    assert lines[1].startswith("  - New views of static clips: ")
    assert "Copying the nearest input: " in lines[1]
    assert "Trained without masks: " in text
    assert re.search(r"^Of \d+ claims: \d+ (hold|do|un)", text, re.MULTILINE)
    assert re.search(r"^(Did not hold: .*_test|No claim failed)", text, re.MULTILINE)
    assert f"run summary {file} --tables" in lines[-3]
    assert lines[-2] == f"Report:  {run[1].report}"
    assert "masks run VIDEO" in lines[-1]


def test_tables_are_printed_on_request(run, html, tmp_path):
    _, text = _summary(run, tmp_path, "--tables")
    assert "View synthesis on dynamic_test" in text
    assert "does not hold" in text
    assert text.rstrip().endswith(f"Report:  {run[1].report}")


def test_the_command_names_what_is_missing(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(small_config().model_dump(mode="json")))
    result = CliRunner().invoke(app, ["run", "summary", str(file), "--results", str(tmp_path)])
    assert result.exit_code == 2
    assert "summary.csv is missing; finish the run first" in result.output
