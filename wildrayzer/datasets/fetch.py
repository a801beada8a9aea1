"""From the table to the disk: download, unpack and put the parts of a source into their places, all or nothing."""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from wildrayzer.datasets.download import Patience, alone, download
from wildrayzer.datasets.hub import fetch_repository
from wildrayzer.datasets.join import join_part
from wildrayzer.datasets.on_disk import broken_link, locate, problem_of
from wildrayzer.datasets.table import MANIFEST, Source, SourceTable
from wildrayzer.datasets.unpack import is_archive, unpack
from wildrayzer.io.files import write_json

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
    """Fetch a source if one of these parts of it is not in its place yet.

    A source is downloaded whole: every other part that arrives with it and is missing goes to its place, too. A part
    that is there, or is put there meanwhile, is left alone. Killed at any point, the next call goes on where this one
    was: what is in a place is complete.

    Args:
        table: sources.
        name: the source.
        parts: the parts that must be there afterwards; None is all.
        root: folder that the table's places are relative to.
        patience: how long to try.

    Returns:
        The places that were filled.

    Raises:
        ValueError: unknown source or part, a source that must be provided by the user, a place that is a broken link,
            or a failed download.
    """
    source = table.source(name)
    asked = list(source.parts if parts is None else parts)
    for part in asked:
        if part not in source.parts:
            raise ValueError(f"source {name} has no part {part!r}; known: {', '.join(source.parts)}")
    joined = [part for part in _missing(source, asked, root) if source.parts[part].joins]
    plain = [part for part in asked if not source.parts[part].joins]
    wanted = list(dict.fromkeys([*plain, *(one for part in joined for one in source.parts[part].joins)]))
    filled = _fetch_plain(source, name, wanted, root, patience)
    return filled + [place for part in joined if (place := join_part(source, name, part, root=root)) is not None]


def _fetch_plain(
    source: Source, name: str, wanted: list[str], root: str | Path, patience: Patience | None
) -> list[Path]:
    """The same for parts that are downloaded, not joined from others."""
    if not _missing(source, wanted, root):  # no lock, since folders that several users read may be read-only
        logger.info("%s: everything is in its place", name)
        return []
    _refuse_broken_links([Path(root) / source.place(part) for part in source.parts])
    if source.provide is not None:
        _ask_for(source, _missing(source, wanted, root))
    work = Path(root) / source.folder / WORK / name
    work.parent.mkdir(parents=True, exist_ok=True)
    with alone(work):
        missing = _missing(source, wanted, root)
        if not missing:
            logger.info("%s: another process has put everything in its place", name)
            return []
        work.mkdir(exist_ok=True)
        logger.info("%s: fetching %s; a source is downloaded whole", name, ", ".join(missing))
        version = _download(source, work, patience)
        found = {part: locate(work / "content", part, source.parts[part]) for part in missing}
        others = [part for part, entry in source.parts.items() if part not in found and not entry.joins]
        found |= _others(source, work / "content", _missing(source, others, root))
        filled = []
        for part, path in found.items():
            if _put(path, place := Path(root) / source.place(part), name, source, version):
                filled.append(place)
        shutil.rmtree(work)
    return filled


def link_part(table: SourceTable, name: str, part: str, link: str | Path, *, root: str | Path = ".") -> None:
    """Make a relative link to a part in its place, in place of a broken one; the part is looked at, not read.

    Raises:
        ValueError: what lies in the place is not this part.
    """
    source = table.source(name)
    place, link = Path(root) / source.place(part), Path(link)
    problem = problem_of(place, source.parts[part].layout)
    if problem is not None:
        raise ValueError(f"{place} {problem}: mend it, or move it away to have source {name} fetched")
    link.parent.mkdir(parents=True, exist_ok=True)
    # folders on the way may be links to other disks: `..` leads up from where the link really is
    target = os.path.relpath(place.absolute(), link.parent.resolve())
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _refuse_broken_links(paths: Iterable[Path]) -> None:
    for path in paths:
        if (link := broken_link(path)) is not None:
            raise ValueError(
                f"{link} is a link to {link.readlink()}, which is not there: is the disk mounted? Mend the link, or "
                f"remove it to have {path} filled"
            )


def _others(source: Source, content: Path, parts: Iterable[str]) -> dict[str, Path]:
    """Parts that nobody asked for and that a download holds as well."""
    found = {}
    for part in sorted(parts):
        try:
            found[part] = locate(content, part, source.parts[part])
        except ValueError:
            continue  # a mirror may offer less
    return found


def _missing(source: Source, parts: Iterable[str], root: str | Path) -> list[str]:
    return [part for part in parts if not (Path(root) / source.place(part)).exists()]


def _ask_for(source: Source, missing: list[str]) -> NoReturn:
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
            unpack(target, content, unpacked_size=file.unpacked_size)
    return source.version


def _put(found: Path, place: Path, name: str, source: Source, version: str | None) -> bool:
    """Move a part to its place; False where something has been put there since it was found missing."""
    if place.exists():
        logger.warning("%s: %s was put there meanwhile; it is left as it is", name, place)
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        files = [{"name": file.name, "md5": file.md5, "sha256": file.sha256} for file in source.files]
        write_json(found / MANIFEST, {"source": name, "version": version, "home": source.home, "files": files})
    found.replace(place)
    logger.info("%s: %s", name, place)
    return True
