"""Write and read whole shards of an array quickly.

Zarr codes a shard's chunks one awaited call at a time: 0.2 to 0.5 ms a frame, tens of seconds for a split of small
frames in every job. A shard is a plain file, though (Zarr v3 specification, codec `sharding_indexed`): the chunks, then
a pair (offset, length) of little-endian uint64 for each of them, both 2⁶⁴ − 1 for a chunk of fill values, then a
CRC-32C of the pairs.
"""

from pathlib import Path

import numpy as np
import zarr
from jaxtyping import UInt8
from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

EMPTY = np.uint64(2**64 - 1)
"""Offset and length of a chunk that holds the fill value alone."""


def shard_file(folder: Path, number: int, ndim: int) -> Path:
    """File of shard `number` of an array sharded along its first axis alone."""
    return folder.joinpath("c", str(number), *["0"] * (ndim - 1))


def write_shard(file: Path, block: UInt8[np.ndarray, "n *rest"], *, chunks: int, level: int) -> None:
    """Write a shard of `chunks` one-frame zstd chunks; fewer frames leave the rest empty, black ones take no bytes."""
    index = np.full((chunks, 2), EMPTY, "<u8")
    codec, parts, offset = Zstd(level=level), [], 0
    for row, frame in zip(index, block, strict=False):
        if not frame.any():
            continue
        part = codec.encode(np.ascontiguousarray(frame))
        row[:] = offset, len(part)
        parts.append(part)
        offset += len(part)
    if not parts:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join([*parts, bytes(CRC32C(location="end").encode(index.view(np.uint8).ravel()))]))


def _fill_from_shard(payload: bytes, out: UInt8[np.ndarray, "n *rest"], *, chunks: int, file: Path) -> None:
    size = 16 * chunks + 4
    try:
        CRC32C(location="end").decode(payload[-size:])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: the shard is damaged ({error}); delete the store and run its stage again") from None
    index = np.frombuffer(payload, "<u8", count=2 * chunks, offset=len(payload) - size).reshape(chunks, 2)
    codec = Zstd()
    flat = out.reshape(len(out), -1)
    for row, (offset, length) in zip(flat, index, strict=False):
        if offset == EMPTY:
            continue
        chunk = codec.decode(payload[int(offset) : int(offset) + int(length)])
        row[:] = np.frombuffer(chunk, np.uint8)


def read_all(array: zarr.Array, folder: Path) -> UInt8[np.ndarray, "n *rest"]:
    """The whole array of a frame store, whose files lie in `folder`: uint8, one zstd chunk a frame.

    Raises:
        ValueError: a shard is damaged.
    """
    out = np.zeros(array.shape, np.uint8)
    assert array.shards is not None  # as the writer makes them
    per_shard = array.shards[0]
    for number, start in enumerate(range(0, len(out), per_shard)):
        file = shard_file(folder, number, array.ndim)
        if file.is_file():  # a shard of fill values has no file
            _fill_from_shard(file.read_bytes(), out[start : start + per_shard], chunks=per_shard, file=file)
    return out
