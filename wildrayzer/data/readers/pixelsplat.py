"""pixelSplat-style chunks: RE10K and DL3DV as lists of scenes in `.torch` files, with `index.json` (key → file)."""

import logging
import pickle
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.progress import track

from wildrayzer.data.readers.base import (
    BadSceneError,
    Fit,
    Scene,
    camera_to_world,
    check_intrinsics,
    check_name,
    check_normalised,
    file_stamp,
)
from wildrayzer.data.readers.pixels import decode, stated_size
from wildrayzer.io.damaged_files import damaged_member, is_zip, placeholder_in
from wildrayzer.io.files import read_json
from wildrayzer.io.printable import is_file_name

logger = logging.getLogger(__name__)

_NO_INDEX = "delete it to have the chunks scanned, or write it again"
_BROKEN = (
    RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, AttributeError, AssertionError, MemoryError,
    OverflowError, RecursionError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What torch.load raises for damaged files."""
_FRAME_BYTES = 32 << 10
"""About what a frame of 640×360 takes as JPEG, for guesses."""


_LEGACY = bytes.fromhex("80028a0a6cfc9c46f920")
"""How files of torch.save of before PyTorch 1.6 begin."""


def load_chunk(file: Path, *, mapped: bool = False) -> dict[str, dict[str, Any] | None]:
    """Scenes of a chunk by key. Tensors and plain containers only: code in the file is refused, not run.

    With `mapped` the bytes of the images stay on disk.

    A key that several scenes of the chunk have maps to None: which of them is meant is not known. What has no key is
    an empty scene under its number.

    Raises:
        BadSceneError: the file is missing, truncated, holds code or is no list of scenes.
    """
    import torch

    if not file.is_file():
        raise BadSceneError("chunk is missing", str(file))
    if not is_zip(file):  # torch's fallback for old files fails in many ways on garbage
        raise BadSceneError("chunk cannot be read", f"{file}: {_what_it_is(file)}")
    try:
        if not mapped and (member := damaged_member(file)):
            raise BadSceneError("chunk is damaged", f"{file}: {member} in it is damaged; fetch it again")
        scenes = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except _BROKEN as error:
        raise BadSceneError("chunk cannot be read", f"{file}: {str(error).partition(chr(10))[0]}") from None
    if not isinstance(scenes, list):
        kind = type(scenes).__name__
        raise BadSceneError("chunk is no list of scenes", f"{file}: holds a {kind}; save a list of scenes, each a dict")
    named = [
        (scene["key"], scene)
        if isinstance(scene, dict) and isinstance(scene.get("key"), str)
        else (f"number {number} of {file.name}, without a key", {})
        for number, scene in enumerate(scenes)
    ]
    count = Counter(key for key, _ in named)
    return {key: scene if count[key] == 1 else None for key, scene in named}


def _what_it_is(file: Path) -> str:
    with file.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(_LEGACY):
        return (
            "in the format of before PyTorch 1.6; rewrite it where it comes from, with a newer PyTorch: "
            "torch.save(torch.load(file), file)"
        )
    return placeholder_in(head) or "no archive of torch.save, or truncated; fetch it again"


class PixelSplatReader:
    """Reads a folder of chunks. Without `index.json` the chunks are scanned once, and a note says so.

    Raises:
        ValueError: there are no chunks, or the index is no map of keys to file names in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.rejected: dict[str, BadSceneError] = {}
        self.has_cameras, self.has_masks, self.has_clean = True, False, False
        self._held: tuple[str, dict[str, Any] | BadSceneError] | None = None
        self._unlisted: dict[str, list[str]] = {}
        index_file = folder / "index.json"
        self._index = self._checked(read_json(index_file, fix=_NO_INDEX)) if index_file.is_file() else self._scan()
        self._scenes_in = Counter(self._index.values())
        self.names = sorted(self._index, key=lambda key: (self._index[key], key))
        if index_file.is_file():
            self._note_chunks_without_index()

    def _checked(self, index: Any) -> dict[str, str]:
        if not isinstance(index, dict) or not all(map(is_file_name, index.values())):
            raise ValueError(f"{self.folder}/index.json must map scene keys to file names in its folder; {_NO_INDEX}")
        if not index:
            raise ValueError(f"{self.folder}/index.json names no scenes; {_NO_INDEX}")
        return index

    def _scan(self) -> dict[str, str]:
        files = sorted(self.folder.glob("*.torch"))
        if not files:
            raise ValueError(f"{self.folder} has neither index.json nor *.torch chunks; set the split's `path`")
        self.notes.append("index.json is missing; scene keys were taken from the chunks")
        logger.warning("%s: %s", self.folder, self.notes[-1])
        index: dict[str, str] = {}
        for file in track(files, description=f"{self.folder.name}: reading chunks for the missing index"):
            try:
                for key in load_chunk(file):
                    self._add(index, key, file.name)
            except BadSceneError as error:
                self.notes.append(f"{error.reason}; its scenes are unknown: {error.detail}")
                index[f"{file.name}: unknown scenes"] = file.name
        return index

    def _add(self, index: dict[str, str], key: str, file: str) -> None:
        if key in index:
            again = BadSceneError("scene name is there twice", f"{key} in {index[key]}, which is used, and in {file}")
            self.rejected[f"{key} ({file})"] = again
        else:
            index[key] = file

    def _note_chunks_without_index(self) -> None:
        known = set(self._index.values())
        unknown = sorted(file.name for file in self.folder.glob("*.torch") if file.name not in known)
        if unknown:
            some = ", ".join(unknown[:3])
            self.notes.append(f"{len(unknown)} chunks are not named in index.json and were not read: {some}")

    def group(self, name: str) -> str:
        """The chunk a scene is in."""
        return self._index[name]

    def about_frames(self, name: str) -> int:
        """The scene's share of its chunk's size, at 32 KiB a frame: nothing is opened."""
        size, _ = file_stamp(self.folder / self._index[name])
        return size // (_FRAME_BYTES * self._scenes_in[self._index[name]])

    def files(self, name: str) -> list[Path]:
        """The scene's chunk."""
        return [(self.folder / self._index[name]).resolve()]

    def unlisted(self, names: Sequence[str]) -> list[str]:
        """Scenes in the chunks of these (read before) that the index does not name."""
        files = sorted({self._index[name] for name in names})
        return [f"{key} ({file})" for file in files for key in self._unlisted.get(file, ())]

    def _load(self, key: str, *, mapped: bool = False) -> dict[str, Any]:
        name = self._index[key]
        check_name(key, where=self.folder / name)
        if self._held is None or self._held[0] != name:  # names are in file order: one load a chunk
            self._held = None  # never two chunks in memory
            try:
                self._held = name, load_chunk(self.folder / name, mapped=mapped)
                self._unlisted[name] = [key for key in self._held[1] if key not in self._index]
            except BadSceneError as error:
                self._held = name, error
        chunk = self._held[1]
        if isinstance(chunk, BadSceneError):
            raise BadSceneError(chunk.reason, chunk.detail)
        if key not in chunk:
            raise BadSceneError("scene is not in its chunk", f"{key} in {name}")
        scene = chunk[key]
        if scene is None:
            raise BadSceneError("scene name is there twice", f"{key} in {name}")
        return scene

    def _cameras(
        self, scene: dict[str, Any], where: str
    ) -> tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 4"]]:
        try:
            rows = np.asarray(scene["cameras"], np.float64)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise BadSceneError("camera is missing or malformed", f"{where}: {error}") from None
        if rows.ndim != 2 or rows.shape[1] != 18:
            raise BadSceneError("cameras have a wrong shape", f"{where}: {rows.shape}, expected [N, 18]")
        check_intrinsics(rows[:, :4], where=where)
        check_normalised(rows[:, :4], where=where, fix="chunks have them normalised: divide pixels by width and height")
        w2c = np.tile(np.eye(4), (len(rows), 1, 1))
        w2c[:, :3] = rows[:, 6:].reshape(-1, 3, 4)
        return camera_to_world(w2c, where=where), rows[:, :4]

    def check(self, name: str) -> int:
        """Frames of a scene that lies in its chunk with cameras for all of them; see `SceneReader.check`."""
        where = f"{self._index[name]}: {name}"
        scene = self._load(name, mapped=True)
        count = _frames_of(scene, where)
        cameras = self._cameras(scene, where)[0]
        if not count or count != len(cameras):
            raise BadSceneError("counts differ", f"{where}: {count} images, {len(cameras)} cameras")
        first = f"{where}, frame 0"
        stated_size(_bytes(scene["images"][0], first), where=first)
        return count

    def read(self, name: str, *, image_size: int) -> Scene:
        """Decode one scene; raises BadSceneError when it cannot be used."""
        where = f"{self._index[name]}: {name}"
        scene = self._load(name)
        count = _frames_of(scene, where)
        try:
            return self._decode(name, scene, where=where, image_size=image_size)
        except BadSceneError as error:
            error.frames = count
            raise

    def _decode(self, name: str, scene: dict[str, Any], *, where: str, image_size: int) -> Scene:
        c2w, intrinsics = self._cameras(scene, where)
        if len(scene["images"]) != len(c2w):
            raise BadSceneError("counts differ", f"{where}: {len(scene['images'])} images, {len(c2w)} cameras")
        frames = np.empty((len(c2w), image_size, image_size, 3), np.uint8)
        size: tuple[int, int] | None = None
        for number, payload in enumerate(scene["images"]):
            image = decode(_bytes(payload, f"{where}, frame {number}"), where=f"{where}, frame {number}")
            if size not in (None, image.size):
                raise BadSceneError("frames differ in size", f"{where}: {image.size} in frame {number}, {size} before")
            size = image.size
            fit = Fit.of(*image.size, image_size)
            frames[number], intrinsics[number] = fit.image(image), fit.intrinsics(intrinsics[number])
        return Scene(name, frames, c2w, intrinsics, source_size=size)


def _frames_of(scene: dict[str, Any], where: str) -> int:
    """Number of images of a scene that has all parts.

    Raises:
        BadSceneError: a part is missing or of a wrong kind.
    """
    for part in ("key", "cameras", "images"):
        if part not in scene:
            raise BadSceneError("scene lacks a part", f"{where}: no {part!r}")
    if not isinstance(scene["images"], list | tuple):
        raise BadSceneError("images are no list", f"{where}: {type(scene['images']).__name__}")
    return len(scene["images"])


def _bytes(payload: Any, where: str) -> bytes:
    try:
        return np.asarray(payload, np.uint8).tobytes()
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadSceneError("image cannot be decoded", f"{where}: no array of bytes: {error}") from None
