"""Preparation that fails, is shared out or refused: always the same parts, and no finished part is lost."""

import multiprocessing
import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.test_preparation import files
from tests.data.test_readers import SIZE, Lvsm, chunk_scene, chunks, split
from tests.helpers.processes import run_apart
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation import parts
from wildrayzer.data.preparation.plan import divide_clips
from wildrayzer.data.readers import pixelsplat
from wildrayzer.data.readers.pixelsplat import PixelSplatReader
from wildrayzer.io.disk_space import DiskFullError
from wildrayzer.stages.prepare import prepare_split

SCENES = 12


@pytest.fixture(autouse=True)
def chunks_count_as_large(monkeypatch):
    """So that every chunk is a part, however small it is."""
    monkeypatch.setattr(pixelsplat, "_FRAME_BYTES", 1)


@pytest.fixture
def raw(tmp_path) -> Path:
    """Six chunks of two scenes; the last one is longer."""
    groups = [[chunk_scene(f"s{2 * n + k:02d}", frames=4 if n < 5 else 60) for k in range(2)] for n in range(6)]
    return chunks(tmp_path / "raw", *groups)


def prepare(raw: Path, out: Path, *, processes: int = 1, **options):
    store = StoreConfig(frames_per_shard=16, frames_per_part=1, **options)  # a part per chunk
    return prepare_split(split("pixelsplat"), raw, out, image_size=SIZE, store=store, processes=processes)


def prepare_apart(raw: Path, out: Path, processes: int) -> None:
    """In a process of its own, where nothing is monkeypatched yet."""
    pixelsplat._FRAME_BYTES = 1
    prepare(raw, out, processes=processes)


def parts_in(folder: Path) -> dict[str, int]:
    """Finished parts, and the time that their records were written."""
    return {file.stem: file.stat().st_mtime_ns for file in folder.glob("[!.]*.json")}


def test_the_number_of_processes_changes_no_byte(raw, tmp_path):
    for name, processes in (("one", 1), ("three", 3)):
        run_apart(prepare_apart, raw, tmp_path / name / "a.json", processes)
    assert len(FrameStore(tmp_path / "one" / "a.json").parts) == 6
    assert files(tmp_path / "one") == files(tmp_path / "three")


def with_small_files(raw: Path, out: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
    prepare_apart(raw, out, 1)


def test_a_full_disk_is_named_and_keeps_what_is_finished(raw, tmp_path):
    out = tmp_path / "out" / "a.json"
    with pytest.raises(DiskFullError, match=r"out is full \(File too large\): preparing frames stopped"):
        run_apart(with_small_files, raw, out)
    assert not out.exists()
    assert {entry.suffix for entry in out.with_suffix("").glob("[!.]*")} == {".zarr", ".json"}
    kept = parts_in(out.with_suffix(""))
    assert len(kept) == 5
    prepare(raw, out)
    assert kept.items() <= parts_in(out.with_suffix("")).items()
    assert len(FrameStore(out)) == SCENES


def with_a_reader(read, raw: Path, out: Path) -> None:
    """In two processes; neither is left behind."""
    PixelSplatReader.read = read
    try:
        prepare_apart(raw, out, 2)
    finally:
        assert not multiprocessing.active_children()


def die_at_the_seventh(self, name, *, image_size, read=PixelSplatReader.read):
    if name == "s07":
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, name, image_size=image_size)


def fail(self, name, *, image_size):
    raise LookupError(f"no {name}")


@pytest.mark.parametrize(
    ("read", "message"),
    [(die_at_the_seventh, "ended with exit code -9: out of memory, or killed"), (fail, r"LookupError.*no s0")],
    ids=["killed", "error"],
)
def test_a_process_that_is_killed_or_fails_is_an_error_of_the_caller(raw, tmp_path, read, message):
    with pytest.raises(RuntimeError, match=message):
        run_apart(with_a_reader, read, raw, tmp_path / "out" / "a.json")


def with_an_early_failure(raw):
    """What is raised if all processes have failed before the caller looks."""

    def fail_now(job, names, progress):
        raise LookupError(f"no {names[0]}")

    parts.prepare_part = fail_now
    counts = parts.prepare_parts(SimpleNamespace(folder=raw), [["s00"], ["s01"]], {}, processes=2)
    next(counts)
    for process in multiprocessing.active_children():
        process.join()
    list(counts)


