"""The weights of a released checkpoint, an untrusted file, under the release's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.released.files import checkpoint_files, load_file
from wildrayzer.released.keys import IGNORED_PREFIXES

_AVERAGED = ("ema_state_dict", "state_dict_ema", "ema_model", "model_ema", "params_ema", "ema")
_WRAPPERS = ("model", "state_dict", "model_state_dict", "module", "network", "net", "params", *_AVERAGED)
"""Keys under which tools keep the state dict, the averaged weights last; the first that is there counts."""
_PREFIXES = ("_orig_mod.", *(f"{wrapper}." for wrapper in _WRAPPERS))
"""What torch.compile, parallel wrappers and trainers put before names, in any order; no name of ours begins so."""


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights of a released checkpoint under the release's names, memory-mapped where the format allows."""

    tensors: dict[str, Tensor]
    """By name, without the prefixes of tools such as `module.` and `_orig_mod.`."""
    ignored: tuple[str, ...]
    """What else the file holds: ignored weights by prefix with their number, and top-level entries."""


def read_released(path: str | Path) -> ReleasedWeights:
    """Read the weights of a bare state dict, or of one under a key such as `model`, `state_dict` or `ema`.

    Args:
        path: a file of torch.save of any version, a safetensors file, an index of shards, or a folder with one of them.
            The files are unpickled with `weights_only=True`, which builds tensors and plain containers only.

    Raises:
        ValueError: missing, truncated or foreign file, a pickle with code in it, entries that are no weights, or NaN or
            infinity among the weights.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    ignored: dict[str, None] = {}
    left_out: dict[str, int] = {}
    for file in checkpoint_files(path):
        state = _unwrapped(load_file(file), file, ignored)
        for key, value in sorted(state.items(), key=lambda item: _bare(str(item[0]))[1]):
            name, averaged = _bare(str(key))
            prefix = next((prefix for prefix in IGNORED_PREFIXES if name.startswith(prefix)), None)
            if averaged and name in tensors:  # the averaged weights beside the others
                prefix = "ema."
            if prefix is not None:
                left_out[prefix] = left_out.get(prefix, 0) + 1
                continue
            _check(value, key, file)
            if name in tensors:
                raise ValueError(f"{path}: {name} is there twice, with and without a prefix or in two shards")
            tensors[name] = value
    found = (*ignored, *(f"{prefix}* ({number} tensors)" for prefix, number in left_out.items()))
    return ReleasedWeights(tensors=tensors, ignored=found)


def digest_released(path: str | Path) -> str:
    """Digest of a checkpoint's file, or of all its shards."""
    files = checkpoint_files(Path(path))
    return digest_file(files[0]) if len(files) == 1 else digest_json([digest_file(file) for file in files])


def _unwrapped(content: Any, path: Path, ignored: dict[str, None]) -> Mapping[Any, Any]:
    """The state dict in a file's content, however deep; names of entries beside it go to `ignored`."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a dict of weights; name a released checkpoint")
    wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
    if wrapper is not None:
        ignored |= dict.fromkeys(str(key) for key in content if key != wrapper)
        return _unwrapped(content[wrapper], path, ignored)
    if not content or "model" in content:
        raise ValueError(f"{path}: 'model' holds no dict of weights; name a released checkpoint")
    return content


def _bare(name: str) -> tuple[str, bool]:
    """A name without what tools put before it, and whether that says that the weight is an average."""
    averaged = False
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
        name, averaged = name.removeprefix(prefix), averaged or prefix[:-1] in _AVERAGED
    return name, averaged


def _check(value: Any, key: Any, path: Path) -> None:
    """Refuse what is no finite, dense tensor whose values are in the file."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{path}: unknown entry {key!r} holds a {type(value).__name__}, not a tensor")
    if not value.is_floating_point() or value.layout is not torch.strided:
        raise ValueError(f"{path}: {key} is a {value.layout} tensor of {value.dtype}; weights are dense floats")
    if value.is_meta or value.numel() * value.element_size() > path.stat().st_size:
        raise ValueError(
            f"{path}: {key} claims shape {list(value.shape)}, and the file does not hold its values; save the weights "
            "from a device that has them"
        )
    bad = value.numel() - int(torch.isfinite(value.float()).sum())
    if bad:
        raise ValueError(
            f"{path}: {key} holds {bad} of {value.numel()} values that are NaN or infinite; the file is damaged, or "
            "its training diverged: name another checkpoint"
        )
