"""`wildrayzer masks inspect`: clips with hostile names, and folders that only hold caches."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.inspect_run import command, flat, write_residuals
from wildrayzer.cli.main import app

NAMES = [
    "clip[/x]", "[red]clip", "<!--<script>", "</script><img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0",
    "\x1b]0;title\x07\x1b[2J", "a\u202eb", "{{ 7 * 7 }}",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A cache with one frame of each of these clips."""
    path, count = tmp_path_factory.mktemp("hostile"), len(NAMES)
    zeros = np.zeros((count, 2, 2))
    write_residuals(path, zeros, zeros, np.full(count, 20.0), np.arange(count), lengths=[1] * count, scenes=NAMES)
    return path


def test_names_of_clips_are_shown_as_text_on_the_terminal(hostile, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = command(hostile, "--text", "--by", "window")
    assert result.exit_code == 0, result.output
    for name in (
        "clip[/x]",
        "[red]clip",
        "<!--<script>",
        "=cmd|' /C calc'!A0",
        r"\x1b]0;title\x07\x1b[2J",
        r"a\u202eb",
    ):
        assert name in result.output
    assert not {"\x1b", "\x07", "\u202e"} & set(result.output)


def test_names_of_clips_are_data_in_the_pages(hostile, tmp_path):
    result = command(hostile, "--out", tmp_path / "gallery")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "gallery" / "windows.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert sorted(window["scene"] for window in json.loads(data)["windows"]) == sorted(NAMES)
    for page in (tmp_path / "gallery").glob("*.html"):
        content = page.read_text(encoding="utf-8")
        assert "<!--<script" not in content
        assert "<img src=x" not in content


@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--provenance"], ["tune"]])
def test_a_folder_of_caches_lists_them(tmp_path, words):
    for split in ("b", "a"):
        (tmp_path / "masks" / split / "renderer" / "residuals.zarr").mkdir(parents=True)
    (tmp_path / "ablations" / "x" / "a").mkdir(parents=True)
    (tmp_path / "ablations" / "x" / "a" / "patch_masks.zarr").mkdir()
    name, *options = words
    result = CliRunner().invoke(app, ["masks", name, str(tmp_path), *options])
    assert result.exit_code == 2
    assert f"{tmp_path} is no mask cache, but holds 3; name one of them:" in result.stderr
    assert [line.strip() for line in result.stderr.splitlines()[1:]] == [
        f"{tmp_path}/ablations/x/a", f"{tmp_path}/masks/a/renderer", f"{tmp_path}/masks/b/renderer"
    ]  # fmt: skip
    assert "does not exist" in flat(CliRunner().invoke(app, ["masks", "inspect", str(tmp_path / "none")]).stderr)
