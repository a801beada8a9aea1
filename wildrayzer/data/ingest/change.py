"""Add recordings to an ingested set, replace and remove them; what else is in the set stays untouched.

A change is prepared in `.unfinished` inside the set: first the frames, last `change.json`, which says what is to be
done. Until that file is complete the set is the old one. From then on the change is carried out, by the next call if
this one is killed. Every step can be repeated, and after every step all clips of the list can be read.
"""

import difflib
import logging
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress

from wildrayzer.data.ingest.clips import LIST, IngestOptions, OptionValue, line_of, write_clips, write_list
from wildrayzer.data.ingest.frames import take_in
from wildrayzer.data.ingest.known import KnownRecordings
from wildrayzer.data.ingest.report import IngestedSource, IngestReport, ingested, make_report, read_report
from wildrayzer.data.ingest.sheet import write_sheet
from wildrayzer.data.ingest.sources import FoundSources, find_sources
from wildrayzer.data.ingest.write import LOCK
from wildrayzer.data.readers.lvsm import scene_name
from wildrayzer.io.disk_space import writing
from wildrayzer.io.files import write_bytes_atomic, write_json
from wildrayzer.io.locks import LockHeldError, acquire
from wildrayzer.io.validated import read_validated

logger = logging.getLogger(__name__)

_UNFINISHED, _CHANGE = ".unfinished", "change.json"


class _Change(BaseModel):
    """What `change.json` holds: all that is needed to carry the change out."""

    report: IngestReport
    """Of the set after the change."""
    records: dict[str, dict[str, Any]]
    """Of the recordings that are added, by the folder of their frames below `images/`."""
    removed: list[IngestedSource]
    """Entries of the recordings that are removed or replaced."""
    files: dict[str, str]
    """Texts to be written into the set, by file name."""


class NothingAddedError(ValueError):
    """None of the recordings can be added to a set; `reasons` says why, by path."""

    def __init__(self, root: Path, *, skipped: Mapping[str, str], refused: Mapping[str, str]) -> None:
        self.reasons = {**skipped, **refused}
        lost = [*skipped.values(), *(f"{path}: {reason}" for path, reason in refused.items())]
        super().__init__("\n  ".join([f"nothing was added to {root}:", *lost]))


