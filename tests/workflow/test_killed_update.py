"""A split's manifest is an output that Snakemake updates: killed with its job at work, the manifest stays as it was."""

import os
import signal
import subprocess
import sys
import time

from tests.helpers.processes import LONG

SNAKEFILE = """
rule prepare:
    input: "clips"
    output: update("split.json")
    run:
        import os, time
        open("started", "w").close()
        while os.path.exists("wait"):
            time.sleep(0.05)
        with open("split.json.new", "w") as stream:
            stream.write("new")
        os.replace("split.json.new", "split.json")
"""


def test_a_killed_update_leaves_the_manifest_and_the_next_call_replaces_it(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    manifest = tmp_path / "split.json"
    manifest.write_text("old", encoding="utf-8")
    os.utime(manifest, (1, 1))
    for name in ("clips", "wait"):
        (tmp_path / name).touch()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--rerun-incomplete", "--nolock"]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as call:
        deadline = time.monotonic() + LONG
        while not (tmp_path / "started").exists():
            assert call.poll() is None, "it ended before its job began"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert manifest.read_text(encoding="utf-8") == "old", "it is not deleted before the job"
        os.killpg(call.pid, signal.SIGKILL)
    assert manifest.read_text(encoding="utf-8") == "old"
    (tmp_path / "wait").unlink()
    subprocess.run(command, cwd=tmp_path, check=True)
    assert manifest.read_text(encoding="utf-8") == "new"
