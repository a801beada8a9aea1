"""Which clips form a part: parts of unchanged clips stay, changed ones are made again, new clips form new parts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.preparation.records import ClipFiles, PartRecord


@dataclass(frozen=True)
class PlannedPart:
    """A part of the split that is being prepared."""

    names: tuple[str, ...]
    """Clips to read, in order."""
    seed_frame: int | None = None
    """That of the part which it is or replaces; None for a new part."""
    record: PartRecord | None = None
    """What it was made from, if it is complete."""


@dataclass(frozen=True)
class PartsPlan:
    """Parts of a split, in order, and records that hold only skipped clips."""

    parts: tuple[PlannedPart, ...]
    skipped: tuple[PartRecord, ...] = ()

    def with_records(self, made: Mapping[int, PartRecord]) -> "PartsPlan":
        """The plan after parts, given by their numbers, were made."""
        parts = [replace(part, record=made.get(number, part.record)) for number, part in enumerate(self.parts)]
        return replace(self, parts=tuple(parts))


def plan_parts(
    names: Sequence[str],
    before: SplitManifest | None,
    records: Iterable[PartRecord],
    files: ClipFiles,
    divide: Callable[[Sequence[str]], Iterable[Sequence[str]]],
) -> PartsPlan:
    """Divide the clips of a split into parts.

    A part of the split as it was stays if all of its clips are there and unchanged. Otherwise it is made again from the
    clips that are left, in its place. Clips of no such part form new parts at the end. A clip that could not be used is
    left out until its files change, or until its part is made again. Parts that a stopped preparation has finished are
    taken.

    Args:
        names: all clips, in the order of reading.
        before: the split as it was, made from the same options; None if there is none.
        records: of all complete parts.
        files: the state of the clips' files.
        divide: divides new clips into parts.
    """
    wanted = set(names)
    loose = {record.key: record for record in records}
    listed = [(part, loose.pop(part.key, None)) for part in before.parts] if before else []
    parts = _earlier_parts(listed, wanted, files)
    taken = {name for part in parts for name in (part.record.used if part.record else part.names)}

    # Skipped clips whose files are as they were. Of the loose records, only those without a part say so: one with a
    # part is of a preparation that was stopped, and is looked for below.
    skipped = []
    for record in [part.record for part in parts if part.record] + [one for one in loose.values() if not one.used]:
        still = {name for name in record.skipped if name in wanted and name not in taken}
        still = {name for name in still if files.unchanged(name, record.stamp(name))}
        taken |= still
        if still and not record.used:
            skipped.append(record)

    parts += [PlannedPart(tuple(own)) for own in divide([name for name in names if name not in taken])]
    finished = {tuple(record.clips): record for record in loose.values() if record.used}
    for number, part in enumerate(parts):
        if part.record is None and part.names in finished:
            parts[number] = replace(part, record=_unchanged(finished[part.names], part.names, wanted, files))
    return PartsPlan(tuple(parts), tuple(skipped))


def _earlier_parts(
    listed: Sequence[tuple[PartEntry, PartRecord | None]], wanted: set[str], files: ClipFiles
) -> list[PlannedPart]:
    """What becomes of the parts that the manifest lists, with their records."""
    parts = []
    used = {name for entry, _ in listed for name in entry.scenes}
    for entry, record in listed:
        kept = _unchanged(record, entry.scenes, wanted, files) if record else None
        # A part that is made again reads its skipped clips again, unless another part has them meanwhile.
        clips = record.clips if record else entry.scenes
        left = tuple(name for name in clips if name in wanted and (name in entry.scenes or name not in used))
        if kept is not None:
            parts.append(PlannedPart(tuple(kept.clips), entry.seed_frame, kept))
        elif not wanted.isdisjoint(entry.scenes):
            parts.append(PlannedPart(left, entry.seed_frame))
    return parts


def _unchanged(record: PartRecord, names: Sequence[str], wanted: set[str], files: ClipFiles) -> PartRecord | None:
    """The record with the times of now if all these clips are wanted and their files unchanged."""
    if not wanted.issuperset(names):
        return None
    stamps = {}
    for name in names:
        stamp = files.unchanged(name, record.stamp(name))
        if stamp is None:
            return None
        stamps[name] = stamp
    return record.with_stamps(stamps)


def divide_clips(
    names: Sequence[str], group: Callable[[str], str], about_frames: Callable[[str], int], *, frames: int
) -> list[tuple[str, ...]]:
    """Divide clips into parts of whole groups (chunk files), up to `frames` frames each.

    A group that would bring a part above `frames` starts the next part; one that is larger is a part by itself.
    """
    parts: list[tuple[str, ...]] = []
    held = 0
    for _, grouped in groupby(names, group):
        clips = tuple(grouped)
        coming = sum(map(about_frames, clips))
        if parts and held + coming <= frames:
            parts[-1] += clips
        else:
            parts.append(clips)
            held = 0
        held += coming
    return parts
