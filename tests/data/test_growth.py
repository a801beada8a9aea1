"""Splits that grow and change: only what is new is made, the rest stays untouched."""

import hashlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.processes import APART, LONG, run_apart
from wildrayzer.config.sections.data import SplitConfig, StoreConfig
from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.data.frame_store.manifest import PartEntry
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.readers.base import BadSceneError, Scene
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.io.digests import digest_json
from wildrayzer.stages import prepare
from wildrayzer.stages.prepare import prepare_split

SIZE, FRAMES = 4, 3


class ArrayReader:
    """A clip is a file of raw frames; an empty one cannot be used."""

    has_cameras = has_masks = has_clean = False
    read_names: list[str] = []  # noqa: RUF012
    pause = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes, self.rejected = folder, [], {}
        self.names = sorted(file.stem for file in folder.glob("*.raw"))

    def files(self, name):
        return [self.folder / f"{name}.raw"]

    def group(self, name):
        return name

    def about_frames(self, name):
        return FRAMES

    def check(self, name):
        return FRAMES

    def unlisted(self, names):
        return []

    def read(self, name, *, image_size):
        time.sleep(self.pause)
        self.read_names.append(name)
        content = np.fromfile(self.folder / f"{name}.raw", np.uint8)
        if not len(content):
            raise BadSceneError("file is empty", name, frames=0)
        return Scene(name, np.resize(content, (FRAMES, image_size, image_size, 3)))


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    monkeypatch.setattr(prepare, "open_reader", lambda split, folder: ArrayReader(folder))
    monkeypatch.setattr(ArrayReader, "read_names", [], raising=False)
    return ArrayReader