def test_processes_that_fail_before_anyone_looks_are_an_error_as_well(raw):
    with pytest.raises(RuntimeError, match=r"LookupError.*no s0"):
        run_apart(with_an_early_failure, raw)


def test_mended_files_are_read_again_after_a_refusal(raw, tmp_path):
    chunk, out = raw / "000002.torch", tmp_path / "out" / "a.json"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:500])
    with pytest.raises(ValueError, match=r"2 of 12 scenes cannot be used \(chunk cannot be read: 2\)"):
        prepare(raw, out)
    kept = parts_in(out.with_suffix(""))
    assert len(kept) == 6, "five parts and the record of the broken chunk"
    chunk.write_bytes(whole)
    prepare(raw, out)
    assert len(kept.items() & parts_in(out.with_suffix("")).items()) == 5
    assert FrameStore(out).scenes == [f"s{number:02d}" for number in range(SCENES)]


def test_a_scene_more_in_a_chunk_is_a_part_of_its_own(tmp_path):
    """All scenes of a chunk share its file, so its part is made again, with the same content and the same key."""
    scenes, out = [chunk_scene(f"s{number}") for number in range(3)], tmp_path / "out" / "a.json"
    prepare(chunks(tmp_path / "raw", scenes[:2]), out)
    before = FrameStore(out)
    prepare(chunks(tmp_path / "raw2", scenes), out)
    after = FrameStore(out)
    assert after.scenes == ["s0", "s1", "s2"]
    assert after.parts[: len(before.parts)] == before.parts


def test_a_replaced_image_or_mask_redoes_its_scene(tmp_path):
    lvsm, out = Lvsm(tmp_path / "raw", ("a", "b")), tmp_path / "out" / "a.json"
    store = StoreConfig(frames_per_part=1)
    prepare_split(split("lvsm"), lvsm.folder, out, image_size=SIZE, store=store)
    before = FrameStore(out).preload()
    images = lvsm.folder / "images" / "b"
    (images / "00000.png").write_bytes((images / "00003.png").read_bytes())
    prepare_split(split("lvsm"), lvsm.folder, out, image_size=SIZE, store=store)
    after = FrameStore(out)
    assert after.parts[0] == before.parts[0]
    assert np.array_equal(after.read(np.array([4])), before.read(np.array([7])))


def test_training_splits_may_be_lossy_and_others_never_are(raw, tmp_path):
    jpeg = StoreConfig(train_codec="jpeg")
    stores = {}
    for use in ("train", "test"):
        out = tmp_path / use / "a.json"
        section = split("pixelsplat").model_copy(update={"purpose": use})
        report = prepare_split(section, raw, out, image_size=SIZE, store=jpeg)
        stores[use] = FrameStore(out).read(np.arange(8))
        assert report["codec"] == {"train": "jpeg", "test": "zstd"}[use]
    assert not np.array_equal(stores["train"], stores["test"])
    prepare(raw, tmp_path / "zstd" / "a.json")
    assert np.array_equal(stores["test"], FrameStore(tmp_path / "zstd" / "a.json").read(np.arange(8)))


def test_a_part_has_whole_chunks_and_no_more_frames_than_the_option_says():
    lengths = {"a1": 6, "b1": 4, "b2": 5, "c1": 30, "d1": 1, "e1": 1, "f1": 1, "g1": 1}

    def parts(group, frames):
        return [" ".join(part) for part in divide_clips(list(lengths), group, lengths.__getitem__, frames=frames)]

    # 6 + 9 > 14, and c is larger than a part
    assert parts(lambda name: name[0], 14) == ["a1", "b1 b2", "c1", "d1 e1 f1 g1"]
    assert parts(lambda name: name[0], 15) == ["a1 b1 b2", "c1", "d1 e1 f1 g1"], "15 frames fit"
    assert parts(lambda name: name, 10) == ["a1 b1", "b2", "c1", "d1 e1 f1 g1"], "every scene has a file of its own"
    assert divide_clips([], str, len, frames=4) == []
