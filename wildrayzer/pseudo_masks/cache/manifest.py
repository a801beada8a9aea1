"""The manifest of a cache: which parts it consists of, in the order of the split.

`residuals.json` lists the parts of the residual maps, which lie beside it as `residuals/KEY.zarr`; the masks are stored
in the same way. The key of a part is a digest of everything that the part was made from, so a part never changes: a
split that grows gets new parts, and a part that another option decides has another key.
"""

import hashlib
import json
import logging
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import has_ended, read_json, write_bytes_atomic
from wildrayzer.io.object_store import located
from wildrayzer.io.part_lists import check_names, check_present, part_path, parts_folder
from wildrayzer.pseudo_masks.cache.part import CachePart, unfinished
from wildrayzer.pseudo_masks.cache.writer import part_key

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the file."""
_NO_CHECKSUM = "0" * 16
"""Stands in for the checksum while it is computed."""
_STALE = 24 * 3600
"""Seconds after which what another host has not finished is removed."""


@dataclass(frozen=True)
class PartEntry:
    """A part, as the manifest lists it."""

    key: str
    digests: dict[str, str]
    """Digests of what this part was made from; those of all parts are in the manifest."""
    scenes: list[str]
    lengths: list[int]
    """Frames of each scene."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Counts of `CacheWriter.summary`."""


@dataclass(frozen=True)
class Manifest:
    """What a cache consists of."""

    kind: str
    """Kind of the parts, a key of `ARRAYS`."""
    digests: dict[str, str]
    """Digests of what the whole cache was made from: those that all parts share, and those of the whole split."""
    sizes: dict[str, int]
    """Lengths of the dimensions after `frame`, by name."""
    about: dict[str, Any]
    versions: dict[str, str]
    parts: tuple[PartEntry, ...]
    summary: dict[str, Any] = field(default_factory=dict)
    """Means over the split, for people."""

    @property
    def digest(self) -> str:
        """Digest of the whole cache: that of the only part, or of the list of keys."""
        keys = [part.key for part in self.parts]
        return keys[0] if len(keys) == 1 else digest_json([self.kind, keys])

    @classmethod
    def of_parts(
        cls, kind: str, parts: Sequence[CachePart], *, digests: Mapping[str, str], summary: Mapping[str, Any]
    ) -> "Manifest":
        """The manifest of parts, in their order.

        Args:
            kind: kind of the parts.
            parts: at least one.
            digests: of the whole split, by name; what they do not name is the same for all parts.
            summary: means over the split.

        Raises:
            ValueError: the parts do not belong together.
        """
        first = parts[0]
        shared = {name: value for name, value in first.digests.items() if name not in (*digests, "seed_frame")}
        for part in parts:
            for name, value in shared.items():
                if part.digests.get(name) != value:
                    raise ValueError(
                        f"parts do not belong together: {name} is {value} in {first.path} and "
                        f"{part.digests.get(name)} in {part.path}; {part.fix}"
                    )
            if part.sizes != first.sizes:
                raise ValueError(
                    f"parts do not belong together: {part.path} has a grid {tuple(part.sizes.values())}, {first.path} "
                    f"one of {tuple(first.sizes.values())}; {part.fix}"
                )
        entries = tuple(
            PartEntry(
                part.key,
                {name: value for name, value in part.digests.items() if name not in shared},
                part.scenes,
                part.lengths,
                part.summary,
            )
            for part in parts
        )
        whole = {name: digests.get(name, value) for name, value in first.digests.items() if name != "seed_frame"}
        return cls(kind, whole, first.sizes, first.about, first.versions, entries, dict(summary))

    def save(self, path: str | Path) -> None:
        """Write the manifest, then remove parts beside it that neither it nor the manifest before lists.

        The parts of the manifest before stay until the next time, for those who have it open.
        """
        path = Path(path)
        kept = {part.key for part in self.parts} | _earlier_keys(path)
        write_bytes_atomic(path, self._text().encode())
        _tidy(parts_folder(path), kept)

    def _text(self) -> str:
        """JSON with one line per part."""
        head = {
            "manifest": VERSION,
            "checksum": _NO_CHECKSUM,
            "layout": self.kind,
            "digest": self.digest,
            "summary": self.summary,
            "digests": self.digests,
            "sizes": self.sizes,
            "about": self.about,
            "versions": self.versions,
        }
        lines = ",\n".join(f"    {json.dumps(vars(part))}" for part in self.parts)
        opened = json.dumps(head, indent=2).removesuffix("\n}")
        text = f'{opened},\n  "parts": [\n{lines}\n  ]\n}}\n'
        return text.replace(_NO_CHECKSUM, _checksum(text), 1)

    @classmethod
    def load(cls, path: Path, kind: str, *, fix: str) -> "Manifest":
        """Read a manifest.

        Args:
            path: the file.
            kind: kind of group that it must list.
            fix: what to do about a damaged manifest, for messages.

        Raises:
            ValueError: it is damaged, of another version or kind, lists a part or a scene twice, or lists a part that
                is missing.
        """
        document = read_json(path, fix=fix)
        version = document.get("manifest") if isinstance(document, dict) else None
        if version != VERSION:
            raise ValueError(f"cache {path}: manifest of version {version}, this version reads {VERSION}; {fix}")
        text, recorded = path.read_text(encoding="utf-8"), str(document.get("checksum"))
        if recorded != _checksum(text.replace(recorded, _NO_CHECKSUM, 1)):
            raise ValueError(f"cache {path}: the manifest does not fit its checksum; {fix}")
        if document["layout"] != kind:
            raise ValueError(f"cache {path} lists {document['layout']}, not {kind}; name the right manifest")
        entries = tuple(PartEntry(**part) for part in document["parts"])
        about = {name: document[name] for name in ("digests", "sizes", "about", "versions", "summary")}
        made = cls(kind=kind, parts=entries, **about)
        made._check(path, fix)
        return made

    def _check(self, path: Path, fix: str) -> None:
        """Refuse parts and scenes that are listed twice, parts that are missing, and keys that do not fit."""
        keys = [part.key for part in self.parts]
        check_names(path, keys, [scene for part in self.parts for scene in part.scenes], fix=fix)
        for part in self.parts:
            if part.key != part_key(self.kind, {**self.digests, **part.digests}):
                raise ValueError(f"cache {path}: the part {part.key} was made from something else; {fix}")
        check_present(path, keys, fix=fix)


