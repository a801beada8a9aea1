"""Reads single frames of a cache group's arrays quickly.

Zarr takes 1 to 2 ms for a chunk of a shard, most of it overhead. A shard is a plain file, though (see
`wildrayzer.data.frame_store.shards`): its index at the end, read once, gives the place of each chunk, and the Blosc
header of a chunk says how it is compressed.
"""

from pathlib import Path

import numpy as np
import zarr
from jaxtyping import UInt64
from numcodecs import blosc  # type: ignore[import-untyped]
from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]
from zarr.codecs import Crc32cCodec

from wildrayzer.data.frame_store.shards import EMPTY, shard_file


class ChunkReader:
    """Frames of one array of a `CacheWriter`: Blosc chunks with checksums, in shards along the frames.

    Args:
        array: the array.
        folder: the array's folder.
    """

    def __init__(self, array: zarr.Array, folder: Path) -> None:
        assert array.shards is not None, "CacheWriter writes shards"
        self._folder, self._ndim = folder, array.ndim
        self._chunk, self._per_shard = array.chunks[0], array.shards[0]
        self._rest, self._dtype, self._fill = array.shape[1:], array.dtype, array.fill_value
        self._checked = any(isinstance(codec, Crc32cCodec) for codec in array.compressors)
        self._indices: dict[int, UInt64[np.ndarray, "n 2"]] = {}

    def frame(self, number: int) -> np.ndarray:
        """One frame by its index, which must be in range; a new array.

        Raises:
            ValueError, RuntimeError: the index or the chunk is damaged.
        """
        # From the frame to its shard, to the chunk in the shard, to the row in the chunk.
        shard, in_shard = divmod(number, self._per_shard)
        chunk, row = divmod(in_shard, self._chunk)
        offset, length = self._index(shard)[chunk]
        if offset == EMPTY:
            return np.full(self._rest, self._fill, self._dtype)
        # Unbuffered: a buffer would read more than the one chunk.
        with self._file(shard).open("rb", buffering=0) as stream:
            stream.seek(int(offset))
            compressed = stream.read(int(length))
        # Codecs in reverse order of writing: the checksum is compared and cut off, then Blosc decompresses.
        if self._checked:
            compressed = CRC32C(location="end").decode(compressed)
        values = np.frombuffer(blosc.decompress(compressed), self._dtype)
        # A copy of the one row, so that the rest of the chunk is freed.
        return np.array(values.reshape(self._chunk, *self._rest)[row])

    def _file(self, shard: int) -> Path:
        return shard_file(self._folder, shard, self._ndim)

    def _index(self, shard: int) -> UInt64[np.ndarray, "n 2"]:
        """Offset and length of each chunk in a shard, from the shard's end: two uint64 per chunk and a CRC32C."""
        if shard not in self._indices:
            chunks = self._per_shard // self._chunk
            size = 16 * chunks + 4
            with self._file(shard).open("rb") as stream:
                stream.seek(-size, 2)
                index = CRC32C(location="end").decode(stream.read())
            self._indices[shard] = np.frombuffer(index, "<u8").reshape(chunks, 2)
        return self._indices[shard]
