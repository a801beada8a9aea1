"""Old names of options: accepted for one version, with a warning that names the new one."""

import warnings
from collections.abc import Mapping
from typing import Any

from wildrayzer.config.base import ConfigError, Section
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.walk import inner_section


def with_new_names(raw: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """A configuration as nested mappings, in which options with an old name have their new one.

    Raises:
        ConfigError: an option is given under both names.
    """
    old: dict[str, str] = {}
    renamed = _rename(raw, RunConfig, "", old, source)
    for path, name in old.items():
        warnings.warn(
            f"{source}: {path} is now called {name}; the old name is accepted by this version only", FutureWarning,
            stacklevel=2,
        )  # fmt: skip
    return renamed


def _rename(raw: Mapping[str, Any], section: type[Section], path: str, old: dict[str, str], source: str) -> Any:
    found: dict[str, Any] = {}
    for key, value in raw.items():
        name = section.renamed.get(str(key), key)
        if name != key:
            if name in raw:
                raise ConfigError(f"{source}: {path}{key} is the old name of {path}{name}; drop {key}")
            old[f"{path}{key}"] = name
        field = section.model_fields.get(str(name))
        inner, named = inner_section(field.annotation) if field else (None, False)
        if inner is not None and isinstance(value, Mapping):
            if named:
                value = {
                    one: _rename(options, inner, f"{path}{name}.*.", old, source)
                    if isinstance(options, Mapping)
                    else options
                    for one, options in value.items()
                }
            else:
                value = _rename(value, inner, f"{path}{name}.", old, source)
        found[name] = value
    return found
