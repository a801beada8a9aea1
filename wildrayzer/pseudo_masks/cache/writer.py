"""Writes groups of the pseudo-mask cache: whole shards, under a temporary name until a group is complete."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from jaxtyping import Int
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec, ZstdCodec

from wildrayzer.io.digests import digest_json
from wildrayzer.io.metadata_checksum import put_attributes
from wildrayzer.io.outputs import private_folder, put_in_place, remove_leftovers
from wildrayzer.io.provenance import code_versions
from wildrayzer.pseudo_masks.cache.arrays import SCHEMA, ArraySpec, arrays_of
from wildrayzer.pseudo_masks.cache.part import CachePart


def part_key(kind: str, digests: Mapping[str, str]) -> str:
    """Digest of a group of this kind that is made from what has these digests."""
    return digest_json([kind, dict(digests)])


class CacheWriter:
    """Writes a group frame by frame, in order; use it as a context manager.

    Frames are written as whole shards: no shard is written twice, and memory holds only one. The group appears under
    its name when the block ends without an error; until then it lies beside it under a name that no other process uses.
    Two writers of the same group do not harm each other: that of the first one stays, since it may be read already.

    Args:
        path: folder of the group.
        kind: kind of group, a key of `ARRAYS`.
        frames: number of frames that will be appended.
        sizes: lengths of the dimensions after `frame`, by name.
        digests: of everything that the content is made from, by name.
        scenes: names of the part's scenes.
        offsets: bounds of the scenes in frames.
        about: further attributes, for people and tables.
    """

    def __init__(
        self,
        path: str | Path,
        kind: str,
        *,
        frames: int,
        sizes: Mapping[str, int],
        digests: Mapping[str, str],
        scenes: list[str],
        offsets: Int[np.ndarray, " s"],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self._kind = Path(path), kind
        remove_leftovers(self.path, "unfinished")
        self._temporary = private_folder(self.path, "unfinished")
        self._frames, self._next = frames, 0
        self.summary: dict[str, Any] = {}
        """Counts to record in the group's attributes, for summaries of the split; fill it inside the block."""
        self._group = zarr.open_group(self._temporary, mode="w", zarr_format=3)
        self._attributes: dict[str, Any] = {
            "schema": SCHEMA,
            "layout": kind,
            "frames": frames,
            "sizes": dict(sizes),
            "digests": dict(digests),
            "digest": part_key(kind, digests),
            "scenes": scenes,
            "lengths": np.diff(offsets).tolist(),
            "about": dict(about or {}),
            "versions": dict(code_versions()),
        }
        self._specs = arrays_of(kind)
        self._arrays = {name: _create(self._group, spec, frames, sizes) for name, spec in self._specs.items()}
        self._held: dict[str, list[np.ndarray]] = {name: [] for name in self._arrays}
        self._written = dict.fromkeys(self._arrays, 0)
        self._group.create_array(
            "offsets",
            data=offsets.astype(np.int64),
            compressors=ZstdCodec(checksum=True),
            dimension_names=["scene_bound"],
        )

    def append(self, **blocks: np.ndarray) -> None:
        """Append the next frames of every array, by name; statistics may be left out."""
        needed = {name for name, spec in self._specs.items() if spec.since == 1}
        assert needed <= blocks.keys() <= self._specs.keys(), f"give {sorted(needed)}"
        lengths = {len(block) for block in blocks.values()}
        assert len(lengths) == 1, f"blocks of several lengths: {sorted(lengths)}"
        count = lengths.pop()
        self._next += count
        assert self._next <= self._frames, "more frames than announced"
        for name in self._specs.keys() - blocks.keys():
            spec = self._specs[name]
            derived = spec.derive(blocks) if spec.derive else np.full(count, spec.fill)
            blocks[name] = derived.astype(spec.dtype)
        for name, block in blocks.items():
            self._held[name].append(block)
            self._flush(name, finish=False)

    def _flush(self, name: str, *, finish: bool) -> None:
        shard, held = self._specs[name].shard, sum(map(len, self._held[name]))
        count = held if finish else held // shard * shard
        if not count:
            return
        # All that is held becomes one block; what exceeds whole shards is held for the next time.
        block = np.concatenate(self._held[name])
        self._held[name] = [block[count:]]
        start = self._written[name]
        self._arrays[name][start : start + count] = block[:count]
        self._written[name] = start + count

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            return
        assert self._next == self._frames, f"{self._next} frames written, {self._frames} announced"
        for name in self._arrays:
            self._flush(name, finish=True)
        files = {
            str(file.relative_to(self._temporary)): file.stat().st_size
            for file in sorted(self._temporary.rglob("*"))
            if file.is_file() and file.name != "zarr.json"
        }
        put_attributes(self._group, self._temporary, {**self._attributes, "summary": self.summary, "files": files})
        if self._is_made():
            shutil.rmtree(self._temporary)
        else:
            put_in_place(self._temporary, self.path)

    def _is_made(self) -> bool:
        """Whether another process has finished the same group meanwhile."""
        try:
            return CachePart(self.path, self._kind, fix="").key == self._attributes["digest"]
        except ValueError:  # missing or damaged
            return False


def _create(group: zarr.Group, spec: ArraySpec, frames: int, sizes: Mapping[str, int]) -> zarr.Array:
    rest = tuple(sizes[dimension] for dimension in spec.dimensions)
    shuffle = BloscShuffle.bitshuffle if spec.dtype == "uint8" else BloscShuffle.shuffle
    itemsize = np.dtype(spec.dtype).itemsize
    return group.create_array(
        spec.name,
        shape=(frames, *rest),
        dtype=spec.dtype,
        chunks=(spec.chunk, *rest),
        shards=(spec.shard, *rest),
        # The checksum of a chunk is compared at each read: a flipped bit is an error, not another mask.
        compressors=[BloscCodec(typesize=itemsize, cname="zstd", clevel=7, shuffle=shuffle), Crc32cCodec()],
        fill_value=spec.fill,
        dimension_names=["frame", *spec.dimensions],
        # Chunks of fill values are written too, so that a missing file is a lost file.
        config={"write_empty_chunks": True},
    )
