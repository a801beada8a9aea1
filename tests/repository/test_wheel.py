"""The wheel is whole: built, installed apart from the repository, and used in an empty folder."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from typer.testing import CliRunner

from tests.helpers.tiny_run import ROOT, TINY
from wildrayzer.cli.main import app
from wildrayzer.config import load_config

MOST_BYTES = 30_000_000
BUILT_FROM = (
    "LICENSE", "MANIFEST.in", "README.md", "Snakefile", "config", "environment.yml", "profiles", "pyproject.toml",
    "resources", "setup.py", "slurm", "wildrayzer", "workflow",
)  # fmt: skip


def run(*command, cwd, **environment):
    """Run a command without the repository on the path; its output."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    made = subprocess.run(
        words, cwd=cwd, env={**kept, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    return made.stdout + made.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the repository, built in a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            downloads = ("data", "index", "weights") if name == "resources" else ()
            ignore = shutil.ignore_patterns("__pycache__", *downloads)
            shutil.copytree(source, folder / "tree" / name, ignore=ignore)
        else:
            (folder / "tree").mkdir(exist_ok=True)
            shutil.copy(source, folder / "tree" / name)
    build = ("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", ".")
    run(sys.executable, "-m", *build, cwd=folder / "tree")
    (file,) = (folder / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in; a call takes its own files, and the packages of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel, cwd=folder)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_what_the_repository_ships_and_nothing_else(wheel):
    assert wheel.stat().st_size < MOST_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("wildrayzer/shipped/") for name in names if name.startswith("wildrayzer/shipped/")}
    workflow = {str(path.relative_to(ROOT)) for path in (ROOT / "workflow").rglob("*") if path.is_file()}
    assert {name for name in shipped if name.startswith("workflow/")} == {
        name for name in workflow if "__pycache__" not in name
    }
    assert {"Snakefile", "resources/sources.yaml", "resources/bundled-model/model.safetensors",
            "resources/bundled-renderer/model.safetensors", "slurm/config.yaml",
            "config/paper.yaml", "config/schema.json", "profiles/default/config.yaml"} <= shipped  # fmt: skip
    rules = [path for path in (ROOT / "workflow").rglob("*.smk") if path.is_file()]
    named = {
        (path.parent / word).resolve() for path in rules for word in re.findall(r'"(\.\./[^"]+)"', path.read_text())
    }
    assert ROOT / "environment.yml" in named
    assert {str(path.relative_to(ROOT)) for path in named} <= shipped, "Snakemake reads every file that a rule names"
    assert not {name for name in shipped if name.startswith(("resources/container", "tests", "docs"))}
    assert "wildrayzer/py.typed" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_apptainer_image_is_built_from_all_that_ships():
    lines = (ROOT / "resources" / "container" / "wildrayzer.def").read_text().partition("%files\n")[2].splitlines()
    copied = {line.split()[0] for line in itertools.takewhile(str.strip, lines)}
    patterns = re.findall(r'^    "(.+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
    missing = [one for one in patterns if not any(f"{one}/".startswith(f"{folder}/") for folder in copied)]
    assert len(patterns) > 10
    assert not missing, "the build stops at patterns without files"


@pytest.mark.slow
def test_a_project_runs_from_the_installed_wheel(installed, tmp_path):
    path = {"PYTHONPATH": str(installed)}
    command = (sys.executable, installed / "bin" / "wildrayzer")
    assert "re10k" in run(*command, "data", "sources", cwd=tmp_path, **path)
    run(*command, "init", "x", cwd=tmp_path, **path)
    project = tmp_path / "x"
    dry = run(sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--configfile", TINY, cwd=project, **path)
    assert "train_joint" in dry
    named = dry.replace(str(TINY), "").replace(sys.prefix, "")  # the environment may lie in the repository
    assert str(ROOT) not in named
    code = (
        "import wildrayzer as wr; m = wr.load(); print(m.folder); print(m.render(str(m.folder.parent / 'demo-photos')))"
    )
    assert str(installed / "wildrayzer" / "shipped") in run(sys.executable, "-c", code, cwd=project, **path)


def test_a_project_has_the_shipped_configurations_and_a_short_readme(tmp_path):
    result = CliRunner().invoke(app, ["init", str(tmp_path / "x")])
    assert result.exit_code == 0, result.output
    made = {str(path.relative_to(tmp_path / "x")) for path in (tmp_path / "x").rglob("*") if path.is_file()}
    configurations = {f"config/{path.name}" for path in (ROOT / "config").glob("*.yaml")}
    own = {"Snakefile", "README.md", ".gitignore", "config/schema.json", "profiles/default/config.yaml"}
    named = {
        str(path.relative_to(ROOT))
        for folder in ("bundled-model", "bundled-renderer", "demo-photos")
        for path in (ROOT / "resources" / folder).iterdir()
    }
    assert made == configurations | own | named | {"slurm/config.yaml"}
    assert load_config(tmp_path / "x" / "config" / "demo.yaml") == load_config(ROOT / "config" / "demo.yaml")
    assert len((tmp_path / "x" / "README.md").read_text(encoding="utf-8").splitlines()) <= 10
    assert json.loads((tmp_path / "x" / "config" / "schema.json").read_text(encoding="utf-8"))


def test_a_folder_that_holds_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert (result.exit_code, "holds files; name a new or an empty folder" in result.stderr) == (2, True)
    result = CliRunner().invoke(app, ["init", str(tmp_path / "notes.txt")])
    assert (result.exit_code, "is a file" in result.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "empty")]).exit_code == 0
