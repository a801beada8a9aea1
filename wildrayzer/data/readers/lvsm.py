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

from wildrayzer.data.readers.base import (
    BadSceneError,
    Fit,
    Scene,
    camera_to_world,
    check_intrinsics,
    check_matrices,
    check_name,
    check_normalised,
    naming_paths,
)
from wildrayzer.data.readers.masks import MASKS, mask_files, mask_folder, read_masks
from wildrayzer.data.readers.pixels import decode_file, stated_size
from wildrayzer.io.files import read_json

logger = logging.getLogger(__name__)


def scene_name(line: str) -> str:
    """Name of the scene that a line of `full_list.txt` stands for, also of one that was written under Windows."""
    return _with_slashes(line).stem


def _with_slashes(path: str) -> Path:
    return Path(path.replace("\\", "/"))


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
            name = scene_name(line)
            if name in self._files:
                again = BadSceneError("scene name is there twice", f"{line} after {self._files[name]}, which is used")
                self.rejected[f"{name} (line {number})"] = again
            else:
                self._files[name] = line
        self.names = list(self._files)
        self.has_masks = (folder / MASKS).is_dir()
        self._note_masks()
        first = self._first_readable()
        self.has_clean = any("gt_image_path" in frame for frame in first)
        self.has_cameras = not first or any("w2c" in frame or "transform_matrix" in frame for frame in first)
        if not self.has_cameras:
            self.notes.append("there are no cameras; training and masks need none")

    def _lines(self) -> list[str]:
        listing = self.folder / "full_list.txt"
        if listing.is_file():
            try:
                text = listing.read_text(encoding="utf-8-sig")
                lines = [line.strip() for line in text.splitlines() if line.strip()]
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
        self._note("full_list.txt is missing; scenes are those of metadata/")
        return found

    def _note_masks(self) -> None:
        """Masks that are there and not read would be as if nothing were known of what moves."""
        if not self.has_masks:
            others = [path.name for path in self.folder.iterdir() if "mask" in path.name.lower() and path.is_dir()]
            if others:
                self._note(f"{', '.join(sorted(others))} may hold masks and is not read; masks are read from {MASKS}/")
        elif not any(mask_folder(self.folder / MASKS, name) for name in self.names):
            self._note(f"{MASKS} holds no folder of any scene: all masks are unknown")

    def _note(self, text: str) -> None:
        self.notes.append(text)
        logger.warning("%s: %s", self.folder, text)

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

    def files(self, name: str) -> list[Path]:
        """The scene's JSON file, then its images and masks, as far as they are known."""
        found: list[Path] = []
        try:
            found.append(self._json_file(name))
            documents = self._document(name)
            for document in documents:
                values = [document.get(key) for key in ("image_path", "gt_image_path")]
                found += [self._image_file(value, found[0]) for value in values if isinstance(value, str)]
            found += (mask_files(self._root / MASKS, name, len(documents)) or {}).values()
        except BadSceneError:
            pass  # said when the scene is read
        return found

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
        check_name(name, where=self.folder)
        with naming_paths(self.folder / "full_list.txt", self._files[name]):
            if not (self.folder / line).is_file():
                line = _with_slashes(self._files[name])
            direct = self.folder / line
            path = direct if not line.is_absolute() and direct.is_file() else self.folder / "metadata" / line.name
            return self._inside(path)

    def _document(self, name: str) -> list[dict[str, Any]]:
        path = self._json_file(name)
        try:
            document = read_json(path, fix="download or process the split again")
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
        with naming_paths(json_file, value):
            if "\\" in value and not (json_file.parent / given).is_file():
                given = _with_slashes(value)
            tails = [self.folder.joinpath(*given.parts[-count:]) for count in (3, 2)]
            for path in (json_file.parent / given, self.folder / given, *tails):
                resolved = path.resolve()
                if resolved.is_relative_to(self._root) and resolved.is_file():
                    return resolved
            return self._inside(json_file.parent / given)

    def _existing_image(self, document: dict[str, Any], key: str, json_file: Path, number: int) -> Path:
        if not isinstance(document.get(key), str):
            raise BadSceneError("image is missing", f"{json_file}: frame {number} has no {key}")
        path = self._image_file(document[key], json_file)
        if not path.is_file():
            raise BadSceneError("image is missing", str(path))
        return path

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
        fix = (
            "this layout has them in pixels of these frames: multiply normalised ones by width and height, scale those "
            "of larger frames"
        )
        if (pixels <= 10).all() and (pixels[:, 2:] <= 1).all():  # the centre of no camera lies in the first pixel
            raise BadSceneError(
                "intrinsics do not fit the frames", f"{where}: {pixels[0].tolist()} looks normalised; {fix}"
            )
        check_normalised(pixels / scale, where=where, fix=fix)
        return (camera_to_world(w2c, where=where) if c2w is None else c2w), pixels / scale

    def check(self, name: str) -> int:
        """Frames of a scene with cameras whose images and masks are there; see `SceneReader.check`."""
        json_file, documents = self._json_file(name), self._document(name)
        if not documents:
            raise BadSceneError("too few frames", f"{json_file}: none")
        for number, document in enumerate(documents):
            for key in ("image_path", "gt_image_path") if self.has_clean else ("image_path",):
                self._existing_image(document, key, json_file, number)
        first = self._existing_image(documents[0], "image_path", json_file, 0)
        size = stated_size(first, where=str(first))
        if self.has_cameras:
            self._cameras(documents, [size] * len(documents), str(json_file))
        mask_files(self.folder / MASKS, name, len(documents))
        return len(documents)

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
                image = decode_file(self._existing_image(document, key, json_file, number))
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
        masks = read_masks(self.folder / MASKS, name, sizes, fits, inside=self._inside)
        return Scene(name, frames, c2w, intrinsics, masks, clean, source_size=sizes[0])