def _checksum(text: str) -> str:
    """Checksum of the text of a manifest that has none yet."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def made_part(manifest: str | Path, kind: str, digests: Mapping[str, str], *, stage: str) -> CachePart | None:
    """The part that is made from what has these digests, if it is there and complete.

    Args:
        manifest: manifest of the cache; it need not exist yet.
        kind: kind of the part.
        digests: of everything that the part is made from, by name.
        stage: stage that makes it, for messages.
    """
    path = part_path(manifest, part_key(kind, digests))
    if not path.exists():
        return None
    try:
        part = CachePart(path, kind, fix=again(stage, path))
    except ValueError as error:
        logger.warning("%s; it is made again", error)
        return None
    return part if part.key == path.stem else None


def again(stage: str, path: Path) -> str:
    """What to do about a damaged part, for messages: its manifest is up to date for Snakemake, so the rule is named."""
    rule = {"residuals": "residual_part", "pseudo_masks": "vote_masks", "refine": "refine_masks"}[stage]
    return f"delete {path} and run the stage {stage} again (snakemake --forcerun {rule}); all other parts stay"


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of parts; summaries of earlier versions have the same names."""
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as stream:
        return b'"manifest"' in stream.read(64)


def find_group(path: str | Path) -> Path:
    """The manifest at a path or, in runs of earlier versions, the group; the names `.json` and `.zarr` find each other.

    Gives the path itself where neither exists.
    """
    path = located(path)
    if path.suffix not in (".json", ".zarr") or (path.suffix == ".zarr" and path.exists()) or is_manifest(path):
        return path
    manifest, group = path.with_suffix(".json"), path.with_suffix(".zarr")
    return manifest if is_manifest(manifest) else group if group.exists() else path


def is_begun(path: Path) -> bool:
    """Whether some of a cache is there, finished or not; `path` is its manifest or group."""
    names = (path.with_suffix(".zarr"), parts_folder(path))
    return is_manifest(path) or any(name.exists() or bool(unfinished(name)) for name in names)


def _earlier_keys(path: Path) -> set[str]:
    """Keys of the parts that the manifest at `path` lists; none where there is no readable one."""
    if not is_manifest(path):
        return set()
    try:
        return {part["key"] for part in read_json(path)["parts"]}
    except (ValueError, KeyError, TypeError):  # damaged
        return set()


def _tidy(folder: Path, kept: set[str]) -> None:
    """Remove parts that are not to be kept, and what ended processes have left unfinished."""
    for entry in folder.iterdir():
        _, mark, rest = entry.name.partition(".zarr.unfinished-")
        if mark:
            own = f"{socket.gethostname()}-"
            ended = rest.startswith(own) and has_ended(rest.removeprefix(own).partition("-")[0])
            if ended or time.time() - entry.stat().st_mtime > _STALE:
                shutil.rmtree(entry, ignore_errors=True)
        elif entry.suffix == ".zarr" and entry.stem not in kept:
            logger.info("%s is no part of the cache any more; removed", entry)
            shutil.rmtree(entry, ignore_errors=True)
