"""Sets of own videos that grow: what is added, refused, replaced and removed, and calls that are killed or meet."""

import json
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.helpers.clips import files, photos, write_clip
from tests.helpers.processes import APART, LONG
from wildrayzer.cli.main import app
from wildrayzer.data.ingest.change import change_set
from wildrayzer.data.ingest.clips import IngestOptions
from wildrayzer.data.ingest.write import ingest
from wildrayzer.data.readers.lvsm import LvsmReader
from wildrayzer.io.files import write_json
from wildrayzer.io.locks import locked

DERIVED = {"full_list.txt", "ingest.json", "contact_sheet.jpg", ".lock"}
NAMES = [f"{number}.png" for number in range(4)]


def call(out: Path, *words: object):
    return CliRunner().invoke(app, ["data", "ingest", "--out", str(out), *map(str, words)])


def walk(folder: Path, first: int) -> Path:
    return photos(folder, NAMES, first=first)


@pytest.fixture
def own(tmp_path):
    """A set of the recordings a and b, of 4 frames in 2 clips each."""
    for number, name in enumerate("ab"):
        walk(tmp_path / "in" / name, 4 * number)
    ingest([tmp_path / "in" / name for name in "ab"], tmp_path / "own", IngestOptions(clip_length=3, min_frames=3))
    return tmp_path / "own"


