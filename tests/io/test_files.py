"""Atomic writes: the old file or the new one, whatever happens in between."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wildrayzer.io.files import has_ended, read_json, replacing, umask, write_bytes_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "deep" / "a.json"
    write_json(file, {"old": 1})
    with pytest.raises(TypeError), replacing(file) as temporary:
        temporary.write_bytes("text is no bytes")
    assert read_json(file) == {"old": 1}
    assert [path.name for path in file.parent.iterdir()] == ["a.json"]


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    write_bytes_atomic(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask()


def test_the_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")


def test_json_is_read_as_utf_8_and_broken_json_is_named(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(json.dumps({"scene": "Straße"}, ensure_ascii=False).encode())
    assert read_json(file) == {"scene": "Straße"}
    file.write_bytes(b'{"half": ')
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON .*; delete it and run the stage again"):
        read_json(file)


def test_what_a_killed_writer_left_is_removed_and_a_live_ones_file_is_kept(tmp_path):
    child = (
        "import os, signal, sys; from wildrayzer.io.files import replacing\n"
        "with replacing(sys.argv[1]) as temporary: os.kill(os.getpid(), signal.SIGKILL)"
    )
    file = tmp_path / f"{'a' * 200} [1].json"
    killed = subprocess.run([sys.executable, "-c", child, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    live = left.with_name(left.name.replace(left.name.rpartition(".new-")[2].split("-")[-2], str(os.getpid())))
    live.touch()
    write_json(file, {"whole": True})
    assert sorted(tmp_path.iterdir()) == sorted([file, live])


def test_a_killed_process_has_ended_before_its_parent_asks_for_it():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    assert not has_ended(str(process.pid))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now, and stays one
    assert has_ended(str(process.pid))
    process.wait()
    assert has_ended(str(process.pid))
    assert not has_ended("no number")


def test_a_checksum_in_json_is_compared_and_taken_away(tmp_path):
    content = {"a": [1, 2.5, float("inf")], "b": {"c": None}, "d": Path("x")}
    write_json(tmp_path / "a.json", content, checksum=True)
    assert read_json(tmp_path / "a.json") == {**content, "d": "x"}
    text = (tmp_path / "a.json").read_text()
    for old, new in (
        ("2.5", "2.4"),
        ('"c"', '"e"'),
        ("null", "0"),
        ("Infinity", "NaN"),
        ("file_c", "file_b"),
        ("sha2", "sha3"),
    ):
        (tmp_path / "a.json").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=r"a\.json has changed since it was written: .*; mend it"):
            read_json(tmp_path / "a.json", fix="mend it")
