"""Which reader reads which layout."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from wildrayzer.config.sections.data import SplitConfig
from wildrayzer.data.readers.base import SceneReader
from wildrayzer.data.readers.davis import DavisReader
from wildrayzer.data.readers.lvsm import LvsmReader
from wildrayzer.data.readers.pixelsplat import PixelSplatReader
from wildrayzer.io.validated import read_validated


class _Embedded(BaseModel):
    """What a finished embedded split says about itself."""

    layout: Literal["pixelsplat", "lvsm", "davis"]


def open_reader(split: SplitConfig, folder: Path) -> SceneReader:
    """The reader for a split whose files lie in `folder`.

    Raises:
        ValueError: the folder, or the list of scenes in it, is missing or broken.
    """
    if not folder.is_dir():
        raise ValueError(f"data folder {folder} does not exist; set the split's `path` to where its files are")
    layout: str = split.layout
    if layout == "embedded":
        manifest = folder / "embedded.json"
        if not manifest.is_file():
            raise ValueError(f"{folder} holds no finished embedded split (no embedded.json); make it again")
        layout = read_validated(manifest, _Embedded, fix="delete the folder and make it again").layout
    if layout == "davis":
        return DavisReader(folder, split.scene_list)
    return PixelSplatReader(folder) if layout == "pixelsplat" else LvsmReader(folder)
