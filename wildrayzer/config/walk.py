"""Walk over the options that configuration sections declare."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from wildrayzer.config.base import Section


class Option(NamedTuple):
    """An option where it stands."""

    path: str
    """Full name, such as `pretrain.views.targets`; `*` stands for a name that the user chooses."""
    section: type[Section]
    """Section that has the option."""
    field: FieldInfo

    @property
    def name(self) -> str:
        """Name within its section."""
        return self.path.rpartition(".")[2]


def options(section: type[Section], prefix: str = "") -> Iterator[Option]:
    """Every option of a section and of the sections within it, those that hold sections included."""
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        yield Option(path, section, field)
        inner, named = inner_section(field.annotation)
        if inner is not None:
            yield from options(inner, f"{path}.*." if named else f"{path}.")


def inner_section(annotation: Any) -> tuple[type[Section] | None, bool]:
    """The section that an option holds, or None for a plain value; and whether it holds several under names."""
    kind = without_null(annotation)
    named = get_origin(kind) is dict
    if named:
        kind = get_args(kind)[1]
    return (kind, named) if isinstance(kind, type) and issubclass(kind, Section) else (None, False)


def without_null(annotation: Any) -> Any:
    """The annotation without its `None` branch."""
    if get_origin(annotation) in (Union, UnionType):
        return Union[*(branch for branch in get_args(annotation) if branch is not type(None))]
    return annotation
