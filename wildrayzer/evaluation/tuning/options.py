"""Option sets of a sweep over cached residual maps: parsing, combining, checking."""

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wildrayzer.config.base import Section
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig

_SECTIONS: dict[str, type[Section]] = {"pseudo_masks": PseudoMasksConfig, "refine": RefineConfig}


@dataclass(frozen=True)
class OptionSet:
    """One combination of the swept options."""

    number: int
    """From 0, in the order of the sweep: the last option varies fastest."""
    values: dict[str, Any]
    """Only the swept options, as `SECTION.OPTION`."""
    pseudo_masks: PseudoMasksConfig
    refine: RefineConfig


def parse_sweep(settings: Sequence[str]) -> dict[str, list[str]]:
    """Values of each swept option, as text, from `SECTION.OPTION=VALUE,VALUE`.

    Raises:
        ValueError: no such form, an option that is unknown, given twice or not a matter of the cache, or no value.
    """
    sweep: dict[str, list[str]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals or not text.strip():
            raise ValueError(f"--set {setting}: write SECTION.OPTION=VALUE,VALUE, e.g. pseudo_masks.top_share=0.3,0.5")
        _check_name(name)
        if name in sweep:
            raise ValueError(f"--set {name} is given twice; list all of its values in one")
        sweep[name] = list(dict.fromkeys(value.strip() for value in text.split(",")))
    return sweep


def _check_name(name: str) -> None:
    section, _, option = name.partition(".")
    if section == "residuals" and option in ResidualsConfig.model_fields:
        raise ValueError(
            f"--set {name}: the cache holds maps and cluster numbers that were made with one value of it, and features "
            "are not stored; change it in the configuration and run the stage residuals again"
        )
    known = [f"{section}.{option}" for section, kind in _SECTIONS.items() for option in kind.model_fields]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise ValueError(f"--set {name}: no such option of voting or refinement; {hint}")


def option_sets(
    sweep: dict[str, list[str]], *, pseudo_masks: PseudoMasksConfig, refine: RefineConfig
) -> list[OptionSet]:
    """Every combination of the swept values, over the given options where nothing is swept.

    Raises:
        ValueError: a value out of range, or options that contradict each other.
    """
    base = {"pseudo_masks": pseudo_masks, "refine": refine}
    sets = []
    for number, combination in enumerate(itertools.product(*sweep.values())):
        texts = dict(zip(sweep, combination, strict=True))
        made = {section: _with(section, base[section], texts) for section in _SECTIONS}
        values = {name: getattr(made[name.partition(".")[0]], name.partition(".")[2]) for name in sweep}
        sets.append(OptionSet(number, values, **made))
    return sets


def _with(section: str, base: Section, texts: dict[str, str]) -> Any:
    own = {name.partition(".")[2]: text for name, text in texts.items() if name.startswith(f"{section}.")}
    try:
        return type(base).model_validate({**base.model_dump(), **own})
    except ValidationError as error:
        item = error.errors()[0]
        message = item["msg"].removeprefix("Value error, ")
        where = ".".join([section, *map(str, item["loc"])])
        raise ValueError(f"--set {where} = {item['input']}: {message}" if item["loc"] else message) from None
