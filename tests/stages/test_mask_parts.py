"""Masks of a split that grows: only new parts are made, all others stay, and how clips are divided does not matter."""

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.stages.test_mask_stages import FEATURES, RESIDUALS, SIZE, VOTING, clip, save_renderer
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.pseudo_masks.cache.adoption import adopt_cache
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.chunks import ChunkReader
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.stages import refine, residuals
from wildrayzer.stages.patch_masks import calibrate_threshold, list_residuals, vote_masks
from wildrayzer.stages.refine import refine_masks, refine_part
from wildrayzer.stages.residuals import compute_residuals
from wildrayzer.tools.inspect.files import open_cache
from wildrayzer.tools.inspect.frame_statistics import _in_batches, _measured, measure

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = {"a": 6, "b": 7, "c": 2, "d": 8, "e": 6}
"""Frames of each clip; the third one is too short for a window."""
FORM = StoreForm(SIZE, StoreConfig(), cameras=False)
REFINE = RefineConfig(seed_erosion=3, grabcut_iterations=1)
VOTE = VOTING.model_copy(update={"absolute_test": "patch", "false_positive_rate": 0.3})
ARRAYS = {
    ResidualMaps: ("d_dino", "d_ssim", "clusters", "psnr", "window", "disagreement"),
    PatchMasks: ("mask", "coverage"),
    PixelMasks: ("mask", "coverage", "disagreement"),
}


def make_split(folder, parts, *, seed_frames=None):
    """Frames and windows of a split whose parts have these clips, one letter each."""
    entries, first = [], 0
    for number, clips in enumerate(parts):
        with FrameStoreWriter(folder / "clips", FORM, keyed=True) as writer:
            for name in clips:
                writer.add_scene(name, clip(ord(name), LENGTHS[name], moving=True))
        seed = first if seed_frames is None else seed_frames[number]
        lengths = tuple(LENGTHS[name] for name in clips)
        entries.append(PartEntry(writer.digest, seed, tuple(clips), lengths))
        first += sum(lengths)
    SplitManifest(SIZE, FORM.coding, FORM.arrays, {}, tuple(entries)).save(folder / "clips.json")
    WindowList.build(FrameStore(folder / "clips.json"), RESIDUALS).save(folder / "windows.json")


def compute(folder, receipt="receipt.json", **options):
    data = {"store_path": folder / "clips.json", "windows_path": folder / "windows.json"}
    compute_residuals(
        checkpoint_dir=folder.parent / "renderer", config=RESIDUALS, features=FEATURES, predictor="nearest",
        out_path=folder / "residuals.json", receipt_path=folder / receipt, **data, **options,
    )  # fmt: skip


def list_parts(folder, *receipts):
    list_residuals(
        [folder / name for name in receipts or ["receipt.json"]], store_path=folder / "clips.json",
        windows_path=folder / "windows.json", out_path=folder / "residuals.json",
    )  # fmt: skip


def refined(folder, function=refine_masks, **options):
    function(
        patch_masks_path=folder / "patch_masks.json", store_path=folder / "clips.json", config=REFINE,
        out_path=folder / "pixel_masks.json", **options,
    )  # fmt: skip


def make_masks(folder, thresholds):
    compute(folder)
    list_parts(folder)
    if not thresholds.exists():
        calibrate_threshold([folder / "residuals.json"], config=VOTE, out_path=thresholds)
    vote_masks(
        residuals_path=folder / "residuals.json", config=VOTE, thresholds_path=thresholds,
        out_path=folder / "patch_masks.json",
    )  # fmt: skip
    refined(folder, workers=2)


def arrays(folder):
    """Every array of the cache, by kind and name."""
    caches = {kind: kind(folder / f"{kind.kind}.json") for kind in ARRAYS}
    return {f"{kind.kind}/{name}": caches[kind].all(name) for kind, names in ARRAYS.items() for name in names}


def files(folder):
    """Content and time of every file in parts."""
    found = (file for name in ("residuals", "patch_masks", "pixel_masks") for file in (folder / name).rglob("*"))
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in found if file.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A split of two parts with its masks, and thresholds that were calibrated on it."""
    folder = tmp_path_factory.mktemp("made")
    save_renderer(folder / "renderer")
    make_split(folder / "split", ["abc", "d"])
    make_masks(folder / "split", folder / "thresholds.json")
    return folder


@pytest.fixture
def grown(made, tmp_path):
    """A copy of one's own."""
    for name in ("renderer", "split"):
        shutil.copytree(made / name, tmp_path / name)
    shutil.copy(made / "thresholds.json", tmp_path)
    return tmp_path / "split"


