"""Writing a frame store; `store` describes what is in it."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float, UInt8
from zarr.codecs import ZstdCodec

from wildrayzer.config.data import StoreConfig
from wildrayzer.data.shards import shard_file, write_shard

logger = logging.getLogger(__name__)

SCHEMA = 1
"""Version of the store's layout."""
UNKNOWN = 255
"""Mask value of pixels without truth."""


def unfinished(path: Path) -> Path:
    """Where a store lies until it is complete."""
    return path.with_name(f".{path.name}.unfinished")


class FrameStoreWriter:
    """Writes a store scene by scene; use it as a context manager.

    The store appears under its name when the block ends well; until then it lies beside it as `.NAME.unfinished`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image_size: int,
        store: StoreConfig,
        attributes: dict[str, Any] | None = None,
        cameras: bool = True,
        masks: bool = False,
        clean: bool = False,
    ) -> None:
        self.path = Path(path)
        self._temporary = unfinished(self.path)
        if self._temporary.exists():
            logger.warning("%s is left from a run that was stopped; it is made anew", self._temporary)
            shutil.rmtree(self._temporary)
        self._temporary.parent.mkdir(parents=True, exist_ok=True)
        self._group = zarr.open_group(self._temporary, mode="w", zarr_format=3)
        self._store, self._attributes = store, dict(attributes or {})
        self._size = image_size
        self._scenes: dict[str, None] = {}
        self._offsets = [0]
        self._hash = hashlib.sha256()
        shapes: dict[str, tuple[int, ...]] = {"frames": (image_size, image_size, 3)}
        if clean:
            shapes["clean"] = (image_size, image_size, 3)
        if masks:
            shapes["masks"] = (image_size, image_size)
        self._arrays = {name: self._create(name, shape) for name, shape in shapes.items()}
        self._buffers: dict[str, list[np.ndarray]] = {name: [] for name in shapes}
        self._shards = dict.fromkeys(shapes, 0)
        self._c2w: list[np.ndarray] | None = [] if cameras else None
        self._intrinsics: list[np.ndarray] = []

    @property
    def num_frames(self) -> int:
        """Frames added so far."""
        return self._offsets[-1]

    def _create(self, name: str, shape: tuple[int, ...]) -> zarr.Array:
        return self._group.create_array(
            name,
            shape=(0, *shape),
            chunks=(1, *shape),
            shards=(self._store.frames_per_shard, *shape),
            dtype=np.uint8,
            compressors=ZstdCodec(level=self._store.compression),
            fill_value=0,
        )

    def add_scene(
        self,
        name: str,
        frames: UInt8[np.ndarray, "n h w 3"],
        *,
        c2w: Float[np.ndarray, "n 4 4"] | None = None,
        intrinsics: Float[np.ndarray, "n 4"] | None = None,
        masks: UInt8[np.ndarray, "n h w"] | None = None,
        clean: UInt8[np.ndarray, "n h w 3"] | None = None,
    ) -> None:
        """Append a scene; unknown masks become 255.

        Raises:
            ValueError: the name is taken, the frames have another size, or a part that the store holds is missing.
        """
        if name in self._scenes:
            raise ValueError(f"{self.path}: scene {name!r} is there twice; give every scene its own name")
        if frames.shape[1:3] != (self._size, self._size):
            raise ValueError(f"{self.path}: scene {name!r} has frames of {frames.shape[1:3]}, not {self._size} px")
        parts = {"frames": frames}
        if "clean" in self._arrays:
            if clean is None:
                raise ValueError(f"{self.path}: scene {name!r} lacks the clean twins that this store holds")
            parts["clean"] = clean
        if "masks" in self._arrays:
            parts["masks"] = np.full(frames.shape[:3], UNKNOWN, np.uint8) if masks is None else masks
        if self._c2w is not None:
            if c2w is None or intrinsics is None:
                raise ValueError(f"{self.path}: scene {name!r} lacks the cameras that this store holds")
            self._c2w.append(c2w.astype(np.float64))
            self._intrinsics.append(intrinsics.astype(np.float64))
        self._hash.update(json.dumps([name, len(frames)]).encode())
        for key, part in parts.items():
            self._hash.update(part.tobytes())
            self._buffers[key].append(part)
        self._scenes[name] = None
        self._offsets.append(self._offsets[-1] + len(frames))
        self._flush(finish=False)

    def _flush(self, *, finish: bool) -> None:
        shard = self._store.frames_per_shard
        for key, buffer in self._buffers.items():
            held = sum(map(len, buffer))
            count = held if finish else held // shard * shard
            if not count:
                continue
            block = np.concatenate(buffer)
            array = self._arrays[key]
            for start in range(0, count, shard):
                file = shard_file(self._temporary / key, self._shards[key], array.ndim)
                write_shard(file, block[start : min(start + shard, count)], chunks=shard, level=self._store.compression)
                self._shards[key] += 1
            buffer[:] = [block[count:]] if count < held else []

    def _finish(self) -> None:
        self._flush(finish=True)
        for array in self._arrays.values():
            array.resize((self._offsets[-1], *array.shape[1:]))
        self._group.create_array("offsets", data=np.asarray(self._offsets, np.int64))
        if self._c2w is not None:
            c2w = np.concatenate(self._c2w) if self._c2w else np.zeros((0, 4, 4))
            intrinsics = np.concatenate(self._intrinsics) if self._intrinsics else np.zeros((0, 4))
            for key, part in (("c2w", c2w), ("intrinsics", intrinsics)):
                self._hash.update(part.tobytes())
                self._group.create_array(key, data=part)
        self._hash.update(json.dumps(self._attributes, sort_keys=True).encode())
        self._group.attrs.put(
            {
                "schema": SCHEMA,
                "image_size": self._size,
                "scenes": list(self._scenes),
                "attributes": self._attributes,
                "digest": self._hash.hexdigest()[:16],
            }
        )
        if self.path.exists():
            shutil.rmtree(self.path)
        self._temporary.replace(self.path)

    def __enter__(self) -> "FrameStoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        else:
            shutil.rmtree(self._temporary, ignore_errors=True)
