"""The weights of a checkpoint that pickles other objects beside them, without running code of these objects."""

import collections
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from wildrayzer.io.damaged_files import damage
from wildrayzer.io.digests import digest_file
from wildrayzer.io.files import replacing
from wildrayzer.io.outputs import check_outputs
from wildrayzer.released.files import BROKEN, first_line

_TRUSTED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
"""What may be called while a file is read: it builds tensors and dictionaries from their parts."""
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


class _Inert:
    """Stands for an object of any class: takes whatever it is given and keeps nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Keeps nothing."""

    def extend(self, values: Any) -> None:
        """Keeps nothing."""

    def add(self, value: Any) -> None:
        """Keeps nothing."""


class _Unpickler(pickle.Unpickler):
    """Finds trusted functions, and an inert class for every other name: no module of the file's choice is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """A trusted function or type, or else a new inert class."""
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        return _TRUSTED.get((module, name)) or type("Inert", (_Inert,), {})


def _load(stream: Any, **options: Any) -> Any:
    return _Unpickler(stream, **options).load()


def strip(path: str | Path, out: str | Path, *, overwrite: bool = False) -> int:
    """Write the tensors of a checkpoint, in the dictionaries that hold them, as a file of nothing else.

    Every object of another class is dropped. Names of classes and functions in the file are not imported: those that
    rebuild tensors are known here, and an empty class stands for all others.

    Args:
        path: file of torch.save.
        out: file to write.
        overwrite: replace whatever `out` is; otherwise only the same weights.

    Returns:
        Number of tensors.

    Raises:
        ValueError: no such file, not readable, no tensors in it, or `out` is something else.
    """
    path, out = Path(path), Path(out)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a checkpoint")
    reader = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="inert")
    try:
        if damaged := damage(path):
            raise ValueError(damaged)
        content = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except (*BROKEN, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not readable as a checkpoint ({first_line(error)}); fetch it again") from None
    weights = _tensors(content)
    number = _count(weights)
    if not number:
        raise ValueError(f"{path}: holds no tensors under names; nothing was written")
    # A file that is opened here: torch would write the temporary name into it.
    with replacing(out) as temporary, temporary.open("wb") as stream:
        torch.save(weights, stream)
        stream.flush()
        same = out.is_file() and digest_file(out) == digest_file(temporary)
        check_outputs([out], same=same, overwrite=overwrite)
    return number


def _tensors(content: Any) -> dict[str, Any]:
    """The tensors under text keys, and the dictionaries that hold some."""
    kept: dict[str, Any] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(key, str) and isinstance(value, Tensor):
            kept[key] = value.detach()
        elif isinstance(key, str) and (inner := _tensors(value)):
            kept[key] = inner
    return kept


def _count(weights: Mapping[str, Any]) -> int:
    return sum(1 if isinstance(value, Tensor) else _count(value) for value in weights.values())