def test_a_clip_that_is_added_costs_one_part_and_changes_nothing_else(grown):
    before, old = files(grown), arrays(grown)
    make_split(grown, ["abc", "d", "e"])
    make_masks(grown, grown.parent / "thresholds.json")
    after = files(grown)
    assert {file: after[file] for file in before} == before
    added = {file.relative_to(grown).parts[:2] for file in after.keys() - before.keys()}
    assert sorted(kind for kind, _ in added) == ["patch_masks", "pixel_masks", "residuals"], "one part of each"
    frames = sum(LENGTHS[name] for name in "abcd")
    for name, values in arrays(grown).items():
        np.testing.assert_array_equal(values[:frames], old[name])
        assert len(values) == frames + LENGTHS["e"]
    assert ResidualMaps(grown / "residuals.json").window.max() == len(WindowList.load(grown / "windows.json")) - 1


def test_how_clips_are_divided_does_not_matter(made, tmp_path):
    (tmp_path / "renderer").symlink_to(made / "renderer")
    make_split(tmp_path / "one", ["abcd"])
    make_masks(tmp_path / "one", made / "thresholds.json")
    expected = arrays(made / "split")
    for name, values in arrays(tmp_path / "one").items():
        np.testing.assert_array_equal(values, expected[name])
    assert expected["pixel_masks/mask"][:13].any()
    assert (expected["pixel_masks/mask"][13:15] == 255).all(), "the clip that is too short"
    one, two = (PatchMasks(folder / "patch_masks.json") for folder in (tmp_path / "one", made / "split"))
    assert one.summary == two.summary
    assert two.summary["coverage"] == expected["patch_masks/mask"][expected["residuals/window"] >= 0].mean()


def test_thresholds_name_the_parts_that_they_saw(made, tmp_path):
    thresholds = AbsoluteThresholds.load(made / "thresholds.json")
    assert thresholds.parts == [part.entry.key for part in ResidualMaps(made / "split" / "residuals.json").parts]
    fields = dataclasses.asdict(thresholds)
    del fields["parts"]
    (tmp_path / "earlier.json").write_text(json.dumps(fields), encoding="utf-8")
    earlier = AbsoluteThresholds.load(tmp_path / "earlier.json")
    assert (earlier.parts, earlier.digest) == ([], thresholds.digest)


def test_masks_stay_when_clips_before_them_are_removed(grown):
    before, old = files(grown), arrays(grown)
    make_split(grown, ["d"], seed_frames=[15])
    make_masks(grown, grown.parent / "thresholds.json")
    assert files(grown) == before, "and the removed part stays until the next time"
    for name, values in arrays(grown).items():
        if name != "residuals/window":
            np.testing.assert_array_equal(values, old[name][15:])
    make_masks(grown, grown.parent / "thresholds.json")
    assert [len(list((grown / name).iterdir())) for name in ("residuals", "patch_masks", "pixel_masks")] == [1, 1, 1]
    key = ResidualMaps(grown / "residuals.json").digest
    make_split(grown, ["d"], seed_frames=[0])
    compute(grown)
    list_parts(grown)
    assert ResidualMaps(grown / "residuals.json").digest != key, "seeds decide clusters"


def test_a_job_that_is_killed_resumes_at_the_part(made, grown, monkeypatch):
    expected = arrays(grown)
    for name in ("residuals", "pixel_masks"):
        shutil.rmtree(grown / name)
    real, seen = residuals.window_maps, []

    def killed(targets, *positional, **options):
        seen.append(len(targets))
        if len(seen) == 5:  # the first part has four batches
            raise KeyboardInterrupt
        return real(targets, *positional, **options)

    monkeypatch.setattr(residuals, "window_maps", killed)
    with pytest.raises(KeyboardInterrupt):
        compute(grown)
    (first,) = (grown / "residuals").iterdir()
    time = first.stat().st_mtime_ns
    compute(grown)
    assert first.stat().st_mtime_ns == time
    list_parts(grown)
    starts = []
    real_refine = refine.refine_frames

    def killed_refine(jobs, *positional, **options):
        starts.append(1)
        if len(starts) == 2:
            raise KeyboardInterrupt
        return real_refine(jobs, *positional, **options)

    monkeypatch.setattr(refine, "refine_frames", killed_refine)
    with pytest.raises(KeyboardInterrupt):
        refined(grown)
    assert len(list((grown / "pixel_masks").iterdir())) == 1
    refined(grown)
    assert len(starts) == 3, "the first part is not made twice"
    for name, values in arrays(grown).items():
        np.testing.assert_array_equal(values, expected[name])


def test_two_jobs_that_make_the_same_part_at_once(grown):
    expected = arrays(grown)
    shutil.rmtree(grown / "residuals")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: compute(grown, name), ["one.json", "two.json"]))
    assert (grown / "one.json").read_bytes() == (grown / "two.json").read_bytes()
    list_parts(grown, "two.json")
    assert len(list((grown / "residuals").iterdir())) == 2
    for name in ARRAYS[ResidualMaps]:
        np.testing.assert_array_equal(ResidualMaps(grown / "residuals.json").all(name), expected[f"residuals/{name}"])


