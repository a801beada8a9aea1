"""Join the parts of a frame store without copying a frame.

Joining gives shard files another number: a part's frames start at the beginning of a shard, so the last shard of every
part may have empty places, and `rows` says at which row of the arrays a scene starts.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from wildrayzer.data.frame_store.parts import StoreForm
from wildrayzer.data.frame_store.shards import shard_file
from wildrayzer.io.files import read_json
from wildrayzer.io.metadata_checksum import put_attributes

SCHEMA = 2
"""Version of the store's layout. 1: no `rows`, every scene starts where the one before ends."""
CAMERA_ROWS = 8192
"""Frames in a chunk of the camera arrays."""
SMALL: dict[str, Any] = {"compressors": ZstdCodec(checksum=True), "config": {"write_empty_chunks": True}}
"""Of the arrays without shards: a flipped bit is an error, and a chunk without a file was lost."""
_NO_LINK = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.EACCES, errno.ENOSYS}


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)


def _in_blocks(files: Iterable[Path], rows: int) -> Iterator[np.ndarray]:
    """The arrays of many files as blocks of `rows` rows, the last one shorter."""
    held: list[np.ndarray] = []
    for file in files:
        held.append(np.load(file, allow_pickle=False))
        while sum(map(len, held)) >= rows:
            joined = np.concatenate(held)
            yield joined[:rows]
            held = [joined[rows:]]
    if held and sum(map(len, held)):
        yield np.concatenate(held)


@dataclass
class _Scenes:
    """Scenes of all parts, in order."""

    names: dict[str, None] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    shards: int = 0
    end: int = 0
    """Row after the last frame."""

    def add(self, scenes: Sequence[Any], folder: Path, *, per_shard: int) -> Iterator[str]:
        """Add a part; gives a line for the digest of every scene."""
        self.end = self.shards * per_shard
        for name, count, content in scenes:
            if name in self.names:
                raise ValueError(f"{folder}: scene {name!r} is there twice; give every scene its own name")
            self.names[name] = None
            self.lengths.append(count)
            self.rows.append(self.end)
            self.end += count
            yield json.dumps([name, count, content])
        self.shards = -(-self.end // per_shard)


def join_parts(out: Path, folders: Sequence[Path], form: StoreForm, attributes: dict[str, Any]) -> str:
    """Make a store in the folder `out`, which must not exist, from finished parts in their order; gives its digest.

    Shards become hard links of the parts' (copies where the file system has none), so the parts stay as they are.

    Raises:
        ValueError: a scene name is there twice.
        FileNotFoundError: a part is missing.
    """
    group = zarr.open_group(out, mode="w", zarr_format=3)
    shard = form.store.frames_per_shard
    scenes, digest = _Scenes(), hashlib.sha256()
    empty: dict[str, list[int]] = {key: [] for key in form.shapes}
    for folder in folders:
        first, part = scenes.shards, read_json(folder / "part.json")
        for line in scenes.add(part["scenes"], folder, per_shard=shard):
            digest.update(line.encode())
        for key, shape in form.shapes.items():
            empty[key] += [first + number for number in part["empty"][key]]
            for number in set(range(scenes.shards - first)) - set(part["empty"][key]):
                source = shard_file(folder / key, number, len(shape) + 1)
                _link(source, shard_file(out / key, first + number, len(shape) + 1))
    for key, shape in form.shapes.items():
        group.create_array(
            key, shape=(scenes.end, *shape), chunks=(1, *shape), shards=(shard, *shape), dtype=np.uint8, fill_value=0,
            **form.codec_of(key).zarr_options(),
        )  # fmt: skip
    group.create_array("offsets", data=np.cumsum([0, *scenes.lengths], dtype=np.int64), **SMALL)
    group.create_array("rows", data=np.asarray(scenes.rows, np.int64), **SMALL)
    if form.cameras:
        _join_cameras(group, folders, frames=sum(scenes.lengths), digest=digest)
    digest.update(json.dumps(attributes, sort_keys=True).encode())
    made = digest.hexdigest()[:16]
    about: dict[str, Any] = {
        "schema": SCHEMA, "image_size": form.image_size, "scenes": list(scenes.names), "attributes": attributes,
    }  # fmt: skip
    put_attributes(group, out, {**about, "empty_shards": empty, "digest": made})
    return made


def _join_cameras(group: zarr.Group, folders: Sequence[Path], *, frames: int, digest: Any) -> None:
    for key, shape in (("c2w", (4, 4)), ("intrinsics", (4,))):
        chunk = max(1, min(CAMERA_ROWS, frames))
        array = group.create_array(key, shape=(frames, *shape), chunks=(chunk, *shape), dtype=np.float64, **SMALL)
        start = 0
        for block in _in_blocks((folder / f"{key}.npy" for folder in folders), CAMERA_ROWS):
            digest.update(block.tobytes())
            array[start : start + len(block)] = block
            start += len(block)
