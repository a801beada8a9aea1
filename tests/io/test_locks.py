"""Locks end with the process that holds them, even if processes that it forked live on."""

import os
import signal
import subprocess
import sys

import pytest

from wildrayzer.io.locks import LockHeldError, is_held, locked

HOLD = """
import multiprocessing, os, sys, time
from pathlib import Path
from wildrayzer.io.locks import acquire

def work():  # says that it runs: until then the fork itself may still hold the lock
    print(os.getpid(), flush=True)
    time.sleep(600)

lock = acquire(Path(sys.argv[1]))
multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(600)
"""


def test_a_lock_is_refused_while_it_is_held_and_free_again_after_a_kill(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        worker = int(holder.stdout.readline())
        assert is_held(path) is True
        with pytest.raises(LockHeldError, match=f"process {holder.pid} on") as caught, locked(path):
            pass
        assert caught.value.holder.startswith(f"process {holder.pid} on ")
        holder.kill()
    try:
        assert is_held(path) is False, "the forked worker lives, but does not hold the lock"
        with locked(path):
            assert path.read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")
            assert is_held(path) is True
        assert is_held(path) is False
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_file_system_without_locks_is_written_to_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "lock"):
        pass
    assert "this file system has no locks" in caplog.text
    assert is_held(tmp_path / "lock") is None