def put(folder: Path, name: str, seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    seeds = [*name.encode(), seed]
    (folder / f"{name}.raw").write_bytes(np.random.default_rng(seeds).bytes(FRAMES * SIZE * SIZE * 3))


@pytest.fixture
def raw(tmp_path) -> Path:
    """Twelve clips."""
    for number in range(12):
        put(tmp_path / "raw", f"clip{number:02d}")
    return tmp_path / "raw"


def prepared(raw: Path, out: Path, *, per_part: int = 9, processes: int = 1, size: int = SIZE, **options) -> FrameStore:
    """The split, made of parts of three clips by default."""
    split = SplitConfig(layout="lvsm", path="given", role="dynamic", purpose="train")
    store = StoreConfig(frames_per_part=per_part, **options)
    prepare_split(split, raw, out, image_size=size, store=store, processes=processes)
    return FrameStore(out)


def state(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Digest, time and inode of every file of the parts."""
    return {
        str(file.relative_to(folder)): (
            hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns, file.stat().st_ino
        )
        for file in folder.rglob("[!.]*")
        if file.is_file()
    }  # fmt: skip


def content(store: FrameStore) -> dict[str, bytes]:
    """Frames of every clip."""
    return {
        name: store.read(np.arange(store.offsets[scene], store.offsets[scene + 1])).tobytes()
        for scene, name in enumerate(store.scenes)
    }


def keys(store: FrameStore) -> list[str]:
    return [part.key for part in store.parts]


def test_one_clip_more_costs_one_part(tmp_path, reader):
    raw, out = tmp_path / "raw", tmp_path / "frames" / "a.json"
    for number in range(1000):
        put(raw, f"clip{number:04d}")
    before = prepared(raw, out, per_part=300)
    assert len(before.parts) == 10
    assert len(reader.read_names) == 1000
    untouched = state(out.with_suffix(""))
    reader.read_names.clear()
    put(raw, "added")  # first by its name
    after = prepared(raw, out, per_part=300)
    assert reader.read_names == ["added"]
    assert after.scenes == [*before.scenes, "added"], "earlier clips keep their numbers"
    assert after.parts[:10] == before.parts
    now = state(out.with_suffix(""))
    assert {name: now[name] for name in untouched} == untouched
    assert {name.partition(".")[0] for name in now.keys() - untouched.keys()} == {after.parts[10].key}
    assert (after.parts[10].first_frame, after.parts[10].seed_frame) == (3000, 3000)


def test_the_division_into_parts_changes_neither_frames_nor_scenes_nor_windows(raw, tmp_path):
    windows = []
    stores = [prepared(raw, tmp_path / name / "a.json", per_part=count) for name, count in (("x", 9), ("y", 99))]
    assert [len(store.parts) for store in stores] == [4, 1]
    for store in stores:
        listed = WindowList.build(store, ResidualsConfig(inputs=2, targets=6))
        windows.append((listed.windows, listed.lengths, listed.skipped))
        assert [part.seed_frame for part in store.parts] == [part.first_frame for part in store.parts]
    assert content(stores[0]) == content(stores[1])
    assert stores[0].scenes == stores[1].scenes
    assert np.array_equal(stores[0].offsets, stores[1].offsets)
    assert windows[0] == windows[1]
    order = np.array([35, 0, 17, 17, 9])
    assert np.array_equal(stores[0].read(order), stores[1].preload().read(order))
    assert stores[1].digest == stores[1].parts[0].key


def test_a_part_that_loses_a_clip_is_made_again_in_its_place(raw, tmp_path, reader):
    out = tmp_path / "frames" / "a.json"
    before = prepared(raw, out)
    untouched = state(out.with_suffix(""))
    reader.read_names.clear()
    (raw / "clip04.raw").unlink()
    after = prepared(raw, out)
    assert reader.read_names == ["clip03", "clip05"]
    assert after.scenes == [name for name in before.scenes if name != "clip04"]
    assert keys(after)[0::2] == keys(before)[0::2]
    assert keys(after)[3] == keys(before)[3]
    assert keys(after)[1] != keys(before)[1]
    assert [part.seed_frame for part in after.parts] == [0, 9, 18, 27], "seeds stay, so that masks stay"
    assert [part.first_frame for part in after.parts] == [0, 9, 15, 24]
    now = state(out.with_suffix(""))
    gone = {name for name in untouched if name.startswith(keys(before)[1])}
    assert {name for name in untouched if name not in now} == gone, "the old part is removed"
    assert all(now[name] == untouched[name] for name in untouched.keys() - gone)
    for name in ("clip03", "clip05"):
        (raw / f"{name}.raw").unlink()
    assert [part.seed_frame for part in prepared(raw, out).parts] == [0, 18, 27], "a part without clips goes"


def test_a_replaced_clip_redoes_its_part_and_a_rewritten_equal_one_nothing(raw, tmp_path, reader):
    out = tmp_path / "frames" / "a.json"
    before = prepared(raw, out)
    manifest = out.read_bytes()
    reader.read_names.clear()
    put(raw, "clip07")  # the same bytes at another time
    assert keys(prepared(raw, out)) == keys(before)
    assert reader.read_names == []
    assert out.read_bytes() == manifest
    put(raw, "clip07", seed=1)  # another content of the same size
    after = prepared(raw, out)
    assert reader.read_names == ["clip06", "clip07", "clip08"]
    assert [old == new for old, new in zip(keys(before), keys(after), strict=True)] == [True, True, False, True]
    assert after.scenes == before.scenes
    old, new = content(after), content(prepared(raw, tmp_path / "other" / "a.json"))
    assert old == new


def test_a_copied_data_folder_redoes_nothing_and_is_read_once(raw, tmp_path, reader, monkeypatch):
    out, opened = tmp_path / "frames" / "a.json", []
    before = prepared(raw, out)
    parts = {name: value for name, value in state(out.with_suffix("")).items() if ".zarr" in name}
    shutil.copytree(raw, tmp_path / "moved", copy_function=shutil.copyfile)
    for file in (tmp_path / "moved").iterdir():
        os.utime(file, (1, 1))
    shutil.rmtree(raw)
    reader.read_names.clear()
    hashed = prepare.ClipFiles._content
    monkeypatch.setattr(prepare.ClipFiles, "_content", lambda self, name: opened.append(name) or hashed(self, name))
    for expected in (12, 0):  # their content is compared once, and the new times are recorded
        opened.clear()
        assert keys(prepared(tmp_path / "moved", out)) == keys(before)
        assert len(opened) == expected
    assert reader.read_names == []
    assert {name: value for name, value in state(out.with_suffix("")).items() if ".zarr" in name} == parts


def test_options_that_affect_speed_keep_parts_and_others_make_all_again(raw, tmp_path, reader):
    out = tmp_path / "frames" / "a.json"
    before = prepared(raw, out)
    reader.read_names.clear()
    assert keys(prepared(raw, out, per_part=100, compression=1, frames_per_shard=1, preload_mb=3)) == keys(before)
    assert reader.read_names == []
    after = prepared(raw, out, size=2)
    assert len(reader.read_names) == 12
    assert set(keys(after)).isdisjoint(keys(before))
    assert {path.stem for path in out.with_suffix("").glob("*.zarr")} == set(keys(after))


def test_a_bad_clip_is_tried_again_only_when_its_file_changes(raw, tmp_path, reader):
    out = tmp_path / "frames" / "a.json"
    for name in ("clip01", "clip06", "clip07", "clip08"):  # one of a part, and a whole part
        (raw / f"{name}.raw").write_bytes(b"")
    options = {"max_skipped": 1.0}
    before = prepared(raw, out, **options)
    assert [part.num_scenes for part in before.parts] == [2, 3, 3]
    reader.read_names.clear()
    assert keys(prepared(raw, out, **options)) == keys(before)
    assert reader.read_names == []
    report = json.loads(out.with_suffix(".report.json").read_text())
    assert report["reasons"] == {"file is empty": 4}
    for name in ("clip01", "clip07"):
        put(raw, name)
    after = prepared(raw, out, **options)
    assert reader.read_names == ["clip01", "clip07"], "they form a new part"
    assert keys(after)[:3] == keys(before)
    assert after.scenes[-2:] == ["clip01", "clip07"]
    reader.read_names.clear()
    assert keys(prepared(raw, out, **options)) == keys(after)
    assert reader.read_names == []
    assert json.loads(out.with_suffix(".report.json").read_text())["scenes"]["skipped"] == 2
    (raw / "clip00.raw").unlink()
    prepared(raw, out, **options)
    assert reader.read_names == ["clip02"], "clip01 is in another part now"


def prepare_apart(raw: Path, out: Path, processes: int) -> None:
    """In a process of its own, where nothing is monkeypatched yet."""
    prepare.open_reader = lambda split, folder: ArrayReader(folder)
    prepared(raw, out, processes=processes)


def slowly(raw: Path, out: Path, processes: int) -> None:
    """In a session of its own, with pauses, so that a kill meets every state."""
    os.setsid()
    ArrayReader.pause = 0.02
    prepare_apart(raw, out, processes)


def start(*arguments):
    process = APART.Process(target=slowly, args=arguments)
    process.start()
    while process.is_alive() and os.getpgid(process.pid) != process.pid:
        time.sleep(0.001)  # it has no session of its own yet
    return process


def wait_for_parts(folder: Path, count: int, process) -> None:
    deadline = time.monotonic() + LONG
    while process.is_alive() and len(list(folder.glob("[!.]*.json"))) < count:
        assert time.monotonic() < deadline, "no part is finished"
        time.sleep(0.005)


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random_moments_the_old_split_stays_usable_and_the_rerun_is_right(raw, tmp_path, processes):
    out, generator = tmp_path / "frames" / "a.json", random.Random(processes)
    old = prepared(raw, out)
    expected, untouched = content(old), state(out.with_suffix(""))
    (raw / "clip00.raw").unlink()
    for number in range(6):
        put(raw, f"new{number}")
    made = 4
    for attempt in range(4):
        process = start(raw, out, processes)
        if attempt:  # the first one is killed at any moment, the others when one more part is complete, or later
            wait_for_parts(out.with_suffix(""), made + 1, process)
        time.sleep(generator.uniform(0.0, 0.1))
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        now = FrameStore(out)
        if now.digest == old.digest:
            assert content(now) == expected
            assert untouched.items() <= state(out.with_suffix("")).items()
        made = max(made, len(list(out.with_suffix("").glob("[!.]*.json"))))
    run_apart(prepare_apart, raw, out, processes)
    after = FrameStore(out)
    undisturbed = {name: frames for name, frames in expected.items() if name != "clip00"}
    assert {name: content(after)[name] for name in undisturbed} == undisturbed
    assert after.scenes == [*undisturbed, *(f"new{number}" for number in range(6))]
    assert keys(after)[1:4] == keys(old)[1:]
    assert made > 4, "no kill met a preparation with finished new parts"
    assert {path.stem for path in out.with_suffix("").glob("*.zarr")} == set(keys(after))
    assert not list(out.with_suffix("").glob(".part.unfinished-*")), "nothing half-made is left"


def test_two_preparations_at_once_do_not_harm_each_other(raw, tmp_path):
    out = tmp_path / "frames" / "a.json"
    alone = content(prepared(raw, tmp_path / "alone" / "a.json"))
    first, second = start(raw, out, 1), start(raw, out, 2)
    for process in (first, second):
        process.join(LONG)
        assert process.exitcode == 0
    assert content(FrameStore(out)) == alone
    assert len(FrameStore(out).parts) == 4


def test_a_lost_part_is_refused_by_name_and_made_again_in_its_place(raw, tmp_path, reader):
    out = tmp_path / "frames" / "a.json"
    before = prepared(raw, out)
    lost = out.with_suffix("") / f"{before.parts[1].key}.zarr"
    shutil.rmtree(lost)
    with pytest.raises(ValueError, match=rf"1 of 4 parts are missing, first .*{lost.name}; copy them too, or run"):
        FrameStore(out)
    reader.read_names.clear()
    assert prepared(raw, out).parts == before.parts
    assert reader.read_names == ["clip03", "clip04", "clip05"]


def test_a_part_that_is_not_the_listed_one_is_refused_by_name(raw, tmp_path):
    out = tmp_path / "frames" / "a.json"
    store, small = prepared(raw, out), prepared(raw, tmp_path / "small" / "a.json", size=2)
    folder = out.with_suffix("")
    place = folder / f"{store.parts[1].key}.zarr"
    place.rename(folder / "kept")
    for source, difference in (
        (folder / f"{store.parts[0].key}.zarr", "its digest differ: "),
        (small.path.with_suffix("") / f"{small.parts[1].key}.zarr", "its digest differ: "),
    ):
        shutil.copytree(source, place)
        assert FrameStore(out).read(np.array([0])).shape == (1, SIZE, SIZE, 3), "other parts can be read"
        with pytest.raises(ValueError, match=rf"{place.name} is not the part that .*a\.json lists, {difference}"):
            FrameStore(out).read(np.array([9]))
        shutil.rmtree(place)


def test_a_bad_manifest_is_refused_by_name(raw, tmp_path):
    out = tmp_path / "frames" / "a.json"
    store = prepared(raw, out)
    whole = json.loads(out.read_text())
    checksum = whole.pop("checksum")

    def refused(changes: dict, message: str, path: Path = out) -> None:
        content = {**whole, **changes}
        path.write_text(json.dumps({"checksum": digest_json(content)} | content), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            FrameStore(path)

    one, two = whole["parts"][:2]
    refused({"version": 2}, "manifest of version 2, this version reads 1; delete it")
    refused({"parts": whole["parts"][:-1]}, "does not fit its digest or its parts")
    refused({"parts": 3}, "the manifest is damaged")
    refused({"parts": [{**one, "lengths": [3]}, *whole["parts"][1:]]}, "does not fit its digest or its parts")
    seeds = [{**one, "seed_frame": 7}, *whole["parts"][1:]]  # nothing else would tell
    refused({"parts": seeds, "checksum": checksum}, "the manifest has changed since it was written; delete it")
    shutil.copytree(out.with_suffix(""), tmp_path / "frames" / "b")
    refused({}, r"b\.json: this is the manifest of the split a, .* prepare b", tmp_path / "frames" / "b.json")
    for parts, message in (
        ([one, one], rf"the part '{one['key']}' is listed twice"),
        ([one, {**two, "scenes": one["scenes"]}], "the scene 'clip00' is listed twice"),
    ):
        entries = [PartEntry(p["key"], 0, tuple(p["scenes"]), tuple(p["lengths"])) for p in parts]
        store._manifest.with_parts(entries).save(out)
        with pytest.raises(ValueError, match=message):
            FrameStore(out)


def test_the_split_records_no_frame_size_or_codec_of_another_split(raw, tmp_path):
    """A part of another frame size or codec is refused even under a fitting digest."""
    out = tmp_path / "frames" / "a.json"
    store = prepared(raw, out)
    manifest = store._manifest
    for field, value in (("image_size", 8), ("coding", "jpeg+crc32c, quality 95")):
        replace(manifest, **{field: value}).save(out)
        with pytest.raises(ValueError, match=rf"its {field} differ: .*, the manifest has {value}".replace("+", r"\+")):
            FrameStore(out).read(np.array([0]))