@dataclass
class _Call:
    """What a call asks for, and what became of its recordings."""

    paths: Sequence[Path]
    """Videos and folders that were named."""
    replace_changed: bool
    """As of `change_set`."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """Of the recordings that were taken in; unusable ones have a `reason`."""
    replaced: dict[str, IngestedSource] = field(default_factory=dict)
    """Entries in whose place a recording of `records` is put, by name."""
    kept: dict[str, str] = field(default_factory=dict)
    """As of `ChangedSet`."""
    refused: dict[str, str] = field(default_factory=dict)
    """As of `ChangedSet`."""


@dataclass(frozen=True)
class ChangedSet:
    """What a call did."""

    report: IngestReport
    """Of the set as it is now."""
    added: IngestReport
    """Of this call: what it found, added and skipped."""
    removed: tuple[str, ...]
    """Recordings that were removed or replaced."""
    kept: dict[str, str]
    """Recordings found in folders that are in the set already: {path: name}."""
    refused: dict[str, str]
    """Recordings that were not taken: {path: reason}."""


def change_set(
    root: Path,
    paths: Sequence[Path],
    *,
    options: Mapping[str, OptionValue] | None = None,
    replace_changed: bool = False,
    remove: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> ChangedSet:
    """Remove recordings from a set and add others; the clips of all other recordings are not touched.

    A recording whose content is in the set is refused, whatever its name. Another content of a name or file that is in
    the set is refused too, unless `replace_changed` is set. A call waits for another one that changes the set.

    Args:
        root: folder of the set.
        paths: videos and folders to add.
        options: fields of `IngestOptions`; those that are not None must be the set's.
        replace_changed: put a recording in the place of the one of the same name or file.
        remove: names of recordings to remove.
        files: texts to be written into the set, by file name.

    Raises:
        ValueError: `root` is no ingested set, an option differs, `remove` names no recording, no recording would be
            left, nothing can be added, or the disk is full; see also `find_sources`.
    """
    if not root.is_dir():
        raise ValueError(f"--out {root}: no such data set; leave out --add to make a new one")
    with writing(root, purpose="adding recordings"), _locked(root):
        _finish(root)
        before = read_report(root)
        check_options(root, before.options, options or {})
        removed = [_named(root, before, name) for name in remove]
        found, call = find_sources(paths), _Call(paths, replace_changed)
        known = KnownRecordings(root, [source for source in before.sources if source not in removed])
        _take_in_new(root, found, call, known, before.options)
        try:
            change, added = _planned(root, before, removed, found, call, dict(files or {}))
        except ValueError:
            shutil.rmtree(root / _UNFINISHED, ignore_errors=True)
            raise
        if change.records or change.removed:
            write_json(root / _UNFINISHED / _CHANGE, change.model_dump(mode="json"))
            _finish(root)
        shutil.rmtree(root / _UNFINISHED, ignore_errors=True)  # holds frames of recordings that were refused
        names = tuple(source.name for source in change.removed)
        return ChangedSet(change.report, added, names, call.kept, call.refused)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the set's lock; wait for a call that holds it."""
    try:
        lock = acquire(root / LOCK)
    except LockHeldError as error:
        logger.warning("%s is being changed by %s; waiting for it", root, error.holder or "another process")
        lock = acquire(root / LOCK, wait=True)
    try:
        yield
    finally:
        lock.release()


def check_options(root: Path, recorded: IngestOptions, given: Mapping[str, OptionValue]) -> None:
    """Refuse options other than those that a set's recordings were taken with; None leaves an option as it is.

    Raises:
        ValueError: as said.
    """
    for name, value in given.items():
        if value is not None and value != asdict(recorded)[name]:
            raise ValueError(
                f"{_spelt(name, value)}: the recordings of {root} were taken with "
                f"{_spelt(name, asdict(recorded)[name])}; leave the option out, or make another data set"
            )


def _spelt(name: str, value: OptionValue) -> str:
    """An option as it is typed."""
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{word}" if value else f"--no-{word}"
    return f"--{word} {value}"


def _named(root: Path, report: IngestReport, name: str) -> IngestedSource:
    """The entry of a recording that is to be removed."""
    by_name = {source.name: source for source in report.sources}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f"did you mean {close[0]}?" if close else f"{root} holds {', '.join(list(by_name)[:10])}"
        raise ValueError(f"--remove {name}: no recording of this name; {hint}")
    return by_name[name]


def _take_in_new(root: Path, found: FoundSources, call: _Call, known: KnownRecordings, options: IngestOptions) -> None:
    """Write the frames of recordings that the set does not have yet to its folder of unfinished things."""
    with Progress(console=Console(stderr=True)) as progress:
        for source in found.sources:
            old, same = known.namesake(source), known.with_content(source)
            may_replace = call.replace_changed and old is not None and old.name not in call.replaced
            if same is None and (old is None or old.content is None or may_replace):
                named = replace(source, name=old.name) if old else source
                record = take_in(named, root / _UNFINISHED, options, progress)
                same = known.with_frames(record, root / _UNFINISHED / "images" / named.name)
                if same is None and (old is None or may_replace):
                    call.records.append(record)
                    if "reason" not in record:
                        known.add(named)
                    if old is not None:
                        call.replaced[old.name] = old
                    continue
            path = str(source.path)
            if same is None:
                assert old is not None
                call.refused[path] = (
                    f"the set holds another recording as {old.name}; put this one in its place with --replace, or "
                    "rename it to keep both"
                )
            elif source.path not in call.paths and old is not None and old.name == same:
                call.kept[path] = same
            else:
                call.refused[path] = f"this recording is in the set already, as {same}"


