"""Writing a frame store scene by scene; `store` describes what is in it."""

import logging
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.join import join_parts
from wildrayzer.data.frame_store.parts import PartWriter, StoreForm
from wildrayzer.io.folders import private_folder, put_in_place, remove_leftovers

logger = logging.getLogger(__name__)


def unfinished(path: Path) -> list[Path]:
    """What lies beside a store that is not complete yet."""
    return sorted([*path.parent.glob(f".{path.name}.unfinished-*"), *path.parent.glob(f".{path.name}.parts-*")])


class FrameStoreWriter:
    """Writes a store scene by scene; use it as a context manager.

    The store appears under its name when the block ends well; until then it lies beside it under a name that no other
    process uses. Two writers of the same store do not harm each other: the last one to finish wins.
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
        codec: Literal["zstd", "jpeg"] = "zstd",
    ) -> None:
        self.path = Path(path)
        for folder in remove_leftovers(self.path, "unfinished"):
            logger.warning("%s was left by a process that was stopped; removed", folder)
        self._form = StoreForm(image_size, store, cameras=cameras, masks=masks, clean=clean, codec=codec)
        self._attributes = dict(attributes or {})
        self._temporary = private_folder(self.path, "unfinished")
        self._part = PartWriter(self._temporary / "part", self._form)
        self._names: set[str] = set()

    @property
    def num_frames(self) -> int:
        """Frames added so far."""
        return self._part.num_frames

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
        if name in self._names:
            raise ValueError(f"{self.path}: scene {name!r} is there twice; give every scene its own name")
        self._part.add_scene(name, frames, c2w=c2w, intrinsics=intrinsics, masks=masks, clean=clean)
        self._names.add(name)

    def __enter__(self) -> "FrameStoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._part.finish()
                made = self._temporary / "store"
                join_parts(made, [self._part.folder], self._form, self._attributes)
                put_in_place(made, self.path)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
