"""Masks and renderings of other tools, read from files (layouts: docs/benchmarks.md). Needs no torch.

Both lie in `FOLDER/SCENE/NUMBER.EXT`: scene names are the frame store's, NUMBER is the frame's number within its clip,
five digits, from 00000. Pictures show the frame as it is stored: cropped to a square and resized to `model.image_size`.
Masks may also show the whole frame as it was recorded, and lie in the layout of DAVIS, `FOLDER/Annotations/480p/SCENE`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.records import recorded_sizes
from wildrayzer.data.readers.davis import ANNOTATIONS, scenes_folder
from wildrayzer.data.sampling.index_file import EvaluationWindows
from wildrayzer.evaluation.methods.outside_pictures import read_mask_file, read_rendering_file
from wildrayzer.io.digests import digest_folder

logger = logging.getLogger(__name__)

MASK_SUFFIXES = (".npy", ".png")
RENDERING_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg")


class ExternalFiles:
    """Files of a folder by scene and frame.

    Args:
        folder: holds a folder for each scene.
        suffixes: endings to look for, in this order, in lower or upper case.

    Masks of a folder that holds `Annotations` are read in the layout of DAVIS: 255 is unknown there.

    `digests` are for the manifest of what is made from them: the folder, and the state of the files in it.

    Raises:
        ValueError: no such folder.
    """

    def __init__(self, folder: str | Path, suffixes: Sequence[str]) -> None:
        self.folder, self.suffixes = Path(folder), tuple(suffixes)
        if not self.folder.is_dir():
            raise ValueError(f"{folder}: no such folder; it must hold a folder of {_listed(suffixes)} for each scene")
        self._davis = self.suffixes == MASK_SUFFIXES and (self.folder / ANNOTATIONS).is_dir()
        if self._davis:
            self.folder = scenes_folder(self.folder, ANNOTATIONS)
        self._recorded: dict[str, tuple[int, int]] = {}
        self._names: dict[str, dict[str, Path]] = {}
        self.digests = {"folder": str(folder), "files": digest_folder(folder)}

    def find(self, scene: str, frame: int) -> Path | None:
        """File of a frame, or None."""
        names = self._files_of(scene)
        paths = (names.get(f"{frame:05d}{suffix}") for suffix in self.suffixes)
        return next((path for path in paths if path is not None), None)

    def _files_of(self, scene: str) -> dict[str, Path]:
        """Files of a scene by their names in lower case, which come before others that differ only in case."""
        if scene not in self._names:
            folder = self.folder / scene
            files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
            self._names[scene] = {path.name.lower(): path for path in files}
        return self._names[scene]

    def complete(self, store: FrameStore, windows: EvaluationWindows, *, inputs: bool) -> EvaluationWindows:
        """The windows whose inputs (or else targets) all have a file; the scenes of the others are skipped.

        From then on, masks may also have the size that the frames of this store were recorded in.

        Raises:
            ValueError: no window has all its files.
        """
        self._recorded = recorded_sizes(store)
        kept, skipped = [], dict(windows.skipped)
        for window in windows:
            name = store.scenes[window.scene]
            frames = window.inputs if inputs else window.targets
            lacking = [frame for frame in frames if self.find(name, frame) is None]
            if not (self.folder / name).is_dir():
                skipped[name] = f"no folder {self.folder / name}"
            elif lacking:
                skipped[name] = f"{self.folder / name} has no file of frame {', '.join(map(str, lacking))}"
            else:
                kept.append(window)
        if not kept:
            first = (windows[0].inputs if inputs else windows[0].targets)[0]
            asked = self.folder / store.scenes[windows[0].scene] / f"{first:05d}{self.suffixes[1]}"
            raise ValueError(
                f"{self.folder} has the files of no evaluation window; files are looked for under names such as "
                f"{asked} (docs/benchmarks.md)"
            )
        if len(kept) < len(windows):
            logger.warning("%s lacks files of %d of %d windows", self.folder, len(windows) - len(kept), len(windows))
        return EvaluationWindows.of(kept, skipped, unused=windows.unused)

    def _path(self, scene: str, frame: int) -> Path:
        path = self.find(scene, frame)
        if path is None:
            raise ValueError(f"{self.folder / scene} has no file of frame {frame} ({_listed(self.suffixes)})")
        return path

    def masks(self, scene: str, frames: Sequence[int], *, size: int) -> UInt8[np.ndarray, "n h w"]:
        """Masks of frames: in the files 0 is static and anything else transient; 1 = transient, 255 = unknown.

        Raises:
            ValueError: a file is missing, unreadable, or of another size.
        """
        recorded, paths = self._recorded.get(scene), [self._path(scene, frame) for frame in frames]
        return np.stack([read_mask_file(path, size, recorded=recorded, void=self._davis) for path in paths])

    def renderings(self, scene: str, frames: Sequence[int], *, size: int) -> Float[np.ndarray, "n h w 3"]:
        """Renderings in [0, 1]: 8-bit RGB pictures, or NPY in floating point.

        Raises:
            ValueError: a file is missing, unreadable, of another size, holds NaN, or leaves [0, 1].
        """
        return np.stack([read_rendering_file(self._path(scene, frame), size) for frame in frames])


def _listed(suffixes: Sequence[str]) -> str:
    return " or ".join(suffixes)