def _planned(
    root: Path,
    before: IngestReport,
    removed: Sequence[IngestedSource],
    found: FoundSources,
    call: _Call,
    files: dict[str, str],
) -> tuple[_Change, IngestReport]:
    """The change, and the report of what is added.

    Raises:
        NothingAddedError: none of the recordings can be added.
        ValueError: nothing would be left.
    """
    taken = {source.frames_folder for source in before.sources}
    used = {_free_folder(record, taken): record for record in call.records if "reason" not in record}
    sources = [ingested(record, before.options, folder=folder) for folder, record in used.items()]
    added = make_report(call.records, sources, found, before.options)
    if not used and (call.records or call.refused):
        raise NothingAddedError(root, skipped=added.skipped, refused=call.refused)
    replaced = [call.replaced[source.name] for source in sources if source.name in call.replaced]
    report = _merged(before, [*removed, *replaced], added)
    if not report.sources:
        raise ValueError(f"{root} would have no recordings left; delete the folder instead")
    return _Change(report=report, records=used, removed=[*removed, *replaced], files=files), added


def _free_folder(record: Mapping[str, Any], taken: Collection[str]) -> str:
    """Folder for the frames of a recording: not that of the one it replaces, which is read until the list changes."""
    name: str = record["name"]
    return name if name not in taken else f"{name}.{record['content'][:8]}"


def _merged(before: IngestReport, removed: Sequence[IngestedSource], added: IngestReport) -> IngestReport:
    """The report of the set after a change; a replaced recording keeps its place."""
    new = {source.name: source for source in added.sources}
    kept = [new.pop(source.name, source if source not in removed else None) for source in before.sources]
    taken = {source.path for source in added.sources}
    skipped = {path: reason for path, reason in before.skipped.items() if path not in taken}
    return IngestReport(
        options=before.options,
        sources=(*filter(None, kept), *new.values()),
        skipped={**skipped, **added.skipped},
        left_out={**before.left_out, **added.left_out},
        copies={**before.copies, **added.copies},
        ignored_files=tuple(dict.fromkeys([*before.ignored_files, *added.ignored_files])),
    )


def _finish(root: Path) -> None:
    """Carry out the change that is prepared; nothing where there is none."""
    staging = root / _UNFINISHED
    if not (staging / _CHANGE).is_file():
        return
    change = read_validated(staging / _CHANGE, _Change, fix=f"delete {staging} and repeat the call")
    for folder, record in change.records.items():
        frames = staging / "images" / record["name"]
        if frames.is_dir():
            shutil.rmtree(root / "images" / folder, ignore_errors=True)  # left by a removal: no clip is in it
            frames.rename(root / "images" / folder)
        write_clips(root, record, change.report.options, folder=folder)
    kept = {clip for source in change.report.sources for clip in source.clips}
    gone = {clip for source in change.removed for clip in source.clips} - kept
    _update_list(root, change, gone)
    write_sheet(root)
    for name, text in change.files.items():
        write_bytes_atomic(root / name, text.encode())
    change.report.save(root)
    for clip in gone:
        (root / line_of(clip)).unlink(missing_ok=True)
    for source in change.removed:
        shutil.rmtree(root / "images" / source.frames_folder, ignore_errors=True)
    (staging / _CHANGE).unlink()


def _update_list(root: Path, change: _Change, gone: Collection[str]) -> None:
    """Drop the lines of clips that are gone, and put those of new ones at the end; all others stay as they are."""
    text = (root / LIST).read_text(encoding="utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip() and scene_name(line.strip()) not in gone]
    there = {scene_name(line.strip()) for line in lines}
    names = {record["name"] for record in change.records.values()}
    added = [clip for source in change.report.sources if source.name in names for clip in source.clips]
    write_list(root, [*lines, *(line_of(clip) for clip in added if clip not in there)])
