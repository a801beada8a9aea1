"""Check a configuration's sections; every complaint names the option, the value and the fix."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from wildrayzer.config.base import ConfigError, Section
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.sections.stages import TRAINING_STAGES, StageConfig
from wildrayzer.config.sections.training import TrainingOptions
from wildrayzer.config.walk import inner_section


def validated(raw: Mapping[str, Any], *, source: str) -> RunConfig:
    """The configuration that nested mappings stand for; its ablations are not looked into.

    Raises:
        ConfigError: unknown option, wrong value, or options that contradict each other.
    """
    try:
        return RunConfig.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ConfigError("\n".join([f"{source} cannot run:", *(f"  - {line}" for line in lines)])) from None


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: {_unknown(item['loc'][:-1], str(item['loc'][-1]))}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{where}: {message}" if where else message
    if item["type"] == "missing":
        return f"{where}: missing; it has no default, give it a value"
    return f"{where} = {item['input']!r}: {message}"


def _unknown(path: tuple[Any, ...], name: str) -> str:
    """Why the section at `path` has no option `name`, and what to do."""
    section = _section_at(path)
    if issubclass(section, TrainingOptions) and name in StageConfig.model_fields:
        readers = [stage for stage in TRAINING_STAGES if name in _section_at((stage,)).model_fields]
        return f"this stage does not read it ({' and '.join(readers)} {'do' if len(readers) > 1 else 'does'}); drop it"
    known = list(section.model_fields)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"
    return f"unknown option; {hint}"


def _section_at(path: tuple[Any, ...]) -> type[Section]:
    """The section that a validation error's location leads to."""
    section: type[Section] = RunConfig
    parts = iter(path)
    for part in parts:
        inner, named = inner_section(section.model_fields[str(part)].annotation)
        assert inner is not None
        section = inner
        if named:
            next(parts, None)  # the name that the user chose
    return section
