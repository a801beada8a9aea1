"""Preparation that is stopped, shared out or run twice at once: always the same bytes, and no finished part is lost."""

import importlib
import multiprocessing
import os
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_preparation import files
from tests.data.test_readers import SIZE, Lvsm, chunk_scene, chunks, split
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation import parts as prepare_parts
from wildrayzer.data.readers.pixelsplat import PixelSplatReader
from wildrayzer.io.disk_space import DiskFullError
from wildrayzer.stages.prepare import prepare_split

importlib.import_module("wildrayzer.report.page.contact_sheets")  # here once, not in every forked process
FORK = multiprocessing.get_context("fork")
SCENES = 12


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(prepare_parts, "SCENES_PER_PART", 2)


@pytest.fixture
def raw(tmp_path) -> Path:
    """Six chunks of two scenes; the last ones are longer."""
    groups = [[chunk_scene(f"s{2 * n + k:02d}", frames=4 if n < 5 else 60) for k in range(2)] for n in range(6)]
    return chunks(tmp_path / "raw", *groups)


def prepare(raw: Path, out: Path, *, processes: int = 1, **options):
    store = StoreConfig(frames_per_shard=16, **options)
    return prepare_split(split("pixelsplat"), raw, out, image_size=SIZE, store=store, processes=processes)


def slowly(raw: Path, out: Path, processes: int) -> None:
    """In a session of its own, with pauses, so that a kill meets every state."""
    os.setsid()
    read = PixelSplatReader.read

    def pause_and_read(self, name, *, image_size):
        time.sleep(0.03)
        return read(self, name, image_size=image_size)

    PixelSplatReader.read = pause_and_read  # this process is a fork
    prepare(raw, out, processes=processes)


def start(target, *arguments):
    process = FORK.Process(target=target, args=arguments)
    process.start()
    return process


