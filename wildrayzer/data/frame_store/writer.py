"""Writing a frame store scene by scene: `store` describes what is in it."""

import errno
import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import zarr
from jaxtyping import Float, UInt8
from zarr.codecs import ZstdCodec

from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.codecs import FrameCodec, ZstdFrames, frame_codec
from wildrayzer.data.frame_store.shards import shard_file, write_shard
from wildrayzer.images import UNKNOWN
from wildrayzer.io.metadata_checksum import put_attributes
from wildrayzer.io.outputs import private_folder, put_in_place, remove_leftovers

logger = logging.getLogger(__name__)

SCHEMA = 2
"""Version of the store's layout. 1: no `rows`, every scene starts where the one before ends."""
CAMERA_ROWS = 8192
"""Frames in a chunk of the camera arrays."""
_SMALL: dict[str, Any] = {"compressors": ZstdCodec(checksum=True), "config": {"write_empty_chunks": True}}
"""Of the arrays without shards: a flipped bit is an error, and a chunk without a file was lost."""


@dataclass(frozen=True)
class StoreForm:
    """What a store holds, and how."""

    image_size: int
    store: StoreConfig
    cameras: bool = True
    masks: bool = False
    clean: bool = False
    codec: Literal["zstd", "jpeg"] = "zstd"
    """Of frames and clean twins; masks are always without loss."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one frame in every array that is sharded by frames."""
        size = self.image_size
        shapes: dict[str, tuple[int, ...]] = {"frames": (size, size, 3)}
        if self.clean:
            shapes["clean"] = (size, size, 3)
        if self.masks:
            shapes["masks"] = (size, size)
        return shapes

    @property
    def coding(self) -> str:
        """What decides the pixels that a coded frame stands for."""
        return self.codec_of("frames").coding

    @property
    def arrays(self) -> tuple[str, ...]:
        """What is known of every frame, as a manifest lists it."""
        return (*self.shapes, *(["cameras"] if self.cameras else []))

    def codec_of(self, name: str) -> FrameCodec:
        """Codec of an array."""
        store = self.store
        if name == "masks":
            return ZstdFrames(store.compression)
        return frame_codec(self.codec, level=store.compression, quality=store.jpeg_quality)


