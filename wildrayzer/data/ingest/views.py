"""Unposed views for rendering: photos, a folder of them, or one video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wildrayzer.data.ingest.media.animation import is_animated, spread
from wildrayzer.data.ingest.sources import IMAGE_SUFFIXES, Source, find_sources, read_image
from wildrayzer.data.readers.base import BadSceneError, Fit


@dataclass(frozen=True)
class View:
    """A photo or a frame, fitted as the frame store fits it."""

    name: str
    """Of the file, or the file and the time of the frame."""
    image: UInt8[np.ndarray, "h w 3"]
    """Square, RGB."""
    recorded: tuple[int, int]
    """Width and height before the fit."""

    @property
    def kept(self) -> float:
        """Share of the recorded picture that the centre crop keeps."""
        size = len(self.image)
        fit = Fit.of(*self.recorded, size)
        return size / max(fit.width, fit.height)


def read_views(paths: Sequence[Path], *, image_size: int, frames: int) -> list[View]:
    """Views in the order given: image files; or all images of one folder; or of one video `frames`, evenly spread.

    Pictures are turned upright, resized so that the shorter side is `image_size` (Lanczos) and cropped at the centre.

    Raises:
        ValueError: a path is missing, of an unknown kind, cannot be decoded, kinds are mixed, or a folder holds
            pictures that cannot be read.
    """
    try:
        if all(map(_is_photo, paths)):
            return [fitted(path.name, read_image(path), image_size) for path in paths]
        found = find_sources([path for path in paths if not _is_photo(path)])
        if len(found.sources) != 1 or len(paths) != 1:
            named = ", ".join(str(path) for path in paths[:4])
            raise ValueError(f"{named}: name image files, or one folder of images, or one video, and not several")
        if found.left_out:
            lost = "\n".join(f"  {path}: {reason}" for path, reason in found.left_out.items())
            raise ValueError(
                f"{paths[0]} holds {len(found.left_out)} files that are not read; convert or remove them, or "
                f"name the image files to use:\n{lost}"
            )
        return _of_source(found.sources[0], image_size, frames)
    except BadSceneError as error:
        raise ValueError(str(error)) from None


def _is_photo(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not is_animated(path)


def _of_source(source: Source, image_size: int, frames: int) -> list[View]:
    if source.kind == "images":
        return [fitted(path.name, read_image(path), image_size) for path in source.images]
    chosen = spread(source.path, frames)
    return [fitted(f"{source.path.name} at {seconds:.2f} s", pixels, image_size) for seconds, pixels in chosen]


def fitted(name: str, pixels: UInt8[np.ndarray, "h w 3"], size: int) -> View:
    """A picture as a view: resized and cropped as `read_views` says."""
    height, width = pixels.shape[:2]
    return View(name, Fit.of(width, height, size).image(Image.fromarray(pixels)), (width, height))
