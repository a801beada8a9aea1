"""Generated from the configuration models: `config/schema.json` for editors and `docs/config.md` for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from wildrayzer.config.base import Section, effect_of, paper_of
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.walk import inner_section, options, without_null

SCHEMA_PATH = "config/schema.json"
"""JSON schema of a run's configuration, relative to the repository."""
REFERENCE_PATH = "docs/config.md"
"""Reference of all options, relative to the repository."""

_HEAD = """\
# Configuration reference

Generated from `wildrayzer/config/` by `wildrayzer config reference`; do not edit. A configuration is a YAML file such
as `config/demo.yaml` or `config/paper.yaml`. Unknown options are refused by name, options that contradict each other
with the fix; `wildrayzer config check FILE` says what is wrong with a file and what in it differs from the paper.
`config/schema.json` is the same as a JSON schema, for editors that complete and check YAML.

An option is written as `section.option`, as in `pretrain.views.targets`. In paths, a leading `~` and environment
variables such as `$SCRATCH` are replaced.

**affects** says what a changed option changes: `result`, what a stage computes; `rounding`, the order of sums and the
choice of kernels, and so the last digits of the same result; `speed`, only time, memory and how work is divided;
`observation`, only what is logged, saved, checked or shown on the way.

**paper** is the paper's value and where it stands, or the public release's where the paper is silent.
"""
_COLUMNS = ("option", "type", "default", "allowed", "affects", "paper", "description")
_TYPE_NAMES: Mapping[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("integer", "integers"),
    float: ("number", "numbers"),
    str: ("text", "texts"),
    Any: ("any value", "any values"),
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def schema_text() -> str:
    """JSON schema of `RunConfig`, ending in a newline."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunConfig.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def reference_text() -> str:
    """Markdown with one table for each kind of section, in the order in which a configuration meets them."""
    places = _places()
    return "\n".join([_HEAD, *(_table(section, found) for section, found in places.items())])


def generated_files() -> dict[str, str]:
    """Content of every generated file by its path relative to the repository."""
    return {SCHEMA_PATH: schema_text(), REFERENCE_PATH: reference_text()}


def stale_files(root: str | Path) -> list[str]:
    """Generated files below `root` that are missing or differ from what the models say now."""
    paths = {name: Path(root) / name for name in generated_files()}
    return [
        name
        for name, text in generated_files().items()
        if not paths[name].is_file() or paths[name].read_text(encoding="utf-8") != text
    ]


def write_generated(root: str | Path) -> list[str]:
    """Bring the generated files below `root` up to date.

    Returns:
        Names of the files that changed.

    Raises:
        ValueError: `root` is no checkout of the repository.
    """
    root = Path(root)
    for folder in ("config", "docs"):
        if not (root / folder).is_dir():
            raise ValueError(f"{root.resolve()} has no folder {folder}/; run this in the repository or give --root")
    stale = stale_files(root)
    for name in stale:
        (root / name).write_text(generated_files()[name], encoding="utf-8")
    return stale


def _places() -> dict[type[Section], list[str]]:
    """Kinds of sections with the places they occur at, the root first."""
    places: dict[type[Section], list[str]] = {RunConfig: []}
    for option in options(RunConfig):
        inner, named = inner_section(option.field.annotation)
        if inner is not None:
            places.setdefault(inner, []).append(option.path + ".*" * named)
    return places


def _table(section: type[Section], places: list[str]) -> str:
    where = ", ".join(f"`{place}`" for place in places)
    lines = [f"## {_title(section)}", ""]
    lines += [f"At {where}.", ""] if places else []
    lines += [_one_line(section.__doc__ or ""), "", _row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for name, field in section.model_fields.items():
        cells = (f"`{name}`", _type_text(field.annotation), _default(field), _allowed(field), _effect(section, name),
                 _paper(section, name), _one_line(field.description or ""))  # fmt: skip
        lines.append(_row(cells))
    return "\n".join([*lines, ""])


def _effect(section: type[Section], name: str) -> str:
    """Effect of an option; empty for one that holds a section, whose options have their own."""
    inner, _ = inner_section(section.model_fields[name].annotation)
    return "" if inner is not None else effect_of(section, name)


def _paper(section: type[Section], name: str) -> str:
    """The paper's value of an option and where it stands; empty where it has none."""
    paper = paper_of(section, name)
    if paper is None:
        return ""
    return f"`{json.dumps(paper.value_for(section.model_fields[name]), ensure_ascii=False)}` ({paper.source})"


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _title(section: type[Section]) -> str:
    return section.__name__.removesuffix("Config")


def _type_text(annotation: Any, *, plural: bool = False) -> str:
    kind = without_null(annotation)
    if type(None) in get_args(annotation):
        return f"{_type_text(kind)}, or null"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type_text(branch) for branch in get_args(kind))
    if get_origin(kind) is Annotated:  # a path
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return "choices" if plural else "choice"
    if get_origin(kind) is dict:
        keys = "names" if get_args(kind)[0] is str else "numbers"
        return f"{keys}, each with {_type_text(get_args(kind)[1])}"
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        length = "" if rest == [...] else f"{1 + len(rest)} "
        return f"list of {length}{_type_text(first, plural=True)}"
    if isinstance(kind, type) and issubclass(kind, Section):
        return f"[{_title(kind)}](#{_title(kind).lower()})"
    return _TYPE_NAMES[kind][plural]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "its defaults" if isinstance(value, Section) else f"`{json.dumps(value, ensure_ascii=False)}`"


def _allowed(field: FieldInfo) -> str:
    """Choices or range of an option; empty where its type says all."""
    kind = without_null(field.annotation)
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    limits = [f"{sign} {getattr(item, name):g}" for item in field.metadata for name, sign in _BOUNDS.items()
              if getattr(item, name, None) is not None]  # fmt: skip
    patterns = [f"matches `{item.pattern}`" for item in field.metadata if getattr(item, "pattern", None)]
    return ", ".join(limits + patterns)
