"""Reads the arrays of a cache group quickly, without Zarr.

Zarr takes several milliseconds to open an array and 1 to 2 ms for a chunk of a shard, most of it overhead; a split has
thousands of arrays. A shard is a plain file, though (see `wildrayzer.data.frame_store.shards`): its index at the end,
read once, gives the place of each chunk, and the Blosc header of a chunk says how it is compressed.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt64
from numcodecs import blosc  # type: ignore[import-untyped]
from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

from wildrayzer.data.frame_store.shards import EMPTY, shard_file
from wildrayzer.io.files import read_json


class ChunkReader:
    """Frames of one array of a `CacheWriter`: Blosc chunks, with checksums, in shards along the frames.

    Args:
        folder: the array's folder.

    Raises:
        ValueError: its metadata are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        metadata = read_json(folder / "zarr.json")
        try:
            sharding = metadata["codecs"][0]["configuration"]
            self._per_shard = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
            self._chunk = int(sharding["chunk_shape"][0])
            self._frames, *rest = metadata["shape"]
            self._dtype = np.dtype(metadata["data_type"])
            self._fill = self._dtype.type(metadata["fill_value"])
            self._checked = any(codec["name"] == "crc32c" for codec in sharding["codecs"])
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"zarr.json lacks {error}") from None
        self._rest = tuple(rest)
        self._indices: dict[int, UInt64[np.ndarray, "n 2"]] = {}

    def frame(self, number: int) -> np.ndarray:
        """One frame by its index, which must be in range; a new array.

        Raises:
            ValueError, RuntimeError: the index or the chunk is damaged.
        """
        chunk, row = divmod(number, self._chunk)
        # A copy of the one row, so that the rest of the chunk is freed.
        return np.array(self._values(chunk)[row])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` (exclusive), which must be in range.

        Raises:
            ValueError, RuntimeError: an index or a chunk is damaged.
        """
        found = np.empty((stop - start, *self._rest), self._dtype)
        for chunk in range(start // self._chunk, -(-stop // self._chunk)):
            first = chunk * self._chunk
            low, high = max(start, first), min(stop, first + self._chunk)
            found[low - start : high - start] = self._values(chunk)[low - first : high - first]
        return found

    def _values(self, chunk: int) -> np.ndarray:
        """All frames of a chunk, counted over the whole array."""
        shard, place = divmod(chunk, self._per_shard // self._chunk)
        offset, length = self._index(shard)[place]
        if offset == EMPTY:
            return np.full((self._chunk, *self._rest), self._fill, self._dtype)
        # Unbuffered: a buffer would read more than the one chunk.
        with self._file(shard).open("rb", buffering=0) as stream:
            stream.seek(int(offset))
            compressed = stream.read(int(length))
        # Codecs in reverse order of writing: the checksum is compared and cut off, then Blosc decompresses.
        if self._checked:
            compressed = CRC32C(location="end").decode(compressed)
        return np.frombuffer(blosc.decompress(compressed), self._dtype).reshape(self._chunk, *self._rest)

    def _file(self, shard: int) -> Path:
        return shard_file(self._folder, shard, 1 + len(self._rest))

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
