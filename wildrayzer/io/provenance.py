"""Versions that manifests record."""

import platform
from collections.abc import Mapping

from wildrayzer import __version__


def code_versions() -> Mapping[str, str]:
    """Versions of this package and of Python, and the kind of machine."""
    return {"wildrayzer": __version__, "python": platform.python_version(), "machine": platform.machine()}
