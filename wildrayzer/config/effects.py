"""What decides the results of a section, and what in it differs from the paper, as its options declare it.

Options that decide results are the params of rules, so that a changed one makes a job run again, and the identity of a
training run. The other options (`rounding`, `speed`, `observation`) redo nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from wildrayzer.config.base import Effect, Section, effect_of, paper_of

S = TypeVar("S", bound=Section)
_MISSING = object()


def rounding_options(section: Section) -> dict[str, Any]:
    """Plain data of the options that change results only by the order of sums; sections without any are left out."""
    return _without_empty(_with_effect(section, "rounding"))


def differences(section: Section, prefix: str = "", *, listed: bool = True) -> Iterator[tuple[str, Any]]:
    """Options whose value differs from the paper's, with their value, in the order of the configuration.

    Args:
        section: a section with those within it; options under names that the user chooses have no value in the paper.
        prefix: put before every name, such as `model.`.
        listed: only those that count as deviations; False also yields sizes, thresholds and choices on which paper and
            release disagree.
    """
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        paper = paper_of(type(section), name)
        if isinstance(value, Section):
            yield from differences(value, f"{prefix}{name}.", listed=listed)
        elif paper is not None and (paper.listed or not listed) and value != paper.value_for(field):
            yield f"{prefix}{name}", value


def deviations(section: Section, prefix: str = "") -> tuple[str, ...]:
    """`option: value` for every option that differs from the paper and is listed."""
    return tuple(f"{name}: {value}" for name, value in differences(section, prefix))


def deciding_options(section: Section | None) -> dict[str, Any] | None:
    """The options of a section that decide results, as nested plain data, without those at their defaults.

    Defaults are left out so that a new option of a later version, which does by default what was done before, changes
    no params; a changed default needs a new stage version instead. None stays None.
    """
    return None if section is None else _chosen(section, _MISSING, {"result"})


def completed(options: Mapping[str, Any], section: S) -> S:
    """A section with the given deciding options; the other options are those of `section`.

    Deciding options that are not given take their defaults, whatever `section` says: a job reads no deciding option
    that is not among its params.

    Raises:
        pydantic.ValidationError: an option without default is not given.
    """
    other = _chosen(section, _MISSING, {"rounding", "speed", "observation"})
    return type(section).model_validate(_merged(other, options))


def _chosen(section: Section, default: Any, effects: set[Effect]) -> dict[str, Any]:
    plain = section.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        usual = getattr(default, name, _MISSING)
        if usual is _MISSING and not field.is_required():
            usual = field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            inner = _chosen(value, usual if type(usual) is type(value) else _MISSING, effects)
            # a section in place of None counts even where all of its options are at their defaults
            if inner or ("result" in effects and usual is None):
                chosen[name] = inner
        elif isinstance(value, dict) and any(isinstance(one, Section) for one in value.values()):
            chosen[name] = {key: _chosen(one, _MISSING, effects) for key, one in value.items()}
        elif effect_of(type(section), name) in effects and value != usual:
            chosen[name] = plain[name]
    return chosen


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, that of `other`."""
    merged = dict(one)
    for name, value in other.items():
        here = merged.get(name)
        merged[name] = _merged(here, value) if isinstance(here, Mapping) and isinstance(value, Mapping) else value
    return merged


def _with_effect(section: Section, effect: Effect) -> dict[str, Any]:
    plain = section.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            found[name] = _with_effect(value, effect)
        elif isinstance(value, dict) and value and all(isinstance(one, Section) for one in value.values()):
            found[name] = {key: _with_effect(one, effect) for key, one in value.items()}
        elif effect_of(type(section), name) == effect:
            found[name] = plain[name]
    return found


def _without_empty(options: dict[str, Any]) -> dict[str, Any]:
    kept = {name: _without_empty(value) if isinstance(value, dict) else value for name, value in options.items()}
    return {name: value for name, value in kept.items() if value != {}}
