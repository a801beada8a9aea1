"""JSON files of this project, read through the type that describes them."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from wildrayzer.io.files import read_json

T = TypeVar("T")
_SHOWN = 5


def read_validated(path: str | Path, kind: type[T], *, fix: str) -> T:
    """A JSON file as the model or dataclass that describes it.

    Args:
        path: the file.
        kind: what it must be.
        fix: what to do about a damaged file.

    Raises:
        ValueError: not JSON, or a field is missing, unknown to `kind` or of another type; file and fields are named.
        FileNotFoundError: there is no such file.
    """
    return validated(read_json(path, fix=fix), kind, source=path, fix=fix)


def validated(raw: Any, kind: type[T], *, source: str | Path, fix: str) -> T:
    """A value out of JSON as the model or dataclass that describes it; `source` is where it comes from.

    Raises:
        ValueError: as `read_validated`.
    """
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        faults = [_described(item) for item in error.errors()]
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(
            f"{source} is damaged or of another version ({'; '.join(faults[:_SHOWN])}{more}); {fix}"
        ) from None


def _described(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    message = item["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
