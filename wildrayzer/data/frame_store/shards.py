"""Write and read the shards of an array, one chunk a frame, without Zarr's own machinery.

Zarr codes a shard's chunks one awaited call at a time: 0.2 to 0.5 ms a frame, tens of seconds for a split of small
frames in every job. A shard is a plain file, though (Zarr v3 specification, codec `sharding_indexed`): the chunks, then
a pair (offset, length) of little-endian uint64 for each of them, both 2⁶⁴ − 1 for a chunk of fill values, then a
CRC-32C of the pairs.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt64
from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

from wildrayzer.data.frame_store.codecs import FrameCodec
from wildrayzer.io.object_store import ObjectFile

EMPTY = np.uint64(2**64 - 1)
"""Offset and length of a chunk that holds the fill value alone."""
AGAIN = (
    "delete the part (the folder KEY.zarr) and run the stage `frames` again (snakemake --forcerun prepare_split); all "
    "other parts stay"
)
"""What to do about a damaged part, for messages: its manifest is up to date for Snakemake, so the rule is named."""
_OPEN_FILES = 64
"""Shards that the readers of a store keep open, each with its index."""


def shard_file(folder: Path, number: int, ndim: int) -> Path:
    """File of shard `number` of an array sharded along its first axis alone."""
    return folder.joinpath("c", str(number), *["0"] * (ndim - 1))


def write_shard(file: Path, payloads: Sequence[bytes], *, chunks: int) -> bool:
    """Write a shard of `chunks` places from coded frames, flushed to disk; empty ones and the rest take no bytes.

    Gives whether there is a file: a shard of empty places has none.

    Raises:
        OSError: the disk is full, among others.
    """
    index = np.full((chunks, 2), EMPTY, "<u8")
    offset = 0
    for row, payload in zip(index, payloads, strict=False):
        if payload:
            row[:] = offset, len(payload)
            offset += len(payload)
    if not offset:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.writelines(payloads)
        stream.write(bytes(CRC32C(location="end").encode(index.view(np.uint8).ravel())))
        stream.flush()
        os.fsync(stream.fileno())
    return True


def _checked_index(tail: bytes, *, chunks: int, file: Path) -> UInt64[np.ndarray, "n 2"]:
    try:
        CRC32C(location="end").decode(tail)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: the shard is damaged ({error}); {AGAIN}") from None
    return np.frombuffer(tail, "<u8", count=2 * chunks).reshape(chunks, 2)


def _decode(codec: FrameCodec, payload: bytes, out: np.ndarray, file: Path) -> None:
    try:
        codec.decode(payload, out)
    except ValueError as error:
        raise ValueError(f"{file}: the shard is damaged: {error}; {AGAIN}") from None


_Held = tuple[FileIO | ObjectFile, UInt64[np.ndarray, "n 2"]]
"""An open shard and its index."""


def _read_at(stream: FileIO | ObjectFile, offset: int, length: int) -> bytes:
    """Bytes of an open file; threads may share it."""
    if isinstance(stream, ObjectFile):
        return stream.read_at(offset, length)
    return os.pread(stream.fileno(), length, offset)


@dataclass
class OpenShards:
    """Files that a store's readers keep open, with their indices; the least used of them is closed first.

    Every process opens its own: after a fork nothing is shared with the process before.
    """

    _open: OrderedDict[Path, _Held | None] = field(default_factory=OrderedDict)
    _process: int = field(default_factory=os.getpid)

    def get(self, file: Path, opened: Callable[[Path], _Held | None]) -> _Held | None:
        """The shard of a file, opened by `opened` if it is not open yet; None for one without a file."""
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        while len(self._open) >= _OPEN_FILES:
            _, given_up = self._open.popitem(last=False)
            if given_up is not None:
                given_up[0].close()
        self._open[file] = opened(file)
        return self._open[file]


@dataclass
class ShardReader:
    """Random access to the frames of one array: one frame reads and decodes one chunk.

    Args:
        folder: of the array, which holds `c/`.
        shape: of one frame.
        chunks: frames in a shard.
        codec: of a chunk.
        empty: shards that have no file because all of their frames are zeros; None where that is not known, and every
            missing file is taken for one.
        opened: open files, which several readers may share.
    """

    folder: Path
    shape: tuple[int, ...]
    chunks: int
    codec: FrameCodec
    empty: frozenset[int] | None = None
    opened: OpenShards = field(default_factory=OpenShards)

    def file(self, number: int) -> Path:
        """File of a shard."""
        return shard_file(self.folder, number, len(self.shape) + 1)

    def _has_file(self, number: int) -> bool:
        if self.file(number).is_file():
            return True
        if self.empty is None or number in self.empty:
            return False
        raise ValueError(f"{self.file(number)}: the shard is missing; {AGAIN}")

    def read(self, row: int, out: UInt8[np.ndarray, "h w *c"]) -> None:
        """Fill `out`, contiguous, with the frame in this row.

        Raises:
            ValueError: the shard is damaged.
        """
        number, place = divmod(row, self.chunks)
        held = self.opened.get(self.file(number), partial(self._opened, number))
        offset, length = (EMPTY, EMPTY) if held is None else held[1][place]
        if held is None or offset == EMPTY:
            out.fill(0)
            return
        payload = _read_at(held[0], int(offset), int(length))
        _decode(self.codec, payload, out, self.file(number))

    def read_rows(self, first: int, out: UInt8[np.ndarray, "n h w *c"]) -> None:
        """Fill `out` with the frames from row `first` on; every shard is read in one go."""
        done = 0
        while done < len(out):
            number, place = divmod(first + done, self.chunks)
            count = min(self.chunks - place, len(out) - done)
            self._fill(number, place, out[done : done + count])
            done += count

    def _fill(self, number: int, place: int, out: UInt8[np.ndarray, "n h w *c"]) -> None:
        file, size = self.file(number), 16 * self.chunks + 4
        payload = file.read_bytes() if self._has_file(number) else None
        index = None if payload is None else _checked_index(payload[-size:], chunks=self.chunks, file=file)
        for frame, (offset, length) in zip(out, [] if index is None else index[place:], strict=False):
            if offset == EMPTY:
                frame.fill(0)
            else:
                assert payload is not None
                _decode(self.codec, payload[int(offset) : int(offset) + int(length)], frame, file)
        if index is None:  # a shard of fill values has no file
            out.fill(0)

    def _opened(self, number: int, file: Path) -> _Held | None:
        if not self._has_file(number):
            return None
        stream: FileIO | ObjectFile = file.open("rb", buffering=0)
        size = 16 * self.chunks + 4
        end = max(stream.seek(0, os.SEEK_END) - size, 0)
        return stream, _checked_index(_read_at(stream, end, size), chunks=self.chunks, file=file)
