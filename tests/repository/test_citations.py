"""Docstrings, comments, rules and configurations cite pages and headings of docs/ that exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("*.py", "*.smk", "*.yaml", "*.yml", "*.toml", "*.json", "*.j2", "Snakefile", "Makefile", "docs/config.md")
CITATION = re.compile(r"docs/([\w-]+\.md)(?:#([\w-]+))?")


def citing_files() -> list[Path]:
    """Tracked files that may cite a page, besides the pages that people write."""
    listed = subprocess.run(["git", "ls-files", *FILES], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def headings(page: Path) -> list[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles]


def unresolved(text: str) -> list[str]:
    """Citations in a text that lead to no page or no heading."""
    found = []
    for match in CITATION.finditer(text):
        page = ROOT / "docs" / match[1]
        if not page.is_file() or (match[2] and match[2] not in headings(page)):
            found.append(match[0])
    return found


def test_every_citation_resolves():
    found = {str(file.relative_to(ROOT)): unresolved(file.read_text(encoding="utf-8")) for file in citing_files()}
    assert {
        file: wrong for file, wrong in found.items() if wrong and file != "tests/repository/test_citations.py"
    } == {}


@pytest.mark.parametrize("text", ["docs/method.md#no-such-step", "docs/nowhere.md"])
def test_a_wrong_citation_is_found(text):
    assert unresolved(f"See docs/method.md#voting and {text}.") == [text]


def test_pages_are_cited_by_their_path():
    pages = "|".join(page.stem for page in (ROOT / "docs").glob("*.md"))
    bare = re.compile(rf"(?<![\w/])({pages})\.md\b|released-model facts|spec/\w+\.md", re.IGNORECASE)
    package = [file for file in citing_files() if file.is_relative_to(ROOT / "wildrayzer")]
    assert len(package) > 100
    assert {
        file.name: bare.findall(file.read_text(encoding="utf-8")) for file in package if bare.search(file.read_text())
    } == {}


@pytest.mark.parametrize(
    ("module", "heading"),
    [
        ("models/camera_encoder.py", "network.md#camera-encoder"),
        ("models/camera_head.py", "network.md#camera-head"),
        ("models/motion_head.py", "network.md#motion-head"),
        ("models/scene.py", "network.md#scene-encoder"),
        ("models/tokens.py", "network.md#image-tokens"),
        ("models/transformer.py", "network.md#transformer-block"),
        ("pseudo_masks/calibration.py", "method.md#calibration"),
        ("pseudo_masks/clustering.py", "method.md#clustering"),
        ("pseudo_masks/fusion.py", "method.md#fusion"),
        ("pseudo_masks/refinement.py", "method.md#refinement"),
        ("pseudo_masks/voting.py", "method.md#voting"),
    ],
)
def test_modules_of_the_method_say_which_step_they_are(module, heading):
    docstring = (ROOT / "wildrayzer" / module).read_text(encoding="utf-8").split('"""')[1]
    assert f"docs/{heading}" in docstring


def named_files(page: Path) -> set[str]:
    """Files of the repository that a page names, such as `pseudo_masks/voting.py` or `slurm/config.yaml`."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|smk|yaml|def))`", text))


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))],
                         ids=lambda path: path.name)  # fmt: skip
def test_files_that_pages_name_exist(page):
    own = ("data/own/", "data/still/", "data/try/", "config/mine.yaml")
    folders = (ROOT, ROOT / "wildrayzer", ROOT / "wildrayzer" / "tools")
    named = {name for name in named_files(page) if not name.startswith(own)}
    assert {name for name in named if not any((folder / name).is_file() for folder in folders)} == set()


def test_the_readme_is_short_and_names_ten_files_to_read():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert [int(number) for number in re.findall(r"^(\d+)\. \[`", text, flags=re.MULTILINE)] == list(range(1, 11))
