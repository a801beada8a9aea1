"""What decides the results of a section, and what in it differs from the paper, as its options declare it."""

from collections.abc import Iterator
from typing import Any

from wildrayzer.config.base import Effect, Section, effect_of, paper_of


def result_options(section: Section) -> dict[str, Any]:
    """Plain data of the options that decide a section's results: for params of rules, digests and identities.

    Sections within keep their place, even where none of their options is left; those that are null stay null.
    """
    return _with_effect(section, "result")


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