class FrameStoreWriter:
    """Writes a store scene by scene; use it as a context manager.

    The store appears under its name when the block ends well; until then it lies beside it under a name that no other
    process uses. Two writers of the same store do not harm each other.

    Args:
        path: where the store goes. Of two writers, the last one to finish wins.
        form: what the store holds.
        attributes: of the store, as JSON.
        keyed: `path` is a folder of parts. The store goes to `KEY.zarr` in it, where KEY is the digest of its content;
            if that exists, it stays. A store without scenes does not appear.

    After the block, `path` is the store and `digest` identifies its content.
    """

    def __init__(
        self, path: str | Path, form: StoreForm, attributes: dict[str, Any] | None = None, *, keyed: bool = False
    ) -> None:
        self.path, self.form, self.digest = Path(path), form, ""
        self._attributes, self._keyed = dict(attributes or {}), keyed
        for folder in remove_leftovers(self._beside, "unfinished"):
            logger.warning("%s was left by a process that was stopped; removed", folder)
        self._temporary = private_folder(self._beside, "unfinished")
        self._codecs = {key: form.codec_of(key) for key in form.shapes}
        self._buffers: dict[str, list[bytes]] = {key: [] for key in form.shapes}
        self._shards = dict.fromkeys(form.shapes, 0)
        self._empty: dict[str, list[int]] = {key: [] for key in form.shapes}
        self._lengths: dict[str, int] = {}
        self._content = hashlib.sha256()
        self._cameras: dict[str, list[np.ndarray]] = {"c2w": [], "intrinsics": []}

    @property
    def _beside(self) -> Path:
        """What the temporary folder lies beside."""
        return self.path / "part" if self._keyed else self.path

    @property
    def _made(self) -> Path:
        return self._temporary / "store"

    @property
    def num_frames(self) -> int:
        """Frames added so far."""
        return sum(self._lengths.values())

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
            ValueError: the name is taken, the frames have another size, or an array that the store holds is missing.
            OSError: the disk is full, among others.
        """
        size = self.form.image_size
        if name in self._lengths:
            raise ValueError(f"{self.path}: scene {name!r} is there twice; give every scene its own name")
        if frames.shape[1:3] != (size, size):
            raise ValueError(f"{self.path}: scene {name!r} has frames of {frames.shape[1:3]}, not {size} px")
        arrays = {"frames": frames}
        if self.form.clean:
            if clean is None:
                raise ValueError(f"{self.path}: scene {name!r} lacks the clean twins that this store holds")
            arrays["clean"] = clean
        if self.form.masks:
            arrays["masks"] = np.full(frames.shape[:3], UNKNOWN, np.uint8) if masks is None else masks
        if self.form.cameras:
            if c2w is None or intrinsics is None:
                raise ValueError(f"{self.path}: scene {name!r} lacks the cameras that this store holds")
            self._cameras["c2w"].append(c2w.astype(np.float64))
            self._cameras["intrinsics"].append(intrinsics.astype(np.float64))
        self._lengths[name] = len(frames)
        self._content.update(json.dumps([name, len(frames), self._encode(arrays)]).encode())
        self._flush(finish=False)

    def _encode(self, arrays: dict[str, np.ndarray]) -> str:
        """Put the coded frames of a scene into the buffers; gives the digest of what they decode to."""
        digest = hashlib.sha256()
        for key, array in arrays.items():
            codec = self._codecs[key]
            coded = [codec.encode(frame) if frame.any() else b"" for frame in array]
            for content in [array.tobytes()] if codec.lossless else coded:
                digest.update(content)
            self._buffers[key] += coded
        return digest.hexdigest()[:16]

    def _flush(self, *, finish: bool) -> None:
        shard = self.form.store.frames_per_shard
        for key, buffer in self._buffers.items():
            while len(buffer) >= shard or (finish and buffer):
                file = shard_file(self._made / key, self._shards[key], len(self.form.shapes[key]) + 1)
                if not write_shard(file, buffer[:shard], chunks=shard):
                    self._empty[key].append(self._shards[key])
                self._shards[key] += 1
                del buffer[:shard]

    def __enter__(self) -> "FrameStoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and (self._lengths or not self._keyed):
                self._finish()
                self._put()
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _finish(self) -> None:
        """Write what is left; the attributes, which complete the store, come last."""
        self._flush(finish=True)
        form, frames = self.form, self.num_frames
        # not `zarr.open_group(mode="w")`, which would remove the shards
        group = zarr.create_group(self._made, zarr_format=3)
        for key, shape in form.shapes.items():
            group.create_array(
                key, shape=(frames, *shape), chunks=(1, *shape), shards=(form.store.frames_per_shard, *shape),
                dtype=np.uint8, fill_value=0, **form.codec_of(key).zarr_options(),
            )  # fmt: skip
        offsets = np.asarray([0, *accumulate(self._lengths.values())], np.int64)
        group.create_array("offsets", data=offsets, **_SMALL)
        group.create_array("rows", data=offsets[:-1], **_SMALL)
        for key, shape in (("c2w", (4, 4)), ("intrinsics", (4,))) if form.cameras else ():
            chunk = max(1, min(CAMERA_ROWS, frames))
            array = group.create_array(key, shape=(frames, *shape), chunks=(chunk, *shape), dtype=np.float64, **_SMALL)
            content = np.concatenate([np.zeros((0, *shape)), *self._cameras[key]])
            array[:] = content
            self._content.update(content.tobytes())
        self._content.update(json.dumps(self._attributes, sort_keys=True).encode())
        self.digest = self._content.hexdigest()[:16]
        about: dict[str, Any] = {
            "schema": SCHEMA, "image_size": form.image_size, "scenes": list(self._lengths),
            "attributes": self._attributes, "empty_shards": self._empty, "digest": self.digest,
        }  # fmt: skip
        put_attributes(group, self._made, about)

    def _put(self) -> None:
        if not self._keyed:
            put_in_place(self._made, self.path)
            return
        self.path /= f"{self.digest}.zarr"
        try:
            self._made.rename(self.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            logger.info("%s is there already, with the same content", self.path)
