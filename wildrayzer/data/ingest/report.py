"""`ingest.json`: what an ingested set was made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wildrayzer.data.ingest.clips import VERSION, IngestOptions, clip_name, cut
from wildrayzer.data.ingest.sources import FoundSources
from wildrayzer.io.files import write_json
from wildrayzer.io.validated import read_validated

REPORT = "ingest.json"
"""File name of the report."""


class IngestedSource(BaseModel):
    """A recording of the set, and the clips that it was cut into."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    """Its clips are named after it."""
    path: str
    """Video or image folder, as it was given."""
    kind: Literal["video", "images"]
    """How it was read."""
    recorded: tuple[int, int]
    """Width and height of the recording, in pixels."""
    size: tuple[int, int]
    """Width and height of the frames written, in pixels."""
    rotation: int
    """Counter-clockwise turn in degrees that made the frames upright."""
    decoded: int
    """Frames decoded."""
    taken: int
    """Frames written."""
    used: int
    """Frames in clips."""
    left_over: int
    """Frames written that are in no clip."""
    clips: tuple[str, ...]
    """Names of its clips."""
    remarks: tuple[str, ...]
    """Anything odd."""
    content: str | None = None
    """Digest of the content of its files; earlier versions recorded none."""
    folder: str | None = None
    """Folder of its frames below `images/`, where that is not `name`."""

    @property
    def frames_folder(self) -> str:
        """Folder of its frames below `images/`."""
        return self.folder or self.name


class IngestReport(BaseModel):
    """What was found, used, left over and skipped, with reasons."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    version: int = VERSION
    """Of the code that wrote the set last."""
    options: IngestOptions
    """How the recordings were cut."""
    sources: tuple[IngestedSource, ...]
    """Recordings in the order of their clips."""
    skipped: dict[str, str] = Field(default_factory=dict)
    """Recordings that could not be used, by path, with the reason."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Files in the folders that are not read, with the reason."""
    copies: dict[str, str] = Field(default_factory=dict)
    """Folders that are no recordings, with the reason."""
    ignored_files: tuple[str, ...] = ()
    """Files that are neither video nor image."""

    @property
    def totals(self) -> dict[str, int]:
        """Numbers of recordings, clips and frames."""
        return {
            "sources": len(self.sources) + len(self.skipped),
            "used": len(self.sources),
            "skipped": len(self.skipped),
            "clips": sum(len(source.clips) for source in self.sources),
            "frames": sum(source.used for source in self.sources),
            "left_over": sum(source.left_over for source in self.sources),
        }

    def document(self) -> dict[str, Any]:
        """Content of the file: the fields, totals over the sources, and how often each reason occurs."""
        reasons = Counter(detail.partition(":")[0] for detail in self.skipped.values())
        return {
            "version": self.version,
            "options": asdict(self.options),
            "images": "PNG, lossless",
            "sources": [source.model_dump(mode="json", exclude_none=True) for source in self.sources],
            "totals": self.totals,
            "reasons": dict(sorted(reasons.items())),
            "skipped": self.skipped,
            "left_out": self.left_out,
            "copies": self.copies,
            "ignored_files": list(self.ignored_files),
        }

    def save(self, root: Path) -> None:
        """Write the file of the set in `root`."""
        write_json(root / REPORT, self.document())


def read_report(root: Path) -> IngestReport:
    """The report of a set, also of one that an earlier version has made.

    Raises:
        ValueError: the folder is no ingested set, its report is damaged, or a later version wrote it.
    """
    file = root / REPORT
    if not file.is_file():
        raise ValueError(f"{root} is no ingested data set: {REPORT} is missing; name a folder that `data ingest` made")
    report = read_validated(file, IngestReport, fix="restore the file, or ingest the recordings into another folder")
    if report.version > VERSION:
        raise ValueError(f"{file} is of version {report.version}, this version reads up to {VERSION}; update")
    return report


def ingested(record: Mapping[str, Any], options: IngestOptions, *, folder: str | None = None) -> IngestedSource:
    """The report's entry of a recording that was used.

    Args:
        record: of `frames.take_in`.
        options: lengths of clips.
        folder: of its frames below `images/`; by default the recording's name.
    """
    bounds = cut(len(record["times"]), options, record["jumps"])
    used = sum(stop - start for start, stop in bounds)
    return IngestedSource(
        **{name: record[name] for name in IngestedSource.model_fields if name in record},
        taken=len(record["times"]),
        used=used,
        left_over=len(record["times"]) - used,
        clips=tuple(clip_name(record["name"], number) for number in range(len(bounds))),
        folder=folder if folder != record["name"] else None,
    )


def make_report(
    records: Sequence[Mapping[str, Any]], used: Sequence[IngestedSource], found: FoundSources, options: IngestOptions
) -> IngestReport:
    """The report of a call.

    Args:
        records: of all sources; a skipped one has a `reason`.
        used: entries of those that were used.
        found: what the paths lead to.
        options: what was asked for.
    """
    return IngestReport(
        options=options,
        sources=tuple(used),
        skipped={record["path"]: record["detail"] for record in records if "reason" in record},
        left_out={str(path): reason for path, reason in found.left_out.items()},
        copies={str(path): reason for path, reason in found.copies.items()},
        ignored_files=tuple(map(str, found.ignored)),
    )
