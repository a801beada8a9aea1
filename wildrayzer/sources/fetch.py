"""From the table to the disk: download, unpack and put the parts of a source into their places, all or nothing."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from wildrayzer.provenance import write_json
from wildrayzer.sources.download import Patience, alone, download
from wildrayzer.sources.hub import fetch_repository
from wildrayzer.sources.parts import locate
from wildrayzer.sources.table import MANIFEST, Source, SourceTable
from wildrayzer.sources.unpack import is_archive, unpack

logger = logging.getLogger(__name__)

WORK = ".fetching"
"""Folder below a source's own in which downloads are kept until they are whole: on the same disk, so that putting a
part into its place is a renaming."""


def fetch_source(
    table: SourceTable,
    name: str,
    *,
    parts: Iterable[str] | None = None,
    root: str | Path = ".",
    patience: Patience | None = None,
) -> list[Path]:
    """Fetch parts of a source that are not in their places yet; None takes all of them.

    A part that is there is left alone. Killed at any point, the next call goes on where this one was: what is in a
    place is complete.

    Args:
        table: sources.
        name: the source.
        parts: its parts.
        root: folder that the table's places are relative to.
        patience: how long to try.

    Returns:
        The places that were filled.

    Raises:
        ValueError: unknown source or part, a source that must be provided by the user, or a failed download.
    """
    source = table.source(name)
    wanted = list(source.parts if parts is None else parts)
    for part in wanted:
        if part not in source.parts:
            raise ValueError(f"source {name} has no part {part!r}; known: {', '.join(source.parts)}")
    work = Path(root) / source.folder / WORK / name
    if source.provide is not None:
        _ask_for(source, _missing(source, wanted, root))
        return []
    work.parent.mkdir(parents=True, exist_ok=True)
    with alone(work):
        missing = _missing(source, wanted, root)
        if not missing:
            logger.info("%s: everything is in its place", name)
            return []
        work.mkdir(exist_ok=True)
        version = _download(source, work, patience)
        found = {part: locate(work / "content", part, source.parts[part]) for part in missing}
        filled = [_put(found[part], Path(root) / source.place(part), name, source, version) for part in missing]
        shutil.rmtree(work)
    return filled


def _missing(source: Source, parts: Iterable[str], root: str | Path) -> list[str]:
    return [part for part in parts if not (Path(root) / source.place(part)).exists()]


def _ask_for(source: Source, missing: list[str]) -> None:
    if missing:
        places = " and ".join(source.place(part) for part in missing)
        raise ValueError(
            f"{source.title} cannot be downloaded: {source.provide}. Put it at {places}, or set the path of the split "
            f"or weights to where you have it. {source.home}"
        )


def _download(source: Source, work: Path, patience: Patience | None) -> str | None:
    """Bring all files of a source into `work/content`, archives unpacked; returns the version that was had."""
    content = work / "content"
    content.mkdir(exist_ok=True)
    if source.hub is not None:
        commit = fetch_repository(source, content, patience=patience)
        shutil.rmtree(content / ".cache", ignore_errors=True)  # the library's notes on partial files
        for path in sorted(path for path in content.rglob("*") if path.is_file() and is_archive(path)):
            unpack(path, path.with_name(path.name.split(".")[0]))
        return commit
    for file in source.files:
        target = (work if file.archive else content) / file.name
        download(file, target, patience=patience)
        if file.archive:
            unpack(target, content)
    return source.version


def _put(found: Path, place: Path, name: str, source: Source, version: str | None) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        files = [{"name": file.name, "md5": file.md5, "sha256": file.sha256} for file in source.files]
        write_json(found / MANIFEST, {"source": name, "version": version, "home": source.home, "files": files})
    found.replace(place)
    logger.info("%s: %s", name, place)
    return place
