"""What the repository says of itself is true: documents, licence, citation, profile and the direction of imports."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

import wildrayzer
from wildrayzer.cli.main import app
from wildrayzer.config import TRAINING_STAGES, RunConfig, load_config, walk
from wildrayzer.config.sections.ablations import BUILT_IN
from wildrayzer.tools.reruns import TRIGGERS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def deviations_of(name: str) -> tuple[str, ...]:
    return load_config(ROOT / "config" / f"{name}.yaml").deviations


def documented_deviations() -> set[str]:
    text = (ROOT / "docs" / "deviations.md").read_text()
    return {
        option for line in text.splitlines() if line.startswith("### ") for option in re.findall(r"`([^`]+)`", line)
    }


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_the_paper_has_no_deviations():
    assert deviations_of("paper") == ()


def test_the_demo_names_its_deviations_and_all_are_explained():
    named = [line.split(":")[0] for line in deviations_of("demo")]
    assert "model.camera_encoder" in named
    general = {re.sub(rf"^({'|'.join(TRAINING_STAGES)})\.", "STAGE.", option) for option in named}
    documented = documented_deviations()
    assert [option for option in general if not any(entry.startswith(option) for entry in documented)] == []


def test_the_trial_on_one_gpu_departs_from_the_paper_as_the_demo_does():
    trial, demo = (load_config(ROOT / "config" / f"{name}.yaml") for name in ("embedded-gpu", "demo"))
    names = [[line.split(":")[0] for line in config.deviations] for config in (trial, demo)]
    assert names[0] == names[1]
    assert (trial.compute.device, trial.compute.gpus) == ("cuda", 1)
    assert set(trial.data.splits) == set(demo.data.splits)


def test_every_option_that_departs_from_the_paper_is_explained():
    pattern = re.compile(r"differs from the paper|not in the paper|\(ours;", re.IGNORECASE)
    options = {one.path for one in walk.options(RunConfig) if pattern.search(one.field.description or "")}
    general = {re.sub(rf"^({'|'.join(TRAINING_STAGES)})\.(dynamic_)?", "STAGE.", option) for option in options}
    assert len(general) >= 9
    assert general - documented_deviations() == set()


def test_explained_options_exist():
    known = {re.sub(rf"^({'|'.join(TRAINING_STAGES)})\.", "STAGE.", one.path) for one in walk.options(RunConfig)}
    assert documented_deviations() - known == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
            assert anchor in map(slug, headings), target


def commands_in(document: Path) -> list[list[str]]:
    fenced = re.findall(r"```(\w*)\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    blocks = [block for language, block in fenced if not language]
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
    return [part.replace(".venv/bin/", "").split() for line in lines for part in line.split("&&") if part.strip()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document):
    group = typer.main.get_command(app)
    targets = set(re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(), flags=re.MULTILINE))
    targets |= {f"ablation_{name}" for name in BUILT_IN}
    makefile = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for words in commands_in(document):
        if words[0] == "wildrayzer":
            command = group.commands[words[1]]
            if hasattr(command, "commands"):
                command = command.commands[words[2]]
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            assert {word for word in words[2:] if word.startswith("--")} <= options, words
        elif words[0] == "make":
            assert words[1] in makefile, words
        elif words[0] == "snakemake":
            last = words[-1]
            assert last.startswith(("-", "results/")) or last.endswith((".yaml", ".html", ".zip")) or last in targets, (
                words
            )
            after = words[words.index("--configfile") + 1 :] if "--configfile" in words else []
            taken = list(itertools.takewhile(lambda word: not word.startswith("-"), after))
            assert all(word.endswith(".yaml") for word in taken), f"--configfile takes targets for files: {words}"


def imports_of(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


FLOORS = (
    {"config", "io", "geometry", "images"},
    {"run", "data", "models", "losses"},
    {"datasets", "checkpoint", "pseudo_masks"},
    {"released", "training", "evaluation"},
    {"report"},
    {"stages", "tools"},
    {"api"},
    {"app"},
    {"cli"},
)
"""Packages from the lowest floor up: a module imports from its own package and from lower floors. Only tools may use
Snakemake."""


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_imports_point_downwards(floor):
    lower = {"__version__"}.union(*FLOORS[:floor])
    for package in FLOORS[floor]:
        folder = ROOT / "wildrayzer" / package
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        for file in files:
            known = ("wildrayzer.",) if package == "tools" else ("wildrayzer.", "snakemake")
            names = {name for name in imports_of(file) if name.startswith(known)}
            upwards = {name for name in names if name.split(".")[1:2] != [package] and name.split(".")[1] not in lower}
            assert upwards == set(), file


def test_every_package_has_a_floor():
    there = {
        path.stem
        for path in (ROOT / "wildrayzer").iterdir()
        if path.name != "__init__.py" and (path.suffix == ".py" or any(path.rglob("*.py")))
    }
    assert there == set().union(*FLOORS)


def unnamed_encodings(text: str) -> list[int]:
    """Lines that read or write text in the encoding of the locale; ruff's PLW1514 sees only calls on `Path(…)`."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    named = [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("read_text", "write_text", "open")
    ]

    def is_text(call: ast.Call) -> bool:
        if call.func.attr != "open":
            return True
        mode = next((word.value for word in call.keywords if word.arg == "mode"), call.args[0] if call.args else None)
        # `Path.open` takes at most a mode; the `open` of Image, zarr or a class of ours takes a file
        return mode is not None and isinstance(mode, ast.Constant) and mode.value in ("r", "w", "a", "x", "r+", "w+")

    return [
        call.lineno
        for call in named
        if is_text(call) and len(call.args) < 2 and not any(word.arg == "encoding" for word in call.keywords)
    ]


