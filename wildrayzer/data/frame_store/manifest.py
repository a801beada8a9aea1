"""The manifest of a split: one small file that lists the parts of its frame store, in order.

`frames/SPLIT.json` is the manifest, `frames/SPLIT/KEY.zarr` are the parts. Each part is a frame store of its own that
never changes; KEY is the digest of its content. Names and lengths of scenes stand in the manifest, so that a split of
thousands of parts opens without opening any of them.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import read_json, write_bytes_atomic
from wildrayzer.io.object_store import located
from wildrayzer.io.part_lists import check_names, check_present

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the manifest."""
_ONLY_AGAIN = "run the stage `frames` again: parts that are complete are kept"
_AGAIN = f"delete it and {_ONLY_AGAIN}"


@dataclass(frozen=True)
class StorePart:
    """Where a part lies in the concatenation of a split's parts. A part never changes once it is made."""

    key: str
    """Digest of the part's frames, cameras, scene names and options."""
    first_scene: int
    """Scene number of the part's first scene in the split."""
    num_scenes: int
    first_frame: int
    """Frame number of the part's first frame in the split."""
    num_frames: int
    seed_frame: int
    """Base of per-frame seeds: the frame number of the part's first frame when the part was first made. It differs from
    `first_frame` where clips before the part were removed since."""


@dataclass(frozen=True)
class PartEntry:
    """A part as the manifest lists it."""

    key: str
    seed_frame: int
    """See `StorePart`."""
    scenes: tuple[str, ...]
    lengths: tuple[int, ...]
    """Frames of each scene."""


@dataclass(frozen=True)
class SplitManifest:
    """What a split's frame store consists of. All parts agree in frame size, codec, arrays and attributes."""

    image_size: int
    coding: str
    """How frames are coded, see `StoreForm.coding`."""
    arrays: tuple[str, ...]
    """What is known of every frame: `frames`, then `clean`, `masks`, `cameras` where the split has them."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Role, purpose and version of the stage."""
    parts: tuple[PartEntry, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Identifies the content: that of the only part, or a digest of the parts' keys in their order."""
        keys = [part.key for part in self.parts]
        return keys[0] if len(keys) == 1 else digest_json(keys)

    def with_parts(self, parts: Sequence[PartEntry]) -> "SplitManifest":
        """The manifest with these parts."""
        return replace(self, parts=tuple(parts))

    def agrees(self, other: "SplitManifest") -> bool:
        """Whether two manifests differ in nothing but their parts."""
        return self.with_parts(()) == other.with_parts(())

    def places(self) -> tuple[StorePart, ...]:
        """Where each part lies in the concatenation."""
        scenes = accumulate((len(part.scenes) for part in self.parts), initial=0)
        frames = accumulate((sum(part.lengths) for part in self.parts), initial=0)
        return tuple(
            StorePart(part.key, first_scene, len(part.scenes), first_frame, sum(part.lengths), part.seed_frame)
            for part, first_scene, first_frame in zip(self.parts, scenes, frames, strict=False)
        )

    def save(self, path: str | Path) -> None:
        """Write the manifest, one line per part. Its bytes depend only on its content and its name."""
        content = {
            "version": VERSION, "split": Path(path).stem, "digest": self.digest, "image_size": self.image_size,
            "coding": self.coding, "arrays": self.arrays, "attributes": self.attributes,
        }  # fmt: skip
        checksum = digest_json({**content, "parts": [vars(part) for part in self.parts]})
        head = json.dumps({**content, "checksum": checksum})
        lines = ",\n".join(json.dumps(vars(part), separators=(",", ":")) for part in self.parts)
        write_bytes_atomic(path, f'{head[:-1]}, "parts": [\n{lines}\n]}}\n'.encode())

    @classmethod
    def load(cls, path: str | Path, *, complete: bool = True) -> "SplitManifest":
        """Read a manifest.

        Args:
            path: of the manifest.
            complete: all parts must be there.

        Raises:
            ValueError: it is damaged, of another version or of another split; it lists a part or a scene twice, or a
                part that is missing.
        """
        path = located(path)
        document = read_json(path, fix="name the manifest of a frame store (frames/SPLIT.json), or " + _AGAIN)
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            raise ValueError(f"{path}: manifest of version {version}, this version reads {VERSION}; {_AGAIN}")
        if document.pop("checksum", None) != digest_json(document):
            raise ValueError(f"{path}: the manifest has changed since it was written; {_AGAIN}")
        try:
            parts = tuple(
                PartEntry(
                    str(one["key"]), int(one["seed_frame"]), tuple(map(str, one["scenes"])), tuple(one["lengths"])
                )
                for one in document["parts"]
            )
            made = cls(
                int(document["image_size"]), str(document["coding"]), tuple(document["arrays"]),
                dict(document["attributes"]), parts,
            )  # fmt: skip
            split, digest = str(document["split"]), document["digest"]
            fits = all(len(one.scenes) == len(one.lengths) > 0 and min(one.lengths) > 0 for one in parts)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: the manifest is damaged ({error!r}); {_AGAIN}") from None
        if not fits or made.digest != digest:
            raise ValueError(f"{path}: the manifest does not fit its digest or its parts; {_AGAIN}")
        if split != path.stem:
            raise ValueError(
                f"{path}: this is the manifest of the split {split}, and its parts belong to that split; prepare "
                f"{path.stem} by the stage `frames`, or give the file its name back"
            )
        keys = [part.key for part in parts]
        check_names(path, keys, [scene for part in parts for scene in part.scenes], fix=_AGAIN)
        if complete:
            check_present(path, keys, fix=_ONLY_AGAIN)
        return made


def find_store(path: str | Path) -> Path | None:
    """The manifest or the store of one folder that a path leads to; None where there is none.

    Runs of earlier versions have `frames/SPLIT.zarr` instead of `frames/SPLIT.json`; either name finds the other.
    """
    path = located(path)
    if path.is_file() or (path / "zarr.json").is_file():
        return path
    if path.suffix == ".json" and (path.with_suffix(".zarr") / "zarr.json").is_file():
        return path.with_suffix(".zarr")
    if path.suffix == ".zarr" and path.with_suffix(".json").is_file():
        logger.warning("%s is now called %s; use this name", path, path.with_suffix(".json"))
        return path.with_suffix(".json")
    return None
