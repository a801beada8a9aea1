"""The page in a browser: every control once, hostile uploads, ten sessions at once, and what is left afterwards."""

import base64
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import wildrayzer as wr
from tests.helpers.browser import MISSING, Browser
from tests.helpers.clips import frame, write_clip
from tests.tools.test_render import checkpoint, photos
from wildrayzer.app import serve
from wildrayzer.app.examples import find_examples
from wildrayzer.app.uploads import MOST_VIDEO_FRAMES
from wildrayzer.cli.main import app
from wildrayzer.config import load_config
from wildrayzer.io.shipped import BUNDLED_MODEL
from wildrayzer.stages.prepare import make_embedded

ROOT = Path(__file__).parents[2]
NO_GRADIO = importlib.util.find_spec("gradio") is None
NEEDED = os.environ.get("WILDRAYZER_NEED_APP") == "1"
in_browser = pytest.mark.skipif(
    bool(not NEEDED and (NO_GRADIO or MISSING)),
    reason="needs gradio (pip install 'wildrayzer[app]') and Chromium; WILDRAYZER_NEED_APP=1 makes this a failure",
)
pytestmark = pytest.mark.usefixtures("one_thread")
PATIENCE = 300
"""Seconds that no answer of a healthy server takes, on crowded machines either."""


def test_without_gradio_the_command_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["app"])
    assert result.exit_code == 2
    assert "pip install 'wildrayzer[app]'" in result.output


def test_the_examples_of_the_package(tmp_path):
    photos, *clips = find_examples()
    pictures = photos.read(48)
    assert len(pictures) == 5
    assert pictures[0].view.image.shape == (48, 48, 3)
    assert [len(clip.read(32)) for clip in clips] == [6, 6, 6]
    embedded = load_config(ROOT / "config" / "showcase.yaml").data.embedded
    three = {"pairs_test": embedded.splits["pairs_test"].model_copy(update={"scenes": 3})}
    make_embedded(
        embedded.model_copy(update={"splits": three}), image_size=32, split="pairs_test", out_dir=tmp_path / "pairs"
    )
    for number, clip in enumerate(clips):
        recorded = sorted((tmp_path / "pairs" / "images" / f"pairs_test_{number:05d}").iterdir())
        shown = [picture.view.image for picture in clip.read(32)]
        np.testing.assert_array_equal(shown, [np.asarray(Image.open(recorded[place])) for place in (0, 2, 4, 5, 7, 9)])


def test_the_bundled_model_is_taken_also_beside_a_finished_demo(tmp_path, monkeypatch):
    checkpoint(tmp_path / "results" / "demo" / "round1" / "joint" / "checkpoint")
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(serve, "serve", lambda source, **options: asked.append(wr.load(source).folder))
    assert CliRunner().invoke(app, ["app"]).exit_code == 0
    assert asked == [BUNDLED_MODEL]


