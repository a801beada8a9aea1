"""`wildrayzer masks inspect`: figures by hand, what is read and refused, health and provenance."""

import shutil

import numpy as np
import pytest

from tests.helpers.inspect_run import SPLIT, command, flat, make_cache, make_store, write_masks, write_residuals
from tests.stages.test_mask_stages import save_renderer
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.io.files import read_json
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.cache.location import CacheLocation
from wildrayzer.tools.inspect.files import open_cache
from wildrayzer.tools.inspect.frame_statistics import FrameStatistics, choose, measure, ordered, windows_of
from wildrayzer.tools.inspect.health import health, overall, sentence
from wildrayzer.tools.inspect.provenance import origins
from wildrayzer.tools.inspect.text import histogram

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("results"))


@pytest.fixture
def copied(cache, tmp_path):
    """A run of one's own to damage: its cache."""
    shutil.copytree(cache.parents[3], tmp_path / "small")
    return tmp_path / "small" / cache.relative_to(cache.parents[3])


A = np.array([[0, 0], [0, 1]], float)


def test_disagreement_and_coverage_by_hand(tmp_path):
    alike, opposite, unrelated = (A, 2 * A), (A, -A), (A, np.zeros((2, 2)))
    d_dino, d_ssim = (np.stack(maps) for maps in zip(alike, opposite, unrelated, alike, strict=True))
    maps = write_residuals(tmp_path, d_dino, d_ssim, np.array([20.0, 10, 30, 0]), np.array([1, 0, 1, -1]))
    patch = np.zeros((4, 2, 2))
    patch[0, 0, 0] = patch[1] = 1
    patch[3] = 255
    pixel = np.zeros((4, 4, 4))
    pixel[0, 0, :4] = 1  # two of its four pixels lie in the marked patch, which has four: IoU 2 / 6
    pixel[3] = 255
    write_masks(tmp_path, patch, pixel, parent=maps.digest)
    found = measure(open_cache(tmp_path))
    assert found.frame.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.maps, [0, 2, 1], atol=1e-6)
    np.testing.assert_allclose(found.patch, [0.25, 1, 0])
    np.testing.assert_allclose(found.pixel, [0.25, 0, 0])
    np.testing.assert_allclose(found.masks, [1 - 2 / 6, 1, 0])
    assert np.isnan(found.iou).all()
    assert found.finite.all()
    assert [(window.number, window.rows.tolist()) for window in windows_of(found)] == [(0, [1]), (1, [0, 2])]


def test_truth_by_hand(tmp_path):
    store = make_store(tmp_path / "frames.json", lengths=(3,))
    window, zeros = np.zeros(3), np.zeros((3, 2, 2))
    maps = write_residuals(tmp_path, zeros, zeros, np.full(3, 20.0), window, digests={"store": store.digest})
    pixel = np.zeros((3, 24, 24))
    pixel[0, 8:16, 0:8] = 1  # the square of 8 × 8 of frame 0 exactly
    pixel[1, 8:16, 2:6] = 1  # half of it
    write_masks(tmp_path, zeros, pixel, parent=maps.digest)
    found = measure(open_cache(tmp_path, frames=tmp_path / "frames.json"))
    np.testing.assert_allclose(found.iou, [1, 0.5, 0])
    np.testing.assert_allclose(found.true, [64 / 576] * 3)
    # patch masks stand in where nothing is refined yet
    shutil.rmtree(tmp_path / "pixel_masks.zarr")
    files = open_cache(tmp_path, frames=tmp_path / "frames.json")
    np.testing.assert_allclose(measure(files).iou, [0, 0, 0])
    assert "pixel_masks are not made yet: run the stage refine." in files.notes


def some_figures(count=4, **columns):
    nothing = np.full(count, np.nan)
    values = dict.fromkeys(("patch", "pixel", "masks", "iou", "true"), nothing)
    values |= {"psnr": np.full(count, 20.0), "maps": np.full(count, 0.5), "finite": np.ones(count, bool)}
    values |= {name: np.asarray(column) for name, column in columns.items()}
    return FrameStatistics(frame=np.arange(count), window=np.arange(count, dtype=np.int32), **values)


@pytest.mark.parametrize(
    ("by", "expected"),
    [("window", [0, 1, 2, 3]), ("psnr", [2, 0, 1, 3]), ("coverage", [1, 2, 3, 0]), ("iou", [1, 3, 0, 2])],
)
def test_order(by, expected):
    figures = some_figures(
        psnr=[20.0, 21, 5, 30], pixel=[0.0, 0.9, 0.5, 0.5], patch=[0.0] * 4, iou=[0.5, 0.1, np.nan, 0.2]
    )
    assert [window.number for window in ordered(figures, windows_of(figures), by)] == expected


