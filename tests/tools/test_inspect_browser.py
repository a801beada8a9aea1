"""The pages of a gallery in a headless Chromium: they open from the disk, and sorting, filters, pages and keys work."""

import os
import re

import numpy as np
import pytest
import torch

from tests.helpers.browser import MISSING, Browser
from tests.helpers.inspect_run import command, make_cache
from wildrayzer.tools.inspect.files import open_cache
from wildrayzer.tools.inspect.frame_statistics import SORTINGS, measure, ordered, windows_of

# Where the variable is set, a missing browser is an error and no reason to skip.
pytestmark = pytest.mark.skipif(
    MISSING is not None and "WILDRAYZER_NEED_BROWSER" not in os.environ, reason=str(MISSING)
)
LISTED = "return [...document.querySelectorAll('#list tbody[data-window]')].map(body => Number(body.dataset.window))"
LOADED = (
    "return !document.querySelector('.wait') && [...document.images].every(one => one.complete && one.naturalWidth)"
)
IMAGES = "return document.querySelectorAll('#list td img').length"
COUNT = "return document.querySelector('#count').textContent"
FOCUSED = "return document.activeElement.textContent"
TITLE = "return document.querySelector('#large-title').textContent"
OPEN = "return document.querySelector('#large').open"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_cache(tmp_path_factory.mktemp("results"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def gallery(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "gallery"
    result = command(cache, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture
def windows(browser, gallery):
    """The page of the windows, loaded anew; whatever a test does leaves the console silent."""
    browser.open(gallery / "windows.html")
    browser.wait(LOADED)
    yield browser
    assert browser.errors() == []


def rank(cache, by):
    figures = measure(open_cache(cache))
    return [window.number for window in ordered(figures, windows_of(figures), by)]


def choose(browser, name, value):
    browser.run(
        "const field = document.forms[0].elements[arguments[0]]; field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}))", name, value,
    )  # fmt: skip


def test_the_summary_opens_and_its_pictures_load(browser, gallery):
    browser.open(gallery / "index.html")
    browser.wait(LOADED)
    assert browser.run("return document.images.length") >= 8
    assert browser.run("return [...document.images].every(one => one.alt)")
    assert "Pseudo-masks: dynamic_train" in browser.run("return document.querySelector('h1').textContent")
    assert browser.errors() == []


def test_nothing_is_loaded_from_elsewhere(windows):
    names = windows.run("return performance.getEntries().map(entry => entry.name)")
    assert [name for name in names if re.match("(https?|wss?):", name)] == []
    assert windows.run("return location.protocol") == "file:"


def test_every_window_has_its_pictures(windows, cache):
    # two inputs and nine pictures of one target
    assert windows.run(IMAGES) == 11 * len(windows.run(LISTED)) > 0
    assert windows.run("return [...document.images].every(one => one.alt)")
    assert windows.run("return document.querySelector('#list td img').alt").startswith("input frame")


@pytest.mark.parametrize("key", SORTINGS)
def test_sorting_is_that_of_the_command(windows, cache, key):
    choose(windows, "sort", key)
    expected = rank(cache, key)
    assert windows.run(LISTED) == expected
    windows.press("r")
    assert windows.run(LISTED) == expected[::-1]
    assert f"sort={key}" in windows.run("return location.hash") or key == "psnr"


def test_filters_and_search(windows, cache, gallery):
    figures = measure(open_cache(cache))
    by_window = windows_of(figures)
    # a limit between the windows: one that some frames fall below, in the place of the run's
    lowest = sorted(figures.psnr[one.rows].min() for one in by_window)
    limit = float(np.mean(lowest[len(lowest) // 2 - 1 : len(lowest) // 2 + 1]))
    page = (gallery / "windows.html").read_text()
    assert page.count('"psnr_filter":9.0') == 1
    (gallery / "limit.html").write_text(page.replace('"psnr_filter":9.0', f'"psnr_filter":{limit}'))
    windows.open(gallery / "limit.html")
    windows.wait(LOADED)
    for key, quantity in (("left", np.any), ("none_kept", np.all)):
        choose(windows, "show", key)
        assert set(windows.run(LISTED)) == {
            one.number for one in by_window if quantity(figures.psnr[one.rows] <= limit)
        }
    choose(windows, "show", "left")
    assert 0 < len(windows.run(LISTED)) < len(by_window)
    choose(windows, "show", "all_empty")
    empty = {one.number for one in by_window if (figures.coverage[one.rows] == 0).all()}
    assert set(windows.run(LISTED)) == empty
    choose(windows, "show", "all")
    choose(windows, "clip", "CLIP_3")
    found = windows.run(LISTED)
    assert 0 < len(found) < len(by_window)
    assert windows.run(
        "return [...document.querySelectorAll('.line')].every(one => one.textContent.includes('clip_3'))"
    )
    choose(windows, "clip", "nowhere")
    assert "No window is like this." in windows.run("return document.querySelector('#list').textContent")


def test_pages_by_buttons_and_keys(windows, cache):
    choose(windows, "size", "10")
    total = len(rank(cache, "psnr"))
    assert windows.run(COUNT) == f"{total} windows, page 1 of 2"
    first = windows.run(LISTED)
    windows.click("#next")
    second = windows.run(LISTED)
    assert first + second == rank(cache, "psnr")
    assert windows.run("return document.querySelector('#next').disabled")
    windows.press("n", "p")
    assert windows.run(LISTED) == first
    windows.wait(LOADED)


def test_keys_lead_through_the_windows_and_over_pages(windows, cache):
    choose(windows, "size", "10")
    expected = rank(cache, "psnr")
    windows.press("Right", "j", "Left")
    assert windows.run(FOCUSED) == f"Window {expected[0]}"
    windows.press(*["Right"] * 10)
    assert windows.run(FOCUSED) == f"Window {expected[10]}"
    assert "page 2" in windows.run(COUNT)
    windows.press("k")
    assert windows.run(FOCUSED) == f"Window {expected[9]}"
    assert "page 1" in windows.run(COUNT)
    windows.press("s")
    assert windows.run("return document.forms[0].elements.sort.value") == "coverage"
    windows.press("/")
    assert windows.run("return document.activeElement.name") == "clip"
    windows.wait(LOADED)


def test_keys_live_on_after_a_control_was_used(windows, cache):
    expected = rank(cache, "psnr")
    windows.click("input[name=reverse]")
    windows.press("r", "j")
    assert windows.run(LISTED) == expected
    windows.press("/", "c", "l", "i", "p", "_", "3", "Enter")
    found = windows.run(LISTED)
    assert 0 < len(found) < len(expected)
    assert windows.run(FOCUSED) == f"Window {found[0]}"
    windows.press("j")
    assert windows.run(FOCUSED) == f"Window {found[1]}"
    windows.press("/", "Escape")
    assert windows.run("return document.activeElement === document.body")
    windows.press("k")
    assert windows.run(FOCUSED) == f"Window {found[0]}"
    windows.wait(LOADED)


@pytest.mark.parametrize("fragment", ["#size=0", "#size=7", "#show=nothing&sort=nothing"])
def test_addresses_with_what_the_controls_do_not_offer(browser, gallery, cache, fragment):
    browser.open(gallery / "windows.html", fragment)
    browser.wait(LOADED)
    assert browser.run(LISTED) == rank(cache, "psnr")
    values = browser.run("return ['sort', 'show', 'size'].map(name => document.forms[0].elements[name].value)")
    assert values == ["psnr", "all", "20"]
    assert browser.errors() == []


def test_the_large_view_shows_all_targets(windows, cache):
    files, expected = open_cache(cache), rank(cache, "psnr")
    windows.press("Right", "Enter")
    assert windows.run(OPEN)
    windows.wait(LOADED)
    targets = len(files.windows.windows[expected[0]].targets)
    assert windows.run("return document.querySelectorAll('#large-table tbody tr').length") == targets
    assert windows.run("return document.querySelectorAll('#large-table td img').length") == 2 + 9 * targets
    windows.press("Right")
    assert windows.run(TITLE).startswith(f"Window {expected[1]}:")
    windows.click("#large-previous")
    assert windows.run(TITLE).startswith(f"Window {expected[0]}:")
    assert f"window={expected[0]}" in windows.run("return location.hash")
    windows.press("Escape")
    windows.wait(f"{FOCUSED} === 'Window {expected[0]}'")
    assert not windows.run(OPEN)
    windows.press("?")
    assert windows.run("return document.querySelector('#keys').open")


def test_links_of_the_summary_open_a_window(browser, gallery, cache):
    browser.open(gallery / "index.html")
    link = browser.run("return document.querySelector('.lists a[href*=coverage]').getAttribute('href')")
    page, _, fragment = link.partition("#")
    browser.open(gallery / page, f"#{fragment}")
    browser.wait(LOADED)
    assert browser.run(OPEN)
    assert browser.run(TITLE).startswith(f"Window {rank(cache, 'coverage')[0]}:")
    assert browser.run("return document.forms[0].elements.sort.value") == "coverage"
    assert browser.errors() == []


def test_a_lost_file_is_named_on_the_page(browser, gallery, cache):
    number = rank(cache, "psnr")[0]
    file = gallery / "windows" / f"{number:06d}.js"
    content = file.read_text()
    file.unlink()
    try:
        browser.open(gallery / "windows.html")
        browser.wait(f"return document.body.textContent.includes('pictures of window {number} are missing')")
    finally:
        file.write_text(content)
    assert any("ERR_FILE_NOT_FOUND" in line for line in browser.errors())


def test_controls_have_names_and_the_page_a_language(windows):
    unnamed = windows.run(
        "return [...document.querySelectorAll('button, select, input')]"
        ".filter(one => !one.textContent.trim() && !one.closest('label')).length"
    )
    assert unnamed == 0
    assert windows.run("return document.documentElement.lang") == "en"
    windows.press("Tab")
    assert windows.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
