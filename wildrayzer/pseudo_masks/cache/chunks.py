"""Read single frames of a cache group's arrays quickly.

Zarr takes 1 to 2 ms for a chunk of a shard, most of it in its own machinery. A shard is a plain file, though (see
`data.shards`): what is needed of it is its index, read once, and one chunk, whose Blosc header says how it is coded.
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
    """Frames of one array, as `CacheWriter` writes it: Blosc chunks, with their checksums, in shards along the frames.

    Args:
        array: the array.
        folder: where its metadata lies.
    """

    def __init__(self, array: zarr.Array, folder: Path) -> None:
        assert array.shards is not None  # as the writer makes them
        self._folder, self._ndim = folder, array.ndim
        self._chunk, self._per_shard = array.chunks[0], array.shards[0]
        self._rest, self._dtype, self._fill = array.shape[1:], array.dtype, array.fill_value
        self._checked = any(isinstance(codec, Crc32cCodec) for codec in array.compressors)
        self._indices: dict[int, UInt64[np.ndarray, "n 2"]] = {}

    def frame(self, number: int) -> np.ndarray:
        """One frame by its index, which is in range; a new array.

        Raises:
            ValueError, RuntimeError: the index or the chunk is damaged.
        """
        shard, place = divmod(number, self._per_shard)
        chunk, row = divmod(place, self._chunk)
        offset, length = self._index(shard)[chunk]
        if offset == EMPTY:
            return np.full(self._rest, self._fill, self._dtype)
        with self._file(shard).open("rb", buffering=0) as stream:
            stream.seek(int(offset))
            coded = stream.read(int(length))
        if self._checked:
            coded = CRC32C(location="end").decode(coded)
        values = np.frombuffer(blosc.decompress(coded), self._dtype)
        return np.array(values.reshape(self._chunk, *self._rest)[row])

    def _file(self, shard: int) -> Path:
        return shard_file(self._folder, shard, self._ndim)

    def _index(self, shard: int) -> UInt64[np.ndarray, "n 2"]:
        if shard not in self._indices:
            chunks = self._per_shard // self._chunk
            size = 16 * chunks + 4
            with self._file(shard).open("rb") as stream:
                stream.seek(-size, 2)
                index = CRC32C(location="end").decode(stream.read())
            self._indices[shard] = np.frombuffer(index, "<u8").reshape(chunks, 2)
        return self._indices[shard]
