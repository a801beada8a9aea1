"""Which of the recordings that are to be added are in the set already."""

import filecmp
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wildrayzer.data.ingest.report import IngestedSource
from wildrayzer.data.ingest.sources import Source


class KnownRecordings:
    """The recordings of a set, by content, file and name.

    Args:
        root: folder of the set.
        entries: of its report.
    """

    def __init__(self, root: Path, entries: Sequence[IngestedSource]) -> None:
        self._images = root / "images"
        self._by_content = {entry.content: entry.name for entry in entries if entry.content is not None}
        self._by_name = {entry.name.lower(): entry for entry in entries}  # some file systems ignore case
        self._by_place = {Path(entry.path).resolve(): entry for entry in entries}
        self._without_content = [entry for entry in entries if entry.content is None]

    def add(self, source: Source) -> None:
        """Count a source among the recordings: no other one may have its content."""
        self._by_content[source.content] = source.name

    def namesake(self, source: Source) -> IngestedSource | None:
        """The recording that was made of the same file or folder, or has the same name."""
        return self._by_place.get(source.path.resolve()) or self._by_name.get(source.name.lower())

    def with_content(self, source: Source) -> str | None:
        """Name of the recording of the same content."""
        return self._by_content.get(source.content)

    def with_frames(self, record: Mapping[str, Any], folder: Path) -> str | None:
        """Name of the recording with the same frames, among those whose content earlier versions did not record.

        Args:
            record: of `frames.take_in`.
            folder: where its frames lie.
        """
        taken = len(record.get("times", ()))
        candidates = (entry for entry in self._without_content if entry.taken == taken)
        return next((entry.name for entry in candidates if _equal(folder, self._images / entry.frames_folder)), None)


def _equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same PNG files."""
    names = sorted(file.name for file in one.glob("*.png"))
    same = names == sorted(file.name for file in other.glob("*.png"))
    return same and not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])