def test_any_number_of_jobs_gives_the_same_files(made, grown):
    shutil.rmtree(grown / "residuals")
    shutil.rmtree(grown / "pixel_masks")
    names = [f"{job}.json" for job in range(3)]
    for job, name in enumerate(names):  # one more than there are parts
        compute(grown, name, job=job, jobs=3)
    list_parts(grown, *names[::-1])
    assert json.loads((grown / "2.json").read_text(encoding="utf-8"))["keys"] == {}
    for job, name in enumerate(names):
        refined(grown, refine_part, receipt_path=grown / name, job=job, jobs=3)
    refined(grown)
    for name in ("residuals", "pixel_masks"):
        assert (grown / f"{name}.json").read_bytes() == (made / "split" / f"{name}.json").read_bytes()
    one, other = (
        {file.relative_to(folder): content for file, (content, _) in files(folder).items()}
        for folder in (made / "split", grown)
    )
    assert one == other


def test_a_missing_a_damaged_and_a_foreign_part_are_refused_by_name(grown):
    first, second = (part.path for part in ResidualMaps(grown / "residuals.json").parts)
    keys = {"0": second.stem, "1": first.stem}
    (grown / "swapped.json").write_text(json.dumps({"parts": 2, "keys": keys}), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{second.name} does not belong to part 0 of .*clips\.json: store is"):
        list_parts(grown, "swapped.json")
    shard = second / "d_dino" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(ValueError, match=rf"{second.name}: d_dino/c/0/0/0 has \d+ of \d+ bytes; delete .* and run"):
        list_parts(grown)
    shutil.rmtree(second)
    with pytest.raises(ValueError, match=rf"{second.name} does not exist; delete .* and run the stage residuals again"):
        list_parts(grown)


def test_a_damaged_part_is_made_again_and_the_others_stay(grown):
    expected = arrays(grown)
    first, second = (part.path for part in PixelMasks(grown / "pixel_masks.json").parts)
    before = {file: file.stat().st_mtime_ns for file in first.rglob("*")}
    (second / "mask" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(
        ValueError, match=rf"{second.name} lacks the file mask/c/0/0/0; delete .* and run the stage refine again"
    ):
        PixelMasks(grown / "pixel_masks.json").read(np.array([20]))
    refined(grown)
    assert {file: file.stat().st_mtime_ns for file in first.rglob("*")} == before
    np.testing.assert_array_equal(PixelMasks(grown / "pixel_masks.json").all("mask"), expected["pixel_masks/mask"])


def test_a_summary_reads_neither_maps_nor_masks(made, monkeypatch):
    read = set()
    real = ChunkReader.rows

    def noted(self, start, stop):
        read.add(self._folder.name)
        return real(self, start, stop)

    monkeypatch.setattr(ChunkReader, "rows", noted)
    monkeypatch.setattr(ChunkReader, "frame", lambda *_: pytest.fail("a single frame was read"))
    opened = open_cache(made / "split")
    found = measure(opened)
    assert read == {"psnr", "window", "coverage", "disagreement"}
    monkeypatch.undo()
    measured = _in_batches(_measured, opened, found.frame)
    for name in ("maps", "patch", "pixel", "masks"):
        np.testing.assert_allclose(getattr(found, name), measured[name], rtol=1e-6, atol=1e-6)
    assert opened.psnr_filter == 17.0


def test_masks_of_an_adopted_cache_are_made_again_with_other_options(made, tmp_path):
    """What later stages take from a part must be in the manifest that adoption writes."""
    folder = tmp_path / "split"
    make_split(folder, ["abde"])
    shutil.copytree(made / "renderer", tmp_path / "renderer")
    make_masks(folder, tmp_path / "thresholds.json")
    for kind in ("residuals", "patch_masks", "pixel_masks"):
        manifest = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
        means = {**manifest["summary"], "digests": manifest["digests"]}
        (folder / f"{kind}.json").write_text(json.dumps(means), encoding="utf-8")
        (folder / kind / f"{manifest['digest']}.zarr").rename(folder / f"{kind}.zarr")
    expected = arrays(folder)
    adopt_cache(folder)
    adopted = arrays(folder)
    for name, values in expected.items():
        np.testing.assert_array_equal(adopted[name], values)
    options = VOTE.model_copy(update={"top_share": 0.9})
    vote_masks(
        residuals_path=folder / "residuals.json", config=options, thresholds_path=tmp_path / "thresholds.json",
        out_path=folder / "patch_masks.json",
    )  # fmt: skip
    refined(folder)
    assert (
        PixelMasks(folder / "pixel_masks.json").digests["patch_masks"] == PatchMasks(folder / "patch_masks.json").digest
    )
