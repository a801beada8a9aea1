"""Opening checkpoint files of strangers: PyTorch's formats, safetensors and shards. No code in them is run."""

import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from wildrayzer.io.damaged_files import damage, placeholder
from wildrayzer.io.files import read_json

BROKEN = (
    RuntimeError, EOFError, OSError, ValueError, TypeError, AttributeError, LookupError, AssertionError, MemoryError,
    OverflowError, RecursionError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What reading a damaged file raises."""
_ZIP, _PICKLE = b"PK", b"\x80"
"""How files of torch.save begin since PyTorch 1.6, and before; the earlier ones cannot be memory-mapped."""
_GLOBAL = re.compile(r"(?:GLOBAL|[Uu]nsupported global:?(?: GLOBAL)?|[Uu]nsupported class) ([\w.]+)")
_SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\.\w+")


def checkpoint_files(path: Path) -> list[Path]:
    """The files that a checkpoint consists of: the file itself, or the shards that an index or a folder names.

    Raises:
        ValueError: no such file, an index that names no files beside it, shards that are missing, or a folder that
            holds no checkpoint, or several.
    """
    if path.is_dir():
        return _files_in(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a released checkpoint")
    if not path.name.endswith(".index.json"):
        return [path]
    index = read_json(path, fix="fetch it again")
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{path}: holds no weight_map of weights and files; fetch it again")
    files = [path.parent / name for name in sorted(set(names.values()))]
    if outside := [file for file in files if file.parent != path.parent or not file.is_file()]:
        raise ValueError(f"{path}: names {outside[0].name!r}, which is not beside it; fetch all shards")
    return files


def _files_in(folder: Path) -> list[Path]:
    indices = sorted(folder.glob("*.index.json"))
    if len(indices) == 1:
        return checkpoint_files(indices[0])
    files = sorted(file for file in folder.iterdir() if file.suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors"))
    shards = [match for file in files if (match := _SHARD.fullmatch(file.name))]
    if files and len(shards) == len(files) and len({(match[1], match[3]) for match in shards}) == 1:
        if len(files) != int(shards[0][3]):
            raise ValueError(f"{folder}: holds {len(files)} of {int(shards[0][3])} shards; fetch the others")
        return files
    if len(files) != 1:
        found = ", ".join(file.name for file in files[:5]) or "none"
        raise ValueError(f"{folder}: name one checkpoint; this folder holds {found}")
    return files


def load_file(path: Path) -> Any:
    """The content of one file, memory-mapped where its format allows; only tensors and plain containers are built.

    Raises:
        ValueError: not a checkpoint, truncated, or one that pickles other objects; names what it is and what to do.
    """
    if instead := placeholder(path):
        raise ValueError(f"{path}: {instead}")
    try:
        with path.open("rb") as stream:
            head = stream.read(10)
        if head[8:9] == b"{":  # 8 bytes of length, then a header in JSON
            from safetensors.torch import load_file as load_safetensors

            return load_safetensors(path)
        if not head.startswith((_ZIP, _PICKLE)):
            raise ValueError(f"it begins with {head!r}")
        if damaged := damage(path):
            raise ValueError(damaged)
        return torch.load(path, map_location="cpu", mmap=head.startswith(_ZIP), weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path, error)) from None
    except (*BROKEN, _safetensors_error()) as error:
        raise ValueError(
            f"{path}: not readable as a checkpoint, truncated or of another kind ({first_line(error)}); fetch it again"
        ) from None


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


def _refusal(path: Path, error: Exception) -> str:
    match = _GLOBAL.search(str(error))
    if match is None:
        return (
            f"{path}: refused: it holds something beside weights, or is no checkpoint ({first_line(error)}); a "
            "checkpoint is untrusted input and no code in it is run"
        )
    return (
        f"{path}: refused: it holds an object of {match[1]} beside the weights, and no code in a checkpoint is run. "
        f"`wildrayzer released strip {path} --out weights.pt` keeps the weights only, without running code; or, where "
        "the file was made:\n"
        "  content = torch.load(file, map_location='cpu', weights_only=False)\n"
        "  weights = content.get('model', content)\n"
        "  torch.save({'model': dict(weights)}, 'weights.pt')"
    )


def first_line(error: BaseException) -> str:
    """An error's text without the library's advice, which would run code."""
    lines = str(error).rpartition("WeightsUnpickler error:")[2].strip().splitlines()
    return lines[0] if lines else type(error).__name__
