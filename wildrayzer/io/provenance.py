"""Versions that manifests record."""

import contextlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from wildrayzer import __version__

_CPU_FILE = Path("/proc/cpuinfo")


def processor() -> str:
    """Name of the processor, as far as the system tells it."""
    lines = _CPU_FILE.read_text(encoding="utf-8").splitlines() if _CPU_FILE.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def code_versions() -> Mapping[str, str]:
    """Versions of this package, Python and torch, kind of machine, and name of its processor."""
    found = {"wildrayzer": __version__, "python": platform.python_version(), "machine": platform.machine()}
    with contextlib.suppress(PackageNotFoundError):
        found["torch"] = version("torch")
    return {**found, "processor": processor()}
