"""LVSM-style processed folders; D-RE10K and its iPhone pairs have the same layout.

`full_list.txt` names one JSON a scene; the JSON names image files and cameras. Masks lie in
`binary_masks/SCENE/00000.npy` (1 = transient), clean twins are named by `gt_image_path`.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from wildrayzer.data.readers.base import BadSceneError, Fit, Scene, camera_to_world, decode
from wildrayzer.data.store import UNKNOWN
from wildrayzer.provenance import read_json

logger = logging.getLogger(__name__)


class LvsmReader:
    """Reads the folder of one split.

    Raises:
        ValueError: full_list.txt is missing or empty, or names a scene twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has_cameras = True
        self._root = folder.resolve()
        self.notes: list[str] = []
        listing = folder / "full_list.txt"
        if not listing.is_file():
            raise ValueError(f"{folder} has no full_list.txt; set the split's `path` to the folder that holds it")
        lines = [line.strip() for line in listing.read_text().splitlines() if line.strip()]
        if not lines:
            raise ValueError(f"{listing} names no scenes; download or process the split again")
        self._files = {Path(line).stem: line for line in lines}
        if len(self._files) < len(lines):
            twice = [name for name, count in Counter(Path(line).stem for line in lines).items() if count > 1]
            raise ValueError(f"{listing} names {twice[:5]} more than once; remove the double lines")
        self.names = list(self._files)
        self.has_masks = (folder / "binary_masks").is_dir()
        self.has_clean = self._first_has_clean()

    def _first_has_clean(self) -> bool:
        for name in self.names:
            try:
                return any("gt_image_path" in frame for frame in self._document(name))
            except BadSceneError:
                continue  # counted when it is read
        return False

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
        path = direct if not line.is_absolute() and direct.is_file() else self.folder / "metadata" / line.name
        return self._inside(path)

    def _document(self, name: str) -> list[dict[str, Any]]:
        path = self._json_file(name)
        try:
            document = read_json(path)
            frames = document["frames"]
        except FileNotFoundError:
            raise BadSceneError("scene file is missing", str(path)) from None
        except (ValueError, KeyError, TypeError) as error:
            raise BadSceneError("scene file cannot be read", f"{path}: {error}") from None
        if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
            raise BadSceneError("scene file cannot be read", f"{path}: `frames` is no list of frames")
        return frames

    def _image(self, value: str, json_file: Path) -> Image.Image:
        beside, below = self._inside(json_file.parent / value), (self.folder / value).resolve()
        path = below if not beside.is_file() and below.is_relative_to(self._root) else beside
        if not path.is_file():
            raise BadSceneError("image is missing", str(beside))
        return decode(path.read_bytes(), where=str(path))

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
        except (KeyError, TypeError, ValueError) as error:
            raise BadSceneError("camera is missing or malformed", f"{where}: {error!r}") from None
        matrices = w2c if c2w is None else c2w
        if pixels.shape != (len(frames), 4) or matrices.shape != (len(frames), 4, 4):
            raise BadSceneError("camera is missing or malformed", f"{where}: {pixels.shape}, {matrices.shape}")
        if not np.isfinite(pixels).all() or not np.isfinite(matrices).all():
            raise BadSceneError("camera is not finite", where)
        scale = np.array([[width, height, width, height] for width, height in sizes])
        return (camera_to_world(w2c, where=where) if c2w is None else c2w), pixels / scale

    def _masks(
        self, name: str, count: int, sizes: list[tuple[int, int]], fits: list[Fit]
    ) -> UInt8[np.ndarray, "n h w"] | None:
        folder = self.folder / "binary_masks" / name
        if not folder.is_dir():
            return None
        # Some scenes of D-RE10K number their masks from 1.
        first = 0 if (folder / "00000.npy").is_file() else 1
        masks = np.full((count, fits[0].size, fits[0].size), UNKNOWN, np.uint8)
        for number in range(count):
            file = folder / f"{number + first:05d}.npy"
            if file.is_file():
                masks[number] = self._mask(self._inside(file), sizes[number], fits[number])
        return masks

    def _mask(self, file: Path, size: tuple[int, int], fit: Fit) -> UInt8[np.ndarray, "h w"]:
        try:
            raw = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadSceneError("mask cannot be read", f"{file}: {error}") from None
        if raw.ndim == 2 and raw.shape == (size[1], size[0]):
            return fit.mask((raw > 0).astype(np.uint8))
        if raw.ndim == 2 and raw.shape[0] == raw.shape[1]:  # made on the cropped frame already
            return Fit.of(raw.shape[1], raw.shape[0], fit.size).mask((raw > 0).astype(np.uint8))
        raise BadSceneError("mask has a wrong size", f"{file}: {raw.shape} for a frame of {size[1]}×{size[0]}")

    def read(self, name: str, *, image_size: int) -> Scene:
        """Decode one scene; raises BadSceneError when it cannot be used."""
        json_file = self._json_file(name)
        documents = self._document(name)
        if not documents:
            raise BadSceneError("too few frames", f"{json_file}: none")
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
        c2w, intrinsics = self._cameras(documents, sizes, str(json_file))
        intrinsics = np.stack([fit.intrinsics(row) for fit, row in zip(fits, intrinsics, strict=True)])
        masks = self._masks(name, len(documents), sizes, fits)
        return Scene(name, frames, c2w, intrinsics, masks, clean)
