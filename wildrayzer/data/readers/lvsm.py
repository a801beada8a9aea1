"""LVSM-style processed folders; D-RE10K and its iPhone pairs have the same layout.

`full_list.txt` names one JSON a scene; the JSON names image files and cameras. Masks lie in
`binary_masks/SCENE/00000.npy` (1 = transient), clean twins are named by `gt_image_path`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from wildrayzer.data.readers.base import (
    BadSceneError,
    Fit,
    Scene,
    camera_to_world,
    check_intrinsics,
    check_matrices,
    file_stamp,
    naming_paths,
)
from wildrayzer.data.readers.masks import read_masks
from wildrayzer.data.readers.pixels import decode_file
from wildrayzer.io.files import read_json

logger = logging.getLogger(__name__)


class LvsmReader:
    """Reads the folder of one split. Without full_list.txt the scenes are those of `metadata/`, and a note says so.

    Cameras and clean twins are there for all scenes or for none: the first scene that can be read decides.

    Raises:
        ValueError: there is neither a list nor a scene file, or the list is empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = folder.resolve()
        self.notes: list[str] = []
        self.rejected: dict[str, BadSceneError] = {}
        self._files: dict[str, str] = {}
        for number, line in enumerate(self._lines(), start=1):
            name = Path(line).stem
            if name in self._files:
                again = BadSceneError("scene name is there twice", f"{line} after {self._files[name]}, which is used")
                self.rejected[f"{name} (line {number})"] = again
            else:
                self._files[name] = line
        self.names = list(self._files)
        self.has_masks = (folder / "binary_masks").is_dir()
        first = self._first_readable()
        self.has_clean = any("gt_image_path" in frame for frame in first)
        self.has_cameras = not first or any("w2c" in frame or "transform_matrix" in frame for frame in first)
        if not self.has_cameras:
            self.notes.append("there are no cameras; training and masks need none")

    def _lines(self) -> list[str]:
        listing = self.folder / "full_list.txt"
        if listing.is_file():
            try:
                lines = [line.strip() for line in listing.read_text().splitlines() if line.strip()]
            except UnicodeDecodeError as error:
                raise ValueError(f"{listing} is no text ({error}); download or process the split again") from None
            if not lines:
                raise ValueError(f"{listing} names no scenes; download or process the split again")
            return lines
        found = sorted(f"metadata/{file.name}" for file in (self.folder / "metadata").glob("*.json"))
        if not found:
            raise ValueError(
                f"{self.folder} has neither full_list.txt nor metadata/*.json; set the split's `path` to the folder "
                "that holds them"
            )
        self.notes.append("full_list.txt is missing; scenes are those of metadata/")
        logger.warning("%s: %s", self.folder, self.notes[-1])
        return found

    def _first_readable(self) -> list[dict[str, Any]]:
        for name in self.names:
            try:
                frames = self._document(name)
            except BadSceneError:
                continue  # counted when it is read
            if frames:
                return frames
        return []

    def group(self, name: str) -> str:
        """Every scene has files of its own."""
        return name

    def about_frames(self, name: str) -> int:
        """Frames that the scene's JSON file lists."""
        try:
            return len(self._document(name))
        except BadSceneError:
            return 0

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and time of change of the scene's JSON file."""
        try:
            return file_stamp(self._json_file(name))
        except BadSceneError:
            return (0, 0)

    def unlisted(self, names: Sequence[str]) -> list[str]:
        """None: lists of parts of a folder are common in this layout."""
        return []

    def _inside(self, path: Path) -> Path:
        """The path with links followed, which must end in the data folder: the files come from strangers."""
        resolved = path.resolve()
        if not resolved.is_relative_to(self._root):
            raise BadSceneError("path leaves the data folder", f"{path} is {resolved}, outside {self._root}")
        return resolved

    def _json_file(self, name: str) -> Path:
        # Lists of processed sets hold absolute paths of the machine that made them: the name is what counts.
        line = Path(self._files[name])
        direct = self.folder / line
        with naming_paths(line):
            path = direct if not line.is_absolute() and direct.is_file() else self.folder / "metadata" / line.name
            return self._inside(path)

    def _document(self, name: str) -> list[dict[str, Any]]:
        path = self._json_file(name)
        try:
            document = read_json(path)
            frames = document["frames"]
        except FileNotFoundError:
            raise BadSceneError("scene file is missing", str(path)) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadSceneError("scene file cannot be read", f"{path}: {error}") from None
        if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
            raise BadSceneError("scene file cannot be read", f"{path}: `frames` is no list of frames")
        return frames

    def _image_file(self, value: str, json_file: Path) -> Path:
        # Beside the JSON file (D-RE10K), below the split's folder, or written with the folders of the machine that
        # processed the set: then the last parts of the path count (images/SCENE/00000.png).
        given = Path(value)
        tails = [self.folder.joinpath(*given.parts[-count:]) for count in (3, 2)]
        with naming_paths(given):
            for path in (json_file.parent / given, self.folder / given, *tails):
                resolved = path.resolve()
                if resolved.is_relative_to(self._root) and resolved.is_file():
                    return resolved
            return self._inside(json_file.parent / given)

    def _image(self, value: str, json_file: Path) -> Image.Image:
        path = self._image_file(value, json_file)
        if not path.is_file():
            raise BadSceneError("image is missing", str(path))
        return decode_file(path)

    def _cameras(
        self, frames: list[dict[str, Any]], sizes: list[tuple[int, int]], where: str
    ) -> tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 4"]]:
        try:
            pixels = np.array([frame["fxfycxcy"] for frame in frames], np.float64)
            if all("w2c" in frame for frame in frames):
                w2c = np.array([frame["w2c"] for frame in frames], np.float64)
                c2w = None
            else:
                c2w = np.array([frame["transform_matrix"] for frame in frames], np.float64)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadSceneError("camera is missing or malformed", f"{where}: {error!r}") from None
        matrices = w2c if c2w is None else c2w
        if pixels.shape != (len(frames), 4) or matrices.shape != (len(frames), 4, 4):
            raise BadSceneError("camera is missing or malformed", f"{where}: {pixels.shape}, {matrices.shape}")
        check_intrinsics(pixels, where=where)
        check_matrices(matrices, where=where)
        scale = np.array([[width, height, width, height] for width, height in sizes])
        return (camera_to_world(w2c, where=where) if c2w is None else c2w), pixels / scale

    def read(self, name: str, *, image_size: int) -> Scene:
        """Decode one scene; raises BadSceneError when it cannot be used."""
        json_file = self._json_file(name)
        documents = self._document(name)
        if not documents:
            raise BadSceneError("too few frames", f"{json_file}: none")
        try:
            return self._decode(name, documents, json_file, image_size=image_size)
        except BadSceneError as error:
            error.frames = len(documents)
            raise

    def _decode(self, name: str, documents: list[dict[str, Any]], json_file: Path, *, image_size: int) -> Scene:
        shape = (len(documents), image_size, image_size, 3)
        frames, clean = np.empty(shape, np.uint8), np.empty(shape, np.uint8) if self.has_clean else None
        sizes: list[tuple[int, int]] = []
        fits: list[Fit] = []
        for number, document in enumerate(documents):
            for key, out in (("image_path", frames), ("gt_image_path", clean)):
                if out is None:
                    continue
                if not isinstance(document.get(key), str):
                    raise BadSceneError("image is missing", f"{json_file}: frame {number} has no {key}")
                image = self._image(document[key], json_file)
                if sizes and image.size != sizes[0]:
                    raise BadSceneError("frames differ in size", f"{json_file}: {image.size} in {number}, {sizes[0]}")
                if key == "image_path":
                    sizes.append(image.size)
                    fits.append(Fit.of(*image.size, image_size))
                out[number] = fits[-1].image(image)
        c2w = intrinsics = None
        if self.has_cameras:
            c2w, pixels = self._cameras(documents, sizes, str(json_file))
            intrinsics = np.stack([fit.intrinsics(row) for fit, row in zip(fits, pixels, strict=True)])
        masks = read_masks(self.folder / "binary_masks", name, sizes, fits, inside=self._inside)
        return Scene(name, frames, c2w, intrinsics, masks, clean, source_size=sizes[0])
