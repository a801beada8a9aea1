"""Parts of a frame store: whole scenes in shards of their own, written by one process; `store_join` joins them."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.codecs import FrameCodec, ZstdFrames, frame_codec
from wildrayzer.data.frame_store.shards import shard_file, write_shard
from wildrayzer.images import UNKNOWN
from wildrayzer.io.files import write_json


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
        """What the bytes of a frame are."""
        return "jpeg+crc32c" if self.codec == "jpeg" else self.codec

    def codec_of(self, name: str) -> FrameCodec:
        """Codec of an array."""
        store = self.store
        if name == "masks":
            return ZstdFrames(store.compression)
        return frame_codec(self.codec, level=store.compression, quality=store.jpeg_quality)


class PartWriter:
    """Writes one part into a folder of its own; complete once `finish` has returned."""

    def __init__(self, folder: Path, form: StoreForm) -> None:
        self.folder, self.form = folder, form
        folder.mkdir(parents=True)
        self._codecs = {name: form.codec_of(name) for name in form.shapes}
        self._buffers: dict[str, list[bytes]] = {name: [] for name in form.shapes}
        self._shards = dict.fromkeys(form.shapes, 0)
        self._empty: dict[str, list[int]] = {name: [] for name in form.shapes}
        self._scenes: list[tuple[str, int, str]] = []
        self._c2w: list[np.ndarray] = []
        self._intrinsics: list[np.ndarray] = []

    @property
    def num_frames(self) -> int:
        """Frames added so far."""
        return sum(count for _, count, _ in self._scenes)

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
            ValueError: the frames have another size, or a part that the store holds is missing.
            OSError: the disk is full, among others.
        """
        size = self.form.image_size
        if frames.shape[1:3] != (size, size):
            raise ValueError(f"{self.folder}: scene {name!r} has frames of {frames.shape[1:3]}, not {size} px")
        parts = {"frames": frames}
        if self.form.clean:
            if clean is None:
                raise ValueError(f"{self.folder}: scene {name!r} lacks the clean twins that this store holds")
            parts["clean"] = clean
        if self.form.masks:
            parts["masks"] = np.full(frames.shape[:3], UNKNOWN, np.uint8) if masks is None else masks
        if self.form.cameras:
            if c2w is None or intrinsics is None:
                raise ValueError(f"{self.folder}: scene {name!r} lacks the cameras that this store holds")
            self._c2w.append(c2w.astype(np.float64))
            self._intrinsics.append(intrinsics.astype(np.float64))
        digest = hashlib.sha256()
        for key, part in parts.items():
            codec = self._codecs[key]
            coded = [codec.encode(frame) if frame.any() else b"" for frame in part]
            for content in [part.tobytes()] if codec.lossless else coded:
                digest.update(content)
            self._buffers[key] += coded
        self._scenes.append((name, len(frames), digest.hexdigest()[:16]))
        self._flush(finish=False)

    def _flush(self, *, finish: bool) -> None:
        shard = self.form.store.frames_per_shard
        for key, buffer in self._buffers.items():
            while len(buffer) >= shard or (finish and buffer):
                file = shard_file(self.folder / key, self._shards[key], len(self.form.shapes[key]) + 1)
                if not write_shard(file, buffer[:shard], chunks=shard):
                    self._empty[key].append(self._shards[key])
                self._shards[key] += 1
                del buffer[:shard]

    def finish(self, facts: Any = None) -> None:
        """Write what is left; `part.json`, with `facts` of the caller's, comes last."""
        self._flush(finish=True)
        if self.form.cameras:
            c2w = np.concatenate(self._c2w) if self._c2w else np.zeros((0, 4, 4))
            intrinsics = np.concatenate(self._intrinsics) if self._intrinsics else np.zeros((0, 4))
            _save(self.folder / "c2w.npy", c2w)
            _save(self.folder / "intrinsics.npy", intrinsics)
        write_json(self.folder / "part.json", {"scenes": self._scenes, "empty": self._empty, "facts": facts})


def _save(file: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()  # NumPy's own writing to a file says nothing of why it failed
    np.save(buffer, array)
    file.write_bytes(buffer.getvalue())
