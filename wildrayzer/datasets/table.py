"""The table of sources, `resources/sources.yaml`, checked; unknown fields are empty there."""

import functools
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from wildrayzer.config.base import Record
from wildrayzer.io.shipped import SOURCES

MANIFEST = "source.json"
"""File in every fetched folder with its source, version and files."""

PartLayout = Literal["pixelsplat", "lvsm", "davis", "huggingface", "folder", "file"]


class RemoteFile(Record):
    """A file to download."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Its name on disk."""
    mirrors: tuple[str, ...] = Field(min_length=1)
    """Addresses, tried in this order."""
    size: int | None = Field(None, ge=1)
    """Bytes."""
    md5: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    """Published MD5."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$")
    """Published SHA-256, or its first digits where no more are published."""
    archive: bool = False
    """A zip or tar file to unpack."""
    unpacked_size: int | None = Field(None, ge=1)
    """Bytes that the archive may unpack to; empty allows 1 GB, or 100 times its size."""

    @field_validator("mirrors")
    @classmethod
    def _addresses(cls, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        for address in mirrors:
            if not address.startswith(("http://", "https://")):
                raise ValueError(f"{address!r} is no http or https address")
            try:
                urlsplit(address)
            except ValueError as error:
                raise ValueError(f"{address!r}: {error}") from None
        return mirrors


class HubRepository(Record):
    """A repository of the Hugging Face hub."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Owner and name."""
    type: Literal["dataset", "model"]
    """Kind of repository."""
    revision: str | None = None
    """Pinned commit; empty takes the newest one and records which it was."""
    patterns: tuple[str, ...] | None = None
    """File names to take; empty takes all."""


class Part(Record):
    """A file or folder that a configuration can name: one split, one weights file."""

    layout: PartLayout
    """Layout that it must have."""
    find: tuple[str, ...] = ()
    """Patterns of its path in the download, of which the first that fits is taken; empty looks for its own name."""
    joins: tuple[str, ...] = ()
    """Parts of the same source whose chunks make up this one, as links; layout `pixelsplat` only."""
    scenes: int | None = Field(None, ge=1)
    """Published number of scenes."""
    frames: int | None = Field(None, ge=1)
    """Published number of frames."""
    windows_of: tuple[str, ...] = ()
    """For a published evaluation index: the sets that it belongs to, as SOURCE/PART."""
    inputs: int | None = Field(None, ge=1)
    """For such an index: input views of its windows."""


class Source(Record):
    """One data set or set of weights."""

    title: str
    """What it is."""
    home: str
    """Page that describes it."""
    version: str | None = None
    """Version or revision."""
    licence: str | None = None
    """Licence as its owners name it."""
    accept: str | None = None
    """What must be accepted, and where, before it can be downloaded."""
    gated: bool = False
    """A token (HF_TOKEN) is needed."""
    folder: str
    """Where its parts go, relative to the working directory."""
    files: tuple[RemoteFile, ...] = ()
    """Files to download."""
    hub: HubRepository | None = None
    """Hub repository to download."""
    size_gb: float | None = Field(None, gt=0)
    """Published size of the download in GB, if no exact size is published."""
    parts: dict[str, Part] = Field(min_length=1)
    """Parts by their path below `folder`."""
    provide: str | None = None
    """How to obtain it, for a source that cannot be downloaded."""
    notes: str | None = None
    """Further remarks."""

    @model_validator(mode="after")
    def _one_way(self) -> "Source":
        if (bool(self.files) + (self.hub is not None) + (self.provide is not None)) != 1:
            raise ValueError("give exactly one of files, hub and provide")
        if self.gated and self.accept is None:
            raise ValueError("gated: true needs accept: what must be accepted, and where")
        for path in (self.folder, *self.parts):
            if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{path!r} must be a relative path without '..'")
        for name, part in self.parts.items():
            unknown = sorted(set(part.joins) - {other for other, entry in self.parts.items() if not entry.joins})
            if unknown or (part.joins and part.layout != "pixelsplat"):
                raise ValueError(f"part {name!r} joins {unknown or part.layout}; join parts of layout pixelsplat")
            if part.layout == "file" and self.files and not any(part.find) and not self._holds(name):
                raise ValueError(f"part {name!r} is no downloaded file and no archive could hold it")
        return self

    def _holds(self, name: str) -> bool:
        return any(file.archive or file.name == name for file in self.files)

    @property
    def download_bytes(self) -> int | None:
        """Size of the download in bytes; None if it is unknown."""
        sizes = [file.size for file in self.files]
        if sizes and None not in sizes:
            return sum(size for size in sizes if size is not None)
        return None if self.size_gb is None else round(self.size_gb * 1e9)

    def place(self, part: str) -> str:
        """Path of a part, relative to the working directory."""
        return str(PurePosixPath(self.folder) / part)


class SourceTable(Record):
    """All sources by name."""

    sources: dict[str, Source]
    """Sources by name."""

    @model_validator(mode="after")
    def _places_differ(self) -> "SourceTable":
        seen: dict[str, str] = {}
        for name, source in self.sources.items():
            for part in source.parts:
                other = seen.setdefault(source.place(part), name)
                if other != name:
                    raise ValueError(f"{source.place(part)} is the place of both {other} and {name}")
        return self

    def at(self, path: str) -> tuple[str, str] | None:
        """Source and part whose place is `path`; None for other paths."""
        wanted = str(PurePosixPath(path))
        for name, source in self.sources.items():
            for part in source.parts:
                if source.place(part) == wanted:
                    return name, part
        return None

    def published_indices(self, name: str | None, inputs: int) -> list[str]:
        """Places of the published evaluation indices of a split's `source` for a number of input views."""
        return [
            source.place(part)
            for source in self.sources.values()
            for part, entry in source.parts.items()
            if name in entry.windows_of and entry.inputs == inputs
        ]

    def published_counts(self, name: str | None) -> tuple[int | None, int | None]:
        """Published numbers of scenes and frames of a split's `source`, written SOURCE/PART; None where not known."""
        if name is None:
            return None, None
        source, _, part = name.partition("/")
        known = self.sources[source].parts[part]
        return known.scenes, known.frames

    def source(self, name: str) -> Source:
        """A source by name.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.sources:
            raise ValueError(f"no source is named {name!r}; known: {', '.join(self.sources)}")
        return self.sources[name]


def load_table(path: str | Path | None = None) -> SourceTable:
    """Read and check a table; None takes the one that comes with the repository.

    Raises:
        ValueError: missing or unreadable file, unknown keys, or sources that contradict themselves.
    """
    path = SOURCES if path is None else Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such table of sources; name one with data.sources or --table") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None
    return _parse(path, text)


# The workflow's modules, one per ablation, load the same table many times.
@functools.lru_cache(maxsize=2)
def _parse(path: Path, text: str) -> SourceTable:
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None
    try:
        return SourceTable.model_validate(raw)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n  - ".join([f"{path} is no valid table of sources:", *lines])) from None