def test_choice_by_clip_rank_and_number(cache):
    files = open_cache(cache)
    figures = measure(files)
    options = {"scenes": [], "worst": None, "by": "psnr", "most": 0}

    def numbers(**changes):
        return [window.number for window in choose(files, figures, **{**options, **changes})]

    everything = numbers()
    assert everything == list(range(len(files.windows)))
    assert numbers(scenes=["clip_1"]) == [n for n, w in enumerate(files.windows.windows) if w.scene == 1]
    assert numbers(scenes=["clip_1"], most=1) == numbers(scenes=["clip_1"])
    assert numbers(most=3) == [everything[len(everything) * n // 3] for n in range(3)]
    ranked = [window.number for window in ordered(figures, windows_of(figures), "psnr")]
    assert numbers(worst=3) == sorted(ranked[:3])
    with pytest.raises(ValueError, match=r"--scene room: no clip of .* the clips are clip_0 to clip_4"):
        numbers(scenes=["room"])


def test_the_run_is_found_by_a_relative_path(cache, monkeypatch):
    monkeypatch.chdir(cache)
    for path in (".", f"../{cache.name}", f"../../{SPLIT}/{cache.name}/residuals.json", cache):
        place = CacheLocation.of(path)
        assert (place.path, place.run, place.split) == (cache, cache.parents[3], SPLIT)


def test_what_does_not_fit_is_refused_or_said(copied):
    base, store = copied.parents[3], copied.parents[3] / "frames" / f"{SPLIT}.json"
    store.unlink()
    other = make_store(store, lengths=(6, 7, 8, 12, 3))
    files = open_cache(copied)
    assert files.store is None
    assert any(f"frames/{SPLIT}.json is {other.digest}, the cache was made from" in note for note in files.notes)
    with pytest.raises(ValueError, match=rf"--frames .* is {other.digest}, the cache was made from .*; name the one"):
        open_cache(copied, frames=store)
    (base / "windows" / f"{SPLIT}.json").unlink()
    notes = open_cache(copied).notes
    assert any(f"The window list is not at windows/{SPLIT}.json" in note and "--windows" in note for note in notes)
    result = command(copied, "--text")
    assert result.exit_code == 0
    assert "--windows" in result.output


def test_mixed_parts_are_refused_and_named(copied):
    zeros = np.zeros((35, 6, 6))
    parent = ResidualMaps(copied / "residuals.json").digest
    (copied / "patch_masks.json").unlink()
    write_masks(copied, zeros, None, parent="abad1dea")
    result = command(copied, "--text")
    assert result.exit_code == 2
    assert f"residuals is abad1dea, expected {parent}; run the stage pseudo_masks again" in flat(result.output)
    result = command(copied, "--provenance")
    assert result.exit_code == 1
    assert "patch_masks was made from another residuals" in result.output
    assert "pixel_masks was made from another patch_masks" in result.output


def test_unfinished_and_missing_groups(copied):
    (copied / "pixel_masks.json").unlink()
    result = command(copied, "--text")
    assert result.exit_code == 2
    assert "pixel_masks.json is unfinished; run the stage refine again" in flat(result.output)
    (copied / "residuals.json").unlink()
    shutil.rmtree(copied / "residuals")
    assert "residuals.json does not exist; run the stage residuals again" in flat(command(copied).output)


HEALTHY = {"patch": [0.1, 0.2, 0.1, 0.1], "pixel": [0.1, 0.2, 0.1, 0.1], "masks": [0.1] * 4}


@pytest.mark.parametrize(
    ("name", "columns", "still", "verdict"),
    [
        ("Frames with broken maps", {"finite": [True, True, True, False]}, False, "wrong"),
        ("Kept by the PSNR filter", {"psnr": [18.0, 16, 16, 16]}, False, "look"),
        ("Kept by the PSNR filter", {"psnr": [17.0, 16, 16, 16]}, False, "wrong"),
        ("Correlation of the maps", {"maps": [1.5] * 4}, False, "wrong"),
        ("Correlation of the maps", {"maps": [0.9] * 4}, False, "look"),
        ("Coverage", {"pixel": [0.0] * 4}, False, "wrong"),
        ("Coverage", {"pixel": [0.7] * 4}, False, "wrong"),
        ("Coverage", {"pixel": [0.0] * 4}, True, "fine"),
        ("Coverage", {}, True, "look"),
        ("Empty masks", {"pixel": [0.0, 0, 0, 0.2]}, False, "look"),
        ("Empty masks", {"pixel": [0.0, 0, 0, 0.2]}, True, "fine"),
        ("Nearly full masks", {"pixel": [0.1, 0.1, 0.1, 0.9]}, False, "wrong"),
        ("Emptied by refinement", {"pixel": [0.1, 0.1, 0.1, 0.0]}, False, "look"),
        ("IoU with the truth", {"iou": [0.3] * 4, "true": [0.1] * 4}, False, "fine"),
        ("IoU with the truth", {"iou": [0.1] * 4, "true": [0.2] * 4}, False, "wrong"),
    ],
)
def test_verdicts(cache, name, columns, still, verdict):
    files = open_cache(cache, psnr_filter=17.0)
    checks = health(files, some_figures(**{**HEALTHY, **columns}), still=still)
    (check,) = [check for check in checks if check.name == name]
    assert check.verdict == verdict
    assert (name in sentence(checks)) == (verdict != "fine")


def test_the_worst_verdict_counts(cache):
    files, figures = open_cache(cache, psnr_filter=17.0), some_figures(**HEALTHY)
    computed, *rest = health(files, figures, still=False, psnr_difference=0.05)
    # four frames of 35, which is what the check is for
    assert (computed.name, computed.verdict, computed.value) == (
        "Frames computed",
        "wrong",
        "4 of 35 (11.4%), 1 clips skipped",
    )
    assert overall(rest) == "fine"
    assert sentence(rest) == f"Looks healthy: all {len(rest)} checks are fine."
    apart = health(files, figures, still=False, psnr_difference=3.0)[-1]
    assert (apart.name, apart.verdict) == ("Renderings repeat", "wrong")


def test_every_part_says_what_made_it(cache):
    rows = {(one.group, one.name): one for one in origins(cache)}
    assert len([group for group, name in rows if name == "itself"]) == 3
    for group in ("residuals", "patch_masks", "pixel_masks"):
        assert rows[group, "renderer"].state == rows[group, "store"].state == "fits"
        assert rows[group, "renderer"].what == "pretrain/checkpoint: pretrain, step 1"
        assert rows[group, "itself"].what.startswith("wildrayzer ")
        assert rows[group, "backbone"].what == "descriptor"
    assert rows["residuals", "windows"].state == "fits"
    assert "clusters 6" in rows["residuals", "config"].what
    assert "top_share 0.4" in rows["patch_masks", "options"].what
    assert "grabcut False" in rows["pixel_masks", "options"].what
    assert rows["patch_masks", "residuals"].digest == rows["residuals", "itself"].digest
    assert rows["patch_masks", "thresholds"].what == "no absolute test"
    assert not [one for one in rows.values() if one.state in ("differs", "not available")]


def test_provenance_follows_what_lies_in_the_run(copied):
    base = copied.parents[3]
    save_renderer(base / "pretrain" / "checkpoint", seed=5)
    listed = read_json(base / "windows" / f"{SPLIT}.json")
    changed = WindowList(listed["store_digest"], 2, 3, tuple(listed["lengths"]), (), {})
    changed.save(base / "windows" / f"{SPLIT}.json")
    rows = {(one.group, one.name): one.state for one in origins(copied)}
    assert rows["residuals", "renderer"] == "not available"
    assert rows["residuals", "windows"] == "differs"
    result = command(copied, "--provenance")
    assert result.exit_code == 0
    assert "no checkpoint of the run has these weights" in result.output
    assert not (copied / "inspect").exists()


def test_the_text_summary(cache):
    result = command(cache, "--text", "--by", "coverage")
    assert result.exit_code == 0, result.output
    figures = measure(open_cache(cache))
    assert "Pseudo-masks: dynamic_train, round 1, renderer" in result.output
    assert f"{np.mean(figures.psnr > 9):.1%} over 9 dB" in result.output
    assert "33 of 35 (94.3%), 1 clips skipped" in result.output
    assert "First windows: highest coverage first" in result.output
    assert not (cache / "inspect").exists()


def test_a_histogram_line():
    line = histogram("x", np.array([0.0, 0, 0, 1, np.nan]))
    assert line.startswith("  x                  0.00 |█")
    assert line.endswith("▃| 1.00, mean 0.25")


def test_an_ablation_shares_the_rest_with_the_run(copied):
    own = copied.parents[3] / "ablations" / "no_test" / "round1" / "masks" / SPLIT / "renderer"
    own.mkdir(parents=True)
    for name in ("patch_masks", "patch_masks.json"):
        (copied / name).rename(own / name)
    files = open_cache(own)
    assert files.place.title == f"no_test, {SPLIT}, round 1, renderer"
    assert (files.maps.path, files.pixels.path) == (copied / "residuals.json", copied / "pixel_masks.json")
    assert files.patches.path == own / "patch_masks.json"
    assert files.store is not None
    assert files.psnr_filter == 9.0
    assert {one.group for one in origins(own)} == {"residuals", "patch_masks", "pixel_masks"}


def test_bad_options_are_named(cache):
    assert "--by iou" not in command(cache, "--text", "--by", "iou").output
    result = command(cache, "--text", "--scene", "room")
    assert result.exit_code == 2
    assert "--scene room: no clip" in flat(result.output)


def test_sorting_by_what_is_not_known_is_refused(tmp_path):
    zeros = np.zeros((3, 2, 2))
    write_residuals(tmp_path, zeros, zeros, np.full(3, 20.0), np.zeros(3))
    result = command(tmp_path, "--text", "--by", "iou")
    assert result.exit_code == 2
    assert "--by iou: the cache has no such value" in flat(result.output)
    write_residuals(tmp_path, zeros, zeros, np.full(3, 20.0), np.full(3, -1))
    assert "has no computed frame" in flat(command(tmp_path, "--text").output)
