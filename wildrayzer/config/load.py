"""Read and check a configuration; every complaint names the option, the value and the remedy."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from wildrayzer.config.ablations import own_stages
from wildrayzer.config.base import ConfigError
from wildrayzer.config.run import RunConfig


def load_config(path: str | Path) -> RunConfig:
    """Read a YAML file.

    Raises:
        ConfigError: missing or unreadable file, unknown option, wrong value, or options that contradict each other.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; see config/ for the ones that ship") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    return parse_config(raw, source=str(path))


def parse_config(raw: Any, *, source: str = "configuration") -> RunConfig:
    """Check a configuration given as nested mappings, as Snakemake's `config` is.

    Raises:
        ConfigError: as `load_config`.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{source}: expected a mapping of sections, found {type(raw).__name__}")
    try:
        config = RunConfig.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_explain(item, raw) for item in error.errors()]
        raise ConfigError("\n".join([f"{source} cannot run:", *(f"  - {line}" for line in lines)])) from None
    for name, ablation in config.ablations.items():
        own_stages(config, name, ablation)
    return config


def _explain(item: Any, raw: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_options(item["loc"][:-1])
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"
        return f"{where}: unknown option; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{where}: {message}" if where else message
    if item["type"] == "missing":
        return f"{where}: missing; it has no default, give it a value"
    return f"{where} = {item['input']!r}: {message}"


def _known_options(path: tuple[Any, ...]) -> list[str]:
    """Options of the section that a validation error's location leads to."""
    section: Any = RunConfig
    for part in path:
        if isinstance(section, type) and issubclass(section, BaseModel):
            field = section.model_fields.get(str(part))
            section = field.annotation if field else None
        elif get_origin(section) is dict:
            section = get_args(section)[1]
        if get_origin(section) is not dict:
            section = next((a for a in get_args(section) if isinstance(a, type) and issubclass(a, BaseModel)), section)
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