def test_text_is_read_and_written_as_utf_8_by_name():
    assert unnamed_encodings('p.read_text()\np.write_text("a")\np.open("a")\np.open("rb")\nImage.open(p)') == [1, 2, 3]
    files = [file for folder in ("wildrayzer", "workflow") for file in (ROOT / folder).rglob("*.py")]
    assert {
        f"{file.relative_to(ROOT)}:{line}"
        for file in files
        for line in unnamed_encodings(file.read_text(encoding="utf-8"))
    } == set()


def test_licence_is_apache_2_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == wildrayzer.__version__ == citation["version"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["license"] == "Apache-2.0"


def test_environment_installs_the_lock_with_the_cuda_extra():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "python=3.11" in environment["dependencies"]
    assert pip == ["--requirement requirements.lock", "--editable .[cuda]"]
    assert (ROOT / "requirements.lock").is_file()


def test_cluster_names_are_in_the_profile_alone():
    assert "slurm_partition:" in (ROOT / "slurm" / "config.yaml").read_text()
    others = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), *(ROOT / "config").glob("*.yaml")]
    named = re.compile(r"slurm_(partition|account)\s*[=:]")
    assert [file.name for file in others if named.search(file.read_text())] == []


def test_slurm_profile_is_accepted_and_fills_in_resources(tmp_path):
    (tmp_path / "Snakefile").write_text(
        "rule one:\n    output:\n        'one.txt'\n    shell:\n        'touch {output}'\n"
    )
    command = [*SNAKEMAKE, "--profile", str(ROOT / "slurm"), "--dry-run"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    output = result.stdout + result.stderr
    profile = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text())
    assert f"slurm_partition={profile['default-resources']['slurm_partition']}" in output
    assert "mem_mb=4000" in output
    assert profile["executor"] == "slurm"


def test_the_default_profile_and_the_commands_agree_on_what_makes_a_job_run_again():
    profile = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text(encoding="utf-8"))
    assert tuple(profile["rerun-triggers"]) == TRIGGERS


def test_the_space_installs_what_the_package_needs():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert sorted((ROOT / "app" / "requirements.txt").read_text(encoding="utf-8").splitlines()) == sorted(needed)
