"""Check a configuration's sections; every complaint names the option, the value and the fix."""

import difflib
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from wildrayzer.config.base import ConfigError
from wildrayzer.config.sections.run import RunConfig


def validated(raw: Mapping[str, Any], *, source: str) -> RunConfig:
    """The configuration that nested mappings stand for; its ablations are not looked into.

    Raises:
        ConfigError: unknown option, wrong value, or options that contradict each other.
    """
    try:
        return RunConfig.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_explain(item, raw) for item in error.errors()]
        raise ConfigError("\n".join([f"{source} cannot run:", *(f"  - {line}" for line in lines)])) from None


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
