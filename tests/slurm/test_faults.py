"""The script of the fault table: it sees what is wrong, and makes a cheap row."""

import hashlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.slurm.compare import differences
from tests.slurm.damage import Artefact, damage
from tests.slurm.faults import table
from tests.slurm.jobs import Job, disturb
from tests.slurm.reference import rules
from tests.slurm.run import ROOT, environment

CAREFUL = """
import time
from pathlib import Path
Path("new").write_text("content")
time.sleep(0.1)
Path("new").rename("out")
"""
CARELESS = """
import time
from pathlib import Path
begun = Path("begun").exists()
Path("begun").touch()
time.sleep(1)
Path("out").write_text("another content" if begun else "content")
Path("begun").unlink()
"""


@pytest.mark.parametrize(("script", "wrong"), [(CAREFUL, []), (CARELESS, ["out"])])
def test_a_job_that_its_kills_harm_is_told_from_one_that_they_do_not(tmp_path, monkeypatch, script, wrong):
    expected, here = tmp_path / "expected", tmp_path / "here"
    for folder in (expected, here):
        folder.mkdir()
    (expected / "out").write_text("content")
    monkeypatch.chdir(here)
    job = Job("rule", compile(script, "script", "exec"), SimpleNamespace(output=["out"], log=[]))
    chosen = SimpleNamespace(uniform=lambda _, length: 0.5 * length)
    seen = disturb(job, expected, kills=4, states=[], chosen=chosen)
    assert seen.wrong == wrong
    assert seen.killed == (1 if wrong else 4), "it ends with the first harm"


def test_an_undisturbed_try_must_end_like_the_reference(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "out").write_text("other content")
    monkeypatch.chdir(tmp_path / "here")
    job = Job("rule", compile(CAREFUL, "script", "exec"), SimpleNamespace(output=["out"], log=[]))
    seen = disturb(job, tmp_path, kills=4, states=[], chosen=random.Random(0))
    assert (seen.killed, seen.wrong) == (0, ["undisturbed: out"])


def test_outputs_are_compared_byte_for_byte_but_for_times(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, seconds in ((one, 1.0), (two, 2.0)):
        (folder / "group").mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(json.dumps({"loss": 0.5, "time": seconds}) + "\n")
        (folder / "manifest.json").write_text(json.dumps({"step": 6, "extra": {"seconds": seconds}}))
        (folder / "page.html").write_text(f"<p>made 2026-01-0{seconds:.0f} 10:00</p>")
        (folder / "group" / "same").write_bytes(b"\0\1")
    outputs = ["metrics.jsonl", "manifest.json", "page.html", "group"]
    assert differences(one, two, outputs) == []
    (two / "metrics.jsonl").write_text(json.dumps({"loss": 0.25, "time": 1.0}) + "\n")
    (two / "group" / "same").write_bytes(b"\0\3")
    (two / "group" / "more").touch()
    (two / "manifest.json").unlink()
    assert differences(one, two, [*outputs, "never"]) == [
        "metrics.jsonl", "manifest.json", "group/more", "group/same", "never: nothing there",
    ]  # fmt: skip


def read_unchecked(path):
    return [(path / "file").read_bytes()]


def read_checked(path):
    content = (path / "file").read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError(f"{path}: damaged")
    return [content]


def read_beginning(path):
    return [(path / "file").read_bytes()[:4]]


@pytest.mark.parametrize(
    ("read", "verdict"),
    [(read_unchecked, {"silent"}), (read_checked, {"named"}), (read_beginning, {"harmless", "silent"})],
)
def test_damage_is_named_harmless_or_silent(tmp_path, read, verdict):
    (tmp_path / "made").mkdir()
    content = bytes(range(96))
    (tmp_path / "made" / "file").write_bytes(hashlib.sha256(content).digest() + content)
    counts = damage(tmp_path / "made", tmp_path, Artefact("made", "rule", read, "*"), times=40)
    assert {kind: sum(count.values()) for kind, count in counts.items()} == {"cut short": 40, "bit turned": 40}
    assert set(sum(counts.values(), Counter())) == verdict


def test_the_table_counts_what_holds_and_names_what_is_missing():
    rows = [{"fault": name, "times": "10", "result": "same", "ok": ok} for name, ok in (("a", "yes"), ("b", "no"))]
    text = table(rows, ["job c"])
    assert "1 of 2 rows hold." in text
    assert "| b | 10 | same | no |" in text
    assert "Rows not made yet: job c." in text
    assert "not made" not in table(rows, [])


def test_every_script_of_the_workflow_has_its_row():
    scripts = {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    named = {"train_pretrain", "train_distill", "train_masked", "train_joint", "train_unmasked", "write_report"}
    # rules of sources have the names of the sources; the public checkpoint is imported by runs that train nothing
    fetched = {"fetch_source", "import_released"}
    assert set(rules()) == scripts - {"train", "report"} - fetched | named


@pytest.mark.slow
def test_a_row_of_the_table(tmp_path):
    words = [
        "--only",
        "job make_cutouts",
        "--kills",
        "3",
        "--work",
        str(tmp_path / "work"),
        "--out",
        str(tmp_path / "t"),
    ]
    command = [sys.executable, "-m", "tests.slurm.faults", *words]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    # a second kill may come on top of the three
    assert re.search(r"\| SIGKILL in make_cutouts \| [3-6] \| same \| yes \|", (tmp_path / "t").read_text())
    assert "1 of 1 rows hold." in (tmp_path / "t").read_text()