class Page:
    """The app in a browser."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def open(self):
        self.browser._call("POST", "/url", {"url": self.address})
        self.wait("#examples img")

    def until(self, script):
        """Until a script returns something true; that."""
        return self.browser.wait(f"return {script}", seconds=PATIENCE)

    def wait(self, selector):
        return self.until(f"document.querySelector({selector!r})")

    def text(self, selector, pattern):
        """Until the text of an element matches."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.browser.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
            if re.search(pattern, found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"{selector} has no {pattern!r}: {found!r}")

    def click(self, selector):
        self.browser.run("document.querySelector(arguments[0]).click()", selector)

    def tab(self, label):
        self.browser.run(
            "[...document.querySelectorAll('[role=tab]')].find(t => t.textContent.trim() == arguments[0]).click()",
            label,
        )

    def slide(self, selector, value):
        """As a drag does: the value, then the events."""
        self.browser.run(
            "const i = document.querySelector(arguments[0] + ' input[type=range]');"
            "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(i, arguments[1]);"
            "for (const e of ['input', 'change', 'pointerup']) i.dispatchEvent(new Event(e, {bubbles: true}))",
            selector, str(value),
        )  # fmt: skip

    def source(self, selector):
        """Address of the shown picture."""
        self.wait(f"{selector} img")
        return self.browser.run("return document.querySelector(arguments[0] + ' img').src", selector)

    def until_other(self, selector, before):
        self.until(f"document.querySelector({selector + ' img'!r})?.src != {before!r}")

    def upload(self, *paths):
        """Files, as if they were dropped."""
        contents = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
        self.browser.run(
            "const t = new DataTransfer(); for (const [name, data] of arguments[0])"
            "  t.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name));"
            "const i = document.querySelector('#files input[type=file]');"
            "i.files = t.files; i.dispatchEvent(new Event('change', {bubbles: true}))",
            contents,
        )  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A running app with masks, on a small network."""
    work = tmp_path_factory.mktemp("page")
    folder = checkpoint(work / "joint")
    environment = {**os.environ, "TMPDIR": str(work), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", "from wildrayzer.cli.main import app; app()", "app", str(folder), "--device", "cpu"]
    server = subprocess.Popen(words, cwd=work, env=environment, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    try:
        yield re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert not list(work.glob("wildrayzer-app-*")), "files of visitors are left"


@pytest.fixture
def page(address):
    with Browser() as browser:
        page = Page(browser, address)
        page.open()
        yield page
        # gradio warns with these words whenever it closes a stream of events itself
        assert [line for line in browser.errors() if '"Method not implemented."' not in line] == []
        hosts = "return [...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).hostname))]"
        assert browser.run(hosts) == ["127.0.0.1"]


@in_browser
@pytest.mark.slow
def test_every_control_once(page):
    page.click("#examples .thumbnail-item")
    page.text("#chosen", "5 pictures of 256×256 px")
    page.text("#timings", "5 views without the gate")
    first = page.source("#nearest")
    page.slide("#view", 3)
    page.until_other("#nearest", first)
    assert page.browser.run("return document.querySelectorAll('#compare img').length") == 2

    page.tab("Masks")
    before = page.source("#masks")
    page.slide("#mask-threshold", 0)
    page.until_other("#masks", before)
    rendered = page.source("#ungated")
    page.slide("#gate-threshold", 0)
    page.text("#gate-text", r"(\d+) of \1 input patches .*press “Render again”")
    assert page.source("#ungated") == rendered
    page.click("#again")
    page.text("#gate-text", r"The renderings are those of 0\.00\.\s*$")

    page.tab("Pseudo-masks")
    page.click("#make-pseudo-masks")
    page.text("#pseudo-masks-text", r"Voting chose \d+ of 180 patches, \d+ are left")
    assert page.text("#timings", "thresholds from still clips .*pseudo-masks of 5 views")
    page.until("document.querySelectorAll('.mask-step img').length == 5 * 5")

    page.tab("Cameras")
    drawing = "document.querySelector('#drawing svg').outerHTML"
    for slider in ("#azimuth", "#elevation"):
        before = page.browser.run(f"return {drawing}")
        page.slide(slider, -40)
        page.until(f"{drawing} != {before!r}")

    page.tab("Camera path")
    page.slide("#path-frames", 9)
    page.click("#render-path")
    page.wait("#video video")
    before = page.source("#along")
    page.slide("#frame", 9)
    page.until_other("#along", before)
    assert {page.source("#along-nearest"), page.source("#along-ungated")}.isdisjoint({before})

    page.tab("Download")
    page.text("#command", "--gate-threshold 0")
    page.click("#pack")
    page.until("document.querySelector('#packed')?.offsetParent")

    page.browser.run("document.querySelector('#inputs input[value=\"2\"]').click()")
    page.click("#start")
    page.text("#command", "--inputs 2")


@in_browser
@pytest.mark.slow
def test_uploads_good_and_hostile(page, tmp_path):
    script = "<img src=x onerror=window.broken=1>.png"
    for number, name in enumerate(("a.png", script)):
        Image.fromarray(frame(number, (60, 40))).save(tmp_path / name)
    page.upload(tmp_path / "a.png", tmp_path / script)
    page.text("#chosen", "2 pictures of 60×40 px; the central square keeps")
    page.click("#start")
    page.text("#timings", "2 views")
    page.upload(tmp_path / "a.png")
    page.text(".toast-wrap", "1 photos: give 2 to 24 photos")
    page.until("!document.querySelector('#files .file-preview')")
    # one frame per second: 31 seconds are too long, whatever the file's size
    page.upload(write_clip(tmp_path / "hour.mp4", 40, rate=1, size=(32, 32), noise=True))
    page.text(".toast-wrap", f"hour.mp4 is longer than 30 s, or has more than {MOST_VIDEO_FRAMES} frames")
    page.until("!document.querySelector('#files .file-preview')")
    page.upload(write_clip(tmp_path / "walk.mp4", 9))
    page.text("#chosen", "5 pictures of 64×32 px")
    assert page.browser.run("return window.broken") is None


@in_browser
@pytest.mark.slow
def test_ten_sessions_at_once_with_the_same_photos(address, tmp_path):
    from gradio_client import Client, handle_file

    files = photos(tmp_path / "photos", [(60, 40)] * 3)

    def session():
        client = Client(address, verbose=False, download_files=False, httpx_kwargs={"timeout": None})
        client.predict([handle_file(file) for file in files], 5, api_name="/_upload")
        return str(client.predict(0, api_name="/_predict"))

    pool, results = ThreadPoolExecutor(10), []
    waiting = {pool.submit(session) for _ in range(10)}
    try:
        while waiting:  # as long as there is progress, whatever else the machine does
            done, waiting = wait(waiting, PATIENCE, return_when=FIRST_COMPLETED)
            assert done, f"{len(waiting)} sessions have no result {PATIENCE} s after the last one"
            results += [one.result() for one in done]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # the end of the server ends those that still wait
    assert len(results) == 10
    assert all("3 views without the gate" in result for result in results)
