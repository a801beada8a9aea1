"""What all configuration sections share, and what an option can say about itself."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.fields import FieldInfo


def expanded(path: str) -> str:
    """A path with a leading `~` and environment variables replaced, as a shell does; unknown variables stay."""
    path = os.path.expandvars(path)
    return str(Path(path).expanduser()) if path.split("/")[0] == "~" else path


FilePath = Annotated[str, AfterValidator(expanded)]
"""A file or folder, see `expanded`."""
Effect = Literal["result", "rounding", "speed", "observation"]
"""What an option affects.

`result`: what a stage computes. `rounding`: the order of sums and the choice of kernels, and so the last digits of the
same result. `speed`: only time, memory and how work is divided. `observation`: only what is logged, saved, checked or
shown on the way.
"""
T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot run; the message names every faulty option."""


class Record(BaseModel):
    """Frozen data with checked types; unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Affects:
    """Effect of one option, where it differs from the effect of its section."""

    effect: Effect


Rounding = Annotated[T, Affects("rounding")]
Speed = Annotated[T, Affects("speed")]
Observation = Annotated[T, Affects("observation")]

_DEFAULT = object()


@dataclass(frozen=True)
class Paper:
    """The paper's value of an option.

    Args:
        source: where the value stands; `RELEASE` where the paper is silent.
        value: the value; by default the option's own default.
        listed: name the option among a run's deviations when it has another value. Not listed are sizes and thresholds,
            which every scale needs other ones of, and choices on which paper and release disagree
            (docs/deviations.md#where-paper-and-release-disagree).
    """

    source: str
    value: Any = _DEFAULT
    listed: bool = True

    def value_for(self, field: FieldInfo) -> Any:
        """The paper's value of the option that `field` declares."""
        return field.get_default(call_default_factory=True) if self.value is _DEFAULT else self.value


PAPER = "paper"
SUPPLEMENT_A = "supplement A"
SUPPLEMENT_B = "supplement B"
TABLES = "main paper, tables"
RELEASE = "public release"


class Section(Record):
    """A section of the configuration.

    `affects` is the effect of every option that the class itself declares, unless the option's own annotation
    (`Rounding[int]`) says otherwise. An option without either is refused when the class is made.
    """

    affects: ClassVar[Effect]
    paper: ClassVar[Mapping[str, Paper]] = {}
    """Paper's values of inherited options, where they differ from class to class; others stand in an annotation."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Old names of options, accepted for one version: {old: new}."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name in cls.model_fields:
            effect_of(cls, name)


@cache
def effect_of(section: type[Section], name: str) -> Effect:
    """What the option `name` of a section affects.

    Raises:
        TypeError: neither the option nor the class that declares it says so.
    """
    for mark in section.model_fields[name].metadata:
        if isinstance(mark, Affects):
            return mark.effect
    declaring = next(cls for cls in section.__mro__ if name in inspect.get_annotations(cls))
    if "affects" not in declaring.__dict__:
        raise TypeError(f"{declaring.__name__}.{name} does not say what it affects; give the class `affects`")
    effect: Effect = declaring.__dict__["affects"]
    return effect


def paper_of(section: type[Section], name: str) -> Paper | None:
    """The paper's value of the option `name`; None where it has none."""
    own = (mark for mark in section.model_fields[name].metadata if isinstance(mark, Paper))
    return section.paper.get(name) or next(own, None)
