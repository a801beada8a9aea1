"""The configurations of the rehearsal: a full-size one, and config/overrides/rehearsal.yaml over it."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERRIDES = ROOT / "config" / "overrides" / "rehearsal.yaml"
CONFIGURATIONS = ("paper", "rayzer_dl3dv", "lvsm_re10k", "open_rayzer_re10k")
"""The full-size runs that are rehearsed, by the names of their files in config/."""


def replaced(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with other values; mappings that it lacks, such as stages of another system, are left out."""
    result = dict(base)
    for key, value in changes.items():
        if not isinstance(value, dict):
            result[key] = value
        elif isinstance(base.get(key), dict):
            result[key] = replaced(base[key], value)
    return result


def derived(name: str) -> dict[str, Any]:
    """Options of the rehearsal of a configuration."""
    base = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    return replaced(base, yaml.safe_load(OVERRIDES.read_text(encoding="utf-8")))
