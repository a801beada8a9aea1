"""NPY and NPZ files from strangers: a header's claim is compared with the file before memory is taken for it."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from wildrayzer.io.damaged_files import placeholder

_BROKEN = (
    OSError, ValueError, EOFError, RuntimeError, TypeError, LookupError, OverflowError, SyntaxError, MemoryError,
    NotImplementedError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_MOST_PACKED = 1100
"""Deflate makes at most 1032 bytes of one."""


def read_npy(path: str | Path) -> np.ndarray:
    """The array of an NPY file; pickled objects are refused.

    Raises:
        ValueError: missing or damaged file, or one whose header claims more than it holds; names the file.
    """
    try:
        with Path(path).open("rb") as stream:
            return _array(stream, Path(path).stat().st_size)
    except _BROKEN as error:
        raise ValueError(f"{path}: cannot be read: {_reason(path, error)}; write it again") from None


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file by name; pickled objects are refused, members of other kinds left out.

    Raises:
        ValueError: missing or damaged file, or one that claims more than it can hold; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name an NPZ file")
    try:
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    if member.file_size > _MOST_PACKED * path.stat().st_size:
                        raise ValueError(f"{member.filename} claims {member.file_size} bytes")
                    with archive.open(member) as stream:
                        arrays[member.filename.removesuffix(".npy")] = _array(stream, member.file_size)
        return arrays
    except _BROKEN as error:
        reason = _reason(path, error)
        raise ValueError(f"{path}: not readable as NPZ ({reason}); write it with numpy.savez") from None


def _array(stream: Any, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, by_columns, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"NPY version {version}")
    if dtype.hasobject:
        raise ValueError(f"it holds {dtype}, pickled objects")
    claimed, left = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if claimed != left or min(shape, default=0) < 0:
        raise ValueError(f"its header claims {shape} of {dtype}, {claimed} bytes, and {left} follow")
    payload = stream.read()  # to the end: the checksum of a member is compared there
    return np.frombuffer(payload, dtype).reshape(shape, order="F" if by_columns else "C").copy()


def _reason(path: str | Path, error: Exception) -> str:
    try:
        if isinstance(error, zipfile.BadZipFile) and Path(path).read_bytes()[:6] == np.lib.format.MAGIC_PREFIX:
            return "a single array, not an archive of named ones"
        return placeholder(path) or str(error) or type(error).__name__
    except OSError:
        return str(error)
