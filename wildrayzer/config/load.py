"""Read and check a configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from wildrayzer.config.base import ConfigError
from wildrayzer.config.renames import with_new_names
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.validation import validated
from wildrayzer.config.variants import own_stages


def load_config(path: str | Path) -> RunConfig:
    """Read a YAML file.

    Raises:
        ConfigError: missing or unreadable file, unknown option, wrong value, or options that contradict each other.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; see config/ for the ones that ship") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    return parse_config(raw, source=str(path))


def parse_config(raw: Any, *, source: str = "configuration") -> RunConfig:
    """Check a configuration given as nested mappings, as Snakemake's `config` is.

    Raises:
        ConfigError: as `load_config`.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{source}: expected a mapping of sections, found {type(raw).__name__}")
    config = validated(with_new_names(raw, source=source), source=source)
    for name, ablation in config.ablations.items():
        own_stages(config, name, ablation)
    return config