def stamps(root: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of every file that is not made of all recordings."""
    return {name: (digest, (root / name).stat().st_mtime_ns) for name, digest in files(root).items()
            if name not in DERIVED}  # fmt: skip


def frames(root: Path) -> dict[str, list[int]]:
    """Numbers of the frames of every clip, as the reader of the frame store sees them."""
    reader = LvsmReader(root)
    return {name: [int(image[-1, -1, 0]) // 8 for image in reader.read(name, image_size=16).frames]
            for name in reader.names}  # fmt: skip


def test_an_added_recording_leaves_all_others_as_they_are(own, tmp_path):
    before = stamps(own)
    result = call(own, walk(tmp_path / "c", 8), "--add")
    assert result.exit_code == 0, result.output
    assert f"used     {tmp_path / 'c'}: 3 of 4 frames in 1 clips" in result.stdout
    assert "9 frames in 3 clips of 3 sources, 3 frames left over" in result.stdout
    assert frames(own) == {"a_000": [0, 1, 2], "b_000": [4, 5, 6], "c_000": [8, 9, 10]}
    after = stamps(own)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "config.yaml", "metadata/c_000.json", *(f"images/c/{number:05d}.png" for number in range(4))
    }  # fmt: skip


def test_a_set_that_grew_is_the_set_that_was_made_at_once(own, tmp_path):
    inputs = [tmp_path / "in" / "a", tmp_path / "in" / "b", write_clip(tmp_path / "c.mp4", 10)]
    change_set(own, inputs[2:])
    ingest(inputs, tmp_path / "whole", IngestOptions(clip_length=3, min_frames=3))
    assert files(own).keys() - files(tmp_path / "whole").keys() == {".lock"}
    (own / ".lock").unlink()
    assert files(own) == files(tmp_path / "whole")


def test_the_same_recording_is_refused_by_name_under_any_name(own, tmp_path):
    before = files(own)
    shutil.copytree(tmp_path / "in" / "b", tmp_path / "z")
    result = call(own, tmp_path / "in" / "a", tmp_path / "z", "--add")
    assert result.exit_code == 2
    assert f"{tmp_path / 'in' / 'a'}: this recording is in the set already, as a" in result.stderr
    assert f"{tmp_path / 'z'}: this recording is in the set already, as b" in result.stderr
    assert {**files(own), ".lock": ""} == {**before, ".lock": ""}


def test_twins_in_one_call_are_added_once(own, tmp_path):
    clip = write_clip(tmp_path / "c.mp4", 10)
    shutil.copy(clip, tmp_path / "d.mp4")
    result = call(own, clip, tmp_path / "d.mp4", "--add")
    assert result.exit_code == 1
    assert f"refused  {tmp_path / 'd.mp4'}: this recording is in the set already, as c" in result.stderr
    assert [name for name in frames(own) if name[0] in "cd"] == ["c_000"]


def test_a_folder_that_gained_a_recording_is_added_again_without_fault(own, tmp_path):
    walk(tmp_path / "in" / "c", 8)
    result = call(own, tmp_path / "in", "--add")
    assert result.exit_code == 0, result.output
    assert f"kept     {tmp_path / 'in' / 'a'}: is in the data set already, as a" in result.stdout
    assert list(frames(own)) == ["a_000", "b_000", "c_000"]
    again = stamps(own)
    assert call(own, tmp_path / "in", "--add").exit_code == 0
    assert stamps(own) == again


def test_a_changed_recording_is_refused_or_takes_its_place(own, tmp_path):
    shutil.rmtree(tmp_path / "in" / "a")
    walk(tmp_path / "in" / "a", 12)
    before = frames(own)
    result = call(own, tmp_path / "in" / "a", "--add")
    assert result.exit_code == 2
    assert "the set holds another recording as a; put this one in its place with --replace, or rename" in result.stderr
    assert frames(own) == before
    b = {name: stamp for name, stamp in stamps(own).items() if "b" in name}
    result = call(own, tmp_path / "in" / "a", "--add", "--replace")
    assert (result.exit_code, "removed  a" in result.stdout) == (0, True), result.output
    assert frames(own) == {"a_000": [12, 13, 14], "b_000": [4, 5, 6]}
    assert b.items() <= stamps(own).items()
    assert len(list((own / "images").iterdir())) == 2
    assert json.loads((own / "ingest.json").read_text())["totals"]["frames"] == 6


def test_another_file_of_a_name_that_is_there_is_refused(own, tmp_path):
    result = call(own, walk(tmp_path / "other" / "A", 12), walk(tmp_path / "c", 8), "--add")
    assert result.exit_code == 1
    assert f"refused  {tmp_path / 'other' / 'A'}: the set holds another recording as a" in result.stderr
    assert list(frames(own)) == ["a_000", "b_000", "c_000"]


def test_a_removed_recording_is_gone_with_its_clips_and_can_come_back(own, tmp_path):
    b = {name: stamp for name, stamp in stamps(own).items() if "b" in name}
    assert call(own, "--remove", "a").exit_code == 0
    assert frames(own) == {"b_000": [4, 5, 6]}
    assert set(stamps(own)) == {*b, "config.yaml"}
    assert b.items() <= stamps(own).items()
    report = json.loads((own / "ingest.json").read_text())
    assert [source["name"] for source in report["sources"]] == ["b"]
    assert call(own, tmp_path / "in" / "a", "--add", "--remove", "b").exit_code == 0
    assert frames(own) == {"a_000": [0, 1, 2]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--remove", "aa"], "--remove aa: no recording of this name; did you mean a?"),
        (["--remove", "a", "--remove", "b"], "would have no recordings left; delete the folder instead"),
        (["IN", "--add", "--fps", "2"], "--fps 2.0: the recordings of OUT were taken with --fps 5.0; leave the option"),
        (["IN", "--remove", "a"], "give --add too"),
        (["IN", "--replace"], "give --add too"),
        (["--add"], "name videos or folders"),
        (["IN"], "add to an ingested data set with --add"),
    ],
)
def test_faulty_calls_are_refused_and_change_nothing(own, tmp_path, words, message):
    before = frames(own), stamps(own)
    result = call(own, *(str(tmp_path / "in") if word == "IN" else word for word in words))
    assert (result.exit_code, message.replace("OUT", str(own)) in result.stderr) == (2, True), result.output
    assert (frames(own), stamps(own)) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no ingested data set: ingest.json is missing"),
        ("{", "ingest.json: not valid JSON"),
        ('{"options": {}, "sources": 5}', "ingest.json is damaged or of another version (sources: "),
        ('{"version": 99, "options": {}, "sources": []}', "ingest.json is of version 99, this version reads up to"),
    ],
)
def test_a_folder_that_is_no_readable_set_is_refused(own, tmp_path, content, message):
    (own / "ingest.json").unlink() if content is None else (own / "ingest.json").write_text(content)
    result = call(own, walk(tmp_path / "c", 8), "--add")
    assert (result.exit_code, message in result.stderr) == (2, True), result.output
    assert call(tmp_path / "none", tmp_path / "c", "--add").exit_code == 2


def test_sets_of_earlier_versions_grow_and_know_their_recordings_by_their_frames(own, tmp_path):
    report = json.loads((own / "ingest.json").read_text()) | {"version": 1}
    for source in report["sources"]:
        del source["content"]
    for name in ("left_out", "copies"):
        del report[name]
    write_json(own / "ingest.json", report)
    shutil.copytree(tmp_path / "in" / "b", tmp_path / "z")
    result = call(own, tmp_path / "in" / "a", tmp_path / "z", walk(tmp_path / "c", 8), "--add")
    assert result.exit_code == 1, result.output
    assert "as a" in result.stderr
    assert "as b" in result.stderr
    assert list(frames(own)) == ["a_000", "b_000", "c_000"]
    assert not (own / ".unfinished").exists()


def test_the_configuration_is_kept_unless_another_base_is_named(own, tmp_path):
    (own / "config.yaml").write_text("# mine\n")
    assert call(own, walk(tmp_path / "c", 8), "--add").exit_code == 0
    assert (own / "config.yaml").read_text() == "# mine\n"
    base = Path(__file__).parents[1] / "resources" / "tiny.yaml"
    assert call(own, walk(tmp_path / "d", 12), "--add", "--base", base).exit_code == 0
    assert yaml.safe_load((own / "config.yaml").read_text())["data"]["dynamic_train"] == "own_dynamic"


def test_lines_that_the_user_dropped_from_the_list_stay_out(own, tmp_path):
    (own / "full_list.txt").write_text("metadata/b_000.json\n")
    change_set(own, [walk(tmp_path / "c", 8)])
    assert list(frames(own)) == ["b_000", "c_000"]


def test_of_two_calls_at_once_one_waits_and_both_are_in(own, tmp_path, caplog):
    recordings = [walk(tmp_path / name, 8 + 4 * number) for number, name in enumerate("cd")]
    threads = [threading.Thread(target=change_set, args=(own, [recording])) for recording in recordings]
    with locked(own / ".lock"):
        for thread in threads:
            thread.start()
        while len(caplog.records) < 2:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert sorted(frames(own)) == ["a_000", "b_000", "c_000", "d_000"]
    assert "is being changed by process" in caplog.text


def change_until(step: int, done: Path, root: Path, arguments: tuple, options: dict) -> None:
    """Run `change_set`, but die before its change of files number `step`; writes to `done` how many it has made."""
    count = 0

    def watch(event, details):
        nonlocal count
        writes = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir")) and str(root) in str(details[0]):
            count += 1
            if count == step:
                os._exit(9)

    sys.addaudithook(watch)
    change_set(root, *arguments, **options)
    done.write_text(str(count), encoding="utf-8")


def killed(step: int, root: Path, *arguments, **options) -> int:
    """Run `change_set` in a process that dies before change `step` of files; returns how many it has made."""
    done = root.with_name("done")
    process = APART.Process(target=change_until, args=(step, done, root, arguments, options))
    process.start()
    process.join(LONG)
    assert process.exitcode == (0 if step == 0 else 9)
    return int(done.read_text()) if step == 0 else step


@pytest.mark.parametrize("what", ["add", "replace"])
def test_a_call_killed_at_any_moment_leaves_a_usable_set_and_is_finished_by_the_next(own, tmp_path, what):
    if what == "add":
        path = walk(tmp_path / "c", 8)
    else:
        shutil.rmtree(path := tmp_path / "in" / "a")
        walk(path, 12)
    whole = tmp_path / "whole"
    shutil.copytree(own, whole)
    old = frames(own)
    steps = killed(0, whole, [path], replace_changed=True)
    assert steps > 20
    new = frames(whole)
    moments = random.Random(what).sample(range(1, steps + 1), 5)
    for number, step in enumerate(moments):
        root = tmp_path / f"own{number}"
        shutil.copytree(own, root)
        killed(step, root, [path], replace_changed=True)
        found = frames(root)
        assert all(found[name] in (old.get(name), new.get(name)) for name in found)
        assert set(old) <= set(found)
        # the recording is in the set where the killed call had come far enough
        result = call(root, path.parent if what == "replace" else path, "--add", "--replace")
        assert result.exit_code == 0 or "is in the set already" in result.stderr
        assert frames(root) == new
        same = {name: digest for name, digest in files(root).items() if name not in (".lock", "config.yaml")}
        assert same == {name: digest for name, digest in files(whole).items() if name != ".lock"}