def parts_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Finished parts, and what tells a rewritten one: an inode alone may be used again."""
    found = {}
    for part in folder.glob(".*.parts-*/part-??????"):
        try:
            written = (part / "part.json").stat()
        except FileNotFoundError:
            continue  # the job has joined its parts meanwhile
        found[part.name] = (written.st_ino, written.st_mtime_ns)
    return found


def wait_for_more(folder: Path, before: dict[str, tuple[int, int]], process) -> None:
    deadline = time.monotonic() + 30
    while process.is_alive() and parts_in(folder).keys() <= before.keys():
        assert time.monotonic() < deadline, "no part is finished"
        time.sleep(0.005)


@pytest.fixture
def undisturbed(raw, tmp_path) -> dict[str, str]:
    prepare(raw, tmp_path / "undisturbed" / "a.zarr")
    return files(tmp_path / "undisturbed")


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random_points_and_resumed_it_gives_the_same_bytes(raw, tmp_path, undisturbed, processes):
    generator, out, kept = random.Random(processes), tmp_path / "out" / "a.zarr", 0
    for _ in range(4):
        before = parts_in(out.parent)
        process = start(slowly, raw, out, processes)
        wait_for_more(out.parent, before, process)
        time.sleep(generator.uniform(0.0, 0.12))
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        if not out.exists():
            assert before.items() <= parts_in(out.parent).items(), "a finished part stays as it is"
            kept += len(before)
    prepare(raw, out, processes=processes)
    assert kept > 0, "no kill met a job that went on with finished parts"
    assert files(out.parent) == undisturbed
    assert sorted(entry.name for entry in out.parent.iterdir()) == ["a.report.json", "a.sheet.png", "a.zarr"]


def test_the_number_of_processes_changes_no_byte(raw, tmp_path, undisturbed):
    prepare(raw, tmp_path / "out" / "a.zarr", processes=3)
    assert files(tmp_path / "out") == undisturbed


def test_two_preparations_at_once_do_not_harm_each_other(raw, tmp_path, undisturbed):
    out = tmp_path / "out" / "a.zarr"
    for pause in (0.0, 0.1, 0.3):
        first = start(slowly, raw, out, 1)
        time.sleep(pause)
        second = start(slowly, raw, out, 2)
        for process in (first, second):
            process.join(60)
            assert process.exitcode == 0
        assert files(out.parent) == undisturbed
        assert sorted(entry.name for entry in out.parent.iterdir()) == ["a.report.json", "a.sheet.png", "a.zarr"]


def test_a_store_finished_by_another_job_meanwhile_is_taken(raw, tmp_path, monkeypatch, undisturbed):
    out = tmp_path / "out" / "a.zarr"
    finish = prepare_parts.PartWriter.finish
    calls = []

    def finish_after_the_other(self, facts=None):
        calls.append(1)
        if len(calls) == 3:  # the other job does everything while this one is at its third part
            prepare(raw, out)
        finish(self, facts)

    monkeypatch.setattr(prepare_parts.PartWriter, "finish", finish_after_the_other)
    report = prepare(raw, out)
    assert report["digest"] == FrameStore(out).digest
    assert files(out.parent) == undisturbed


def with_small_files(raw: Path, out: Path, said) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
    try:
        prepare(raw, out)
    except DiskFullError as error:
        said.put(str(error))


def test_a_full_disk_is_named_and_keeps_what_is_finished(raw, tmp_path, undisturbed, monkeypatch):
    out, said = tmp_path / "out" / "a.zarr", FORK.SimpleQueue()
    with_limit = start(with_small_files, raw, out, said)
    with_limit.join(60)
    assert with_limit.exitcode == 0
    assert not said.empty(), "nothing was too large"
    assert "out is full (File too large): preparing frames stopped" in said.get()
    assert not out.exists()
    assert not list(out.parent.glob(".*.parts-*/part-??????.*")), "nothing half-made is left"
    prepare(raw, out)
    assert files(out.parent) == undisturbed


def test_a_killed_process_is_named(raw, tmp_path, monkeypatch):
    read = PixelSplatReader.read

    def die_at_the_seventh(self, name, *, image_size):
        if name == "s07":
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, name, image_size=image_size)

    monkeypatch.setattr(PixelSplatReader, "read", die_at_the_seventh)
    with pytest.raises(RuntimeError, match="ended with exit code -9: out of memory, or killed"):
        prepare(raw, tmp_path / "out" / "a.zarr", processes=2)
    assert not multiprocessing.active_children()


def test_an_error_in_a_process_reaches_the_caller(raw, tmp_path, monkeypatch):
    def fail(self, name, *, image_size):
        raise LookupError(f"no {name}")

    monkeypatch.setattr(PixelSplatReader, "read", fail)
    with pytest.raises(RuntimeError, match=r"LookupError.*no s0"):
        prepare(raw, tmp_path / "out" / "a.zarr", processes=2)


def test_parts_of_changed_files_and_of_other_options_are_made_anew(raw, tmp_path):
    out = tmp_path / "out" / "a.zarr"
    job_folder = stop_after_two_parts(raw, out)
    kept = parts_in(out.parent)
    assert sorted(kept) == ["part-000000", "part-000001"]
    chunk = raw / "000001.torch"
    os.utime(chunk, ns=(0, chunk.stat().st_mtime_ns + 1))
    stop_after_two_parts(raw, out)
    after = parts_in(out.parent)
    assert after["part-000000"] == kept["part-000000"]
    assert after["part-000001"] != kept["part-000001"]
    other = stop_after_two_parts(raw, out, compression=1)
    assert other != job_folder


def stop_after_two_parts(raw: Path, out: Path, **options) -> Path:
    class StoppedError(Exception):
        pass

    put = prepare_parts._put

    def put_two(temporary: Path, part: Path) -> None:
        put(temporary, part)
        if part.name == "part-000001" or (part.parent / "part-000001").exists():
            raise StoppedError

    prepare_parts._put = put_two
    try:
        with pytest.raises(StoppedError):
            prepare(raw, out, **options)
    finally:
        prepare_parts._put = put
    return max(out.parent.glob(".*.parts-*"), key=lambda folder: folder.stat().st_mtime_ns)


def test_mended_files_are_read_again_after_a_refusal(raw, tmp_path):
    chunk = raw / "000002.torch"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:500])
    with pytest.raises(ValueError, match=r"2 of 12 scenes cannot be used \(chunk cannot be read: 2\)"):
        prepare(raw, tmp_path / "out" / "a.zarr")
    assert len(parts_in(tmp_path / "out")) == 5
    chunk.write_bytes(whole)
    prepare(raw, tmp_path / "out" / "a.zarr")
    assert len(FrameStore(tmp_path / "out" / "a.zarr")) == SCENES


def test_training_splits_may_be_lossy_and_others_never_are(raw, tmp_path):
    jpeg = StoreConfig(train_codec="jpeg")
    stores = {}
    for use in ("train", "test"):
        out = tmp_path / use / "a.zarr"
        section = split("pixelsplat").model_copy(update={"purpose": use})
        report = prepare_split(section, raw, out, image_size=SIZE, store=jpeg)
        stores[use] = FrameStore(out).read(np.arange(8))
        assert report["codec"] == {"train": "jpeg", "test": "zstd"}[use]
    assert not np.array_equal(stores["train"], stores["test"])
    prepare(raw, tmp_path / "zstd" / "a.zarr")
    assert np.array_equal(stores["test"], FrameStore(tmp_path / "zstd" / "a.zarr").read(np.arange(8)))


def test_a_part_is_a_shard_of_frames_and_whole_chunks(monkeypatch):
    monkeypatch.setattr(prepare_parts, "SCENES_PER_PART", 3)
    lengths = {"a1": 6, "b1": 4, "b2": 5, "c1": 30, "d1": 1, "e1": 1, "f1": 1, "g1": 1}

    def bounds(group, frames):
        return prepare_parts.part_bounds(list(lengths), group, lengths.__getitem__, frames=frames)

    # a | b of two scenes: 6 + 9 > 14 | c is larger than a shard | d, e and f: three scenes | g
    assert bounds(lambda name: name[0], 14) == (0, 1, 3, 4, 7, 8)
    assert bounds(lambda name: name[0], 15) == (0, 3, 4, 7, 8), "15 frames fit"
    assert bounds(lambda name: name, 10) == (0, 2, 3, 4, 7, 8), "every scene has a file of its own"
    assert prepare_parts.part_bounds([], str, len, frames=4) == (0,)


def test_a_part_of_loose_files_has_no_more_frames_than_a_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_parts, "SCENES_PER_PART", 50)
    Lvsm(tmp_path / "raw", ("a", "b", "c"))
    held: list[int] = []
    finish = prepare_parts.PartWriter.finish

    def note_and_finish(self, facts=None):
        held.append(self.num_frames)
        finish(self, facts)

    monkeypatch.setattr(prepare_parts.PartWriter, "finish", note_and_finish)
    for shard, expected in ((8, [8, 4]), (11, [8, 4]), (12, [12]), (3, [4, 4, 4])):
        held.clear()
        store = StoreConfig(frames_per_shard=shard)
        out = tmp_path / f"{shard}.zarr"
        prepare_split(split("lvsm"), tmp_path / "raw", out, image_size=SIZE, store=store)
        assert held == expected
        assert FrameStore(out).num_frames == 12
