"""Snakemake's own report of a finished run: made without a network, with captions that quote the configuration."""

import json
import os
import re
import zipfile

import pytest

from tests.helpers.browser import MISSING, Browser
from tests.helpers.tiny_run import snakemake

pytestmark = pytest.mark.slow
NEEDS_BROWSER = pytest.mark.skipif(
    MISSING is not None and "WILDRAYZER_NEED_BROWSER" not in os.environ, reason=str(MISSING)
)


@pytest.fixture(scope="module")
def offline():
    """A proxy that nobody answers at, for whoever would fetch something."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def page(finished, offline, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    snakemake(finished, "--config", "benchmark={bootstrap: 250}", "--report", str(path), "--", "all")
    return path


def results(html):
    """What the page holds, by the name of the file."""
    found = json.loads(re.search(r"var results = (\{.*?\});\n", html, re.DOTALL)[1])
    return {one["name"]: one for one in found.values()}


def test_the_report_holds_tables_and_page_with_captions_of_this_configuration(page):
    html = page.read_text()
    assert re.search(r"run <strong>tiny</strong>", html)
    found = results(html)
    assert {"tables.md", "summary.csv", "claims.csv", "index.html"} <= set(found)
    caption = " ".join(found["tables.md"]["caption"].split())
    assert "Benchmark tables of run tiny: nearest, static, joint, unmasked with 2 input views and 3 targets." in caption
    assert "250 bootstrap resamples" in caption
    assert "6 steps of pretraining, 6 of distillation" in " ".join(found["index.html"]["caption"].split())
    assert found["tables.md"]["labels"] == {"of": "run", "file": "tables"}


def test_the_archive_has_the_files_beside_the_page(finished, offline, tmp_path):
    snakemake(finished, "--report", str(tmp_path / "report.zip"), "--", "all")
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = archive.namelist()
        assert "report/report.html" in names
        (tables,) = (name for name in names if name.endswith("/tables.md"))
        assert archive.read(tables) == (finished / "results" / "tiny" / "tables" / "tables.md").read_bytes()


@NEEDS_BROWSER
def test_the_page_works_in_a_browser(page):
    with Browser() as browser:
        browser.open(page)
        browser.wait("return document.body.innerText.includes('raw frames to pseudo-masks')")
        browser.wait("return document.body.innerText.includes('Benchmark')")
        assert not [line for line in browser.errors() if "tailwind" not in line.lower()]
