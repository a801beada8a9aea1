"""Parts that consist of others: the chunks of several parts of a source in one folder, as links."""

import os
import shutil
from pathlib import Path

from pydantic import RootModel

from wildrayzer.datasets.table import MANIFEST, Source
from wildrayzer.io.files import write_json
from wildrayzer.io.validated import read_validated


class _Index(RootModel[dict[str, str]]):
    """Chunks by scene."""


def join_part(source: Source, name: str, part: str, *, root: str | Path = ".") -> Path | None:
    """Make the folder of a part from the chunks of the parts that it joins; None if it is there already.

    A chunk is a relative link named PART-CHUNK, and the index names all scenes, so that nothing is copied. The folder
    appears by renaming.

    Raises:
        ValueError: a scene is in two of the parts, or one of them has no index.
    """
    place = Path(root) / source.place(part)
    if place.exists():
        return None
    work = place.with_name(f".{place.name}.joining")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    index: dict[str, str] = {}
    for member in source.parts[part].joins:
        folder = Path(root) / source.place(member)
        if not (folder / "index.json").is_file():
            raise ValueError(f"{folder} has no index.json, so that it cannot become a part of {place}; write one first")
        for scene, file in read_validated(folder / "index.json", _Index, fix="write it again").root.items():
            if scene in index:
                raise ValueError(f"{folder}: scene {scene} is in {index[scene]} as well; take it out of one of them")
            index[scene] = f"{member}-{file}"
        for chunk in sorted(folder.glob("*.torch")):
            (work / f"{member}-{chunk.name}").symlink_to(
                os.path.relpath(chunk.absolute(), place.parent.resolve() / place.name)
            )
    write_json(work / "index.json", index)
    write_json(work / MANIFEST, {"source": name, "version": source.version, "home": source.home, "files": []})
    work.replace(place)
    return place
