"""What the package imports is declared in pyproject.toml, what is declared is imported, and the lock has all of it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINER_LOCK = "resources/container/requirements-cuda.lock"
_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
NOT_IMPORTED = {
    "scikit-image": "its photographs are the textures of the embedded data set",
    "scikit-learn": "its photographs are the textures of the embedded data set",
    "snakemake-executor-plugin-slurm": "runs the workflow on a cluster",
    "tensorboard": "torch.utils.tensorboard imports it",
}
"""Declared and not imported, and why."""


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named_in(requirements: list[str]) -> set[str]:
    return {normalised(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def imported() -> set[str]:
    """Top-level modules that the package and the workflow's scripts import, without Python's own."""
    names = set()
    for file in [*(ROOT / "wildrayzer").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"wildrayzer"}


# Extras may not be installed; their modules have the names of their packages.
BY_MODULE = {module: {normalised(name) for name in names} for module, names in packages_distributions().items()}
EXTRAS = named_in(
    [one for extra in ("app", "cuda", "objects", "watch") for one in PROJECT["optional-dependencies"].get(extra, [])]
)
DECLARED = named_in(PROJECT["dependencies"]) | EXTRAS


def test_imports_are_declared():
    undeclared = {module for module in imported() if not BY_MODULE.get(module, {normalised(module)}) & DECLARED}
    assert undeclared == set()


def test_declared_packages_are_imported():
    used = set().union(*(BY_MODULE.get(module, {normalised(module)}) for module in imported()))
    assert DECLARED - used == set(NOT_IMPORTED)


def test_the_lock_has_every_declared_package():
    locked = named_in(
        [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()[1:] if line]
    )
    assert named_in(PROJECT["dependencies"]) - locked == set()


def test_the_containers_lock_has_the_same_pins_and_a_digest_of_every_file():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", CONTAINER_LOCK)]
    pins, own = ({normalised(name): pin for name, pin in _PIN.findall(text)} for text in texts)
    added = {name for name in own if name not in pins}
    assert {name: pin for name, pin in own.items() if name not in added} == {
        name: pins[name] for name in own if name in pins
    }
    assert all(name.startswith(("nvidia-", "cuda-")) or name in ("triton", "xformers") for name in added)
    assert named_in(PROJECT["dependencies"]) - own.keys() == set()
    entries = [entry for entry in texts[1].split("\n") if entry and not entry.startswith("#")]
    assert len(own) == sum(not entry.startswith(" ") for entry in entries)
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[\w.-]+==)", texts[1], flags=re.MULTILINE)[1:])
