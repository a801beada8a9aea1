"""Reading a released checkpoint: an untrusted file, of which only the weights are looked at."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildrayzer.released.keys import IGNORED_PREFIXES

_DAMAGED = (RuntimeError, EOFError, OSError, ValueError, TypeError, AttributeError, LookupError, AssertionError)


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights of a released checkpoint under the release's names, memory-mapped."""

    tensors: dict[str, Tensor]
    """By name, without the `module.` prefix."""
    ignored: tuple[str, ...]
    """What else the file holds: ignored weights by prefix with their number, and top-level entries."""


def read_released(path: str | Path) -> ReleasedWeights:
    """Read the weights of `{"model": state dict, …}` or of a bare state dict.

    The file is memory-mapped and unpickled with `weights_only=True`, which builds tensors and plain containers only.

    Raises:
        ValueError: missing, truncated or foreign file, a pickle with code in it, or entries that are no weights.
    """
    content = _load(Path(path))
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a dict of weights; name a released checkpoint")
    ignored: list[str] = []
    state: Any = content
    if "model" in content:
        state = content["model"]
        ignored = [str(name) for name in content if name != "model"]
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{path}: 'model' holds no dict of weights; name a released checkpoint")
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, int] = {}
    for key, value in state.items():
        name = str(key).removeprefix("module.")
        prefix = next((prefix for prefix in IGNORED_PREFIXES if name.startswith(prefix)), None)
        if prefix is not None:
            left_out[prefix] = left_out.get(prefix, 0) + 1
            continue
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: unknown entry {key!r} holds a {type(value).__name__}, not a tensor")
        if not value.is_floating_point() or value.layout is not torch.strided:
            raise ValueError(f"{path}: {key} is a {value.layout} tensor of {value.dtype}; weights are dense floats")
        if name in tensors:
            raise ValueError(f"{path}: {name} is there twice, with and without the prefix 'module.'")
        tensors[name] = value
    ignored += [f"{prefix}* ({number} tensors)" for prefix, number in left_out.items()]
    return ReleasedWeights(tensors=tensors, ignored=tuple(ignored))


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a released checkpoint")
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused: it holds something beside weights, or is no checkpoint ({_first_line(error)}); "
            "a checkpoint is untrusted input and no code in it is run"
        ) from None
    except _DAMAGED as error:
        raise ValueError(
            f"{path}: not readable as a PyTorch checkpoint, truncated or of another kind ({_first_line(error)}); "
            "fetch it again"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
