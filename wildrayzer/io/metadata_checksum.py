"""Zarr groups that say so when their metadata is damaged: a `zarr.json` has no checksum of its own.

The attribute `seal` of a finished group is a digest of the rest of its `zarr.json` and of those of its arrays. Groups
without one, of earlier versions, are read unchecked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from wildrayzer.io.provenance import digest_file, digest_json, read_json

SEAL = "seal"
_METADATA = "zarr.json"


def put_sealed(group: zarr.Group, folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of a group that is otherwise finished and lies in `folder`, with its seal."""
    group.attrs.put(dict(attributes))
    group.attrs.put({**attributes, SEAL: _seal(folder, read_json(folder / _METADATA))})


def read_attributes(folder: Path) -> dict[str, Any]:
    """Attributes of a group, unchecked; empty where there are none.

    Raises:
        ValueError: the file is no JSON.
    """
    raw = read_json(folder / _METADATA)
    attributes = raw.get("attributes", {}) if isinstance(raw, dict) else {}
    return attributes if isinstance(attributes, dict) else {}


def check_seal(folder: Path, *, fix: str) -> None:
    """Refuse a group whose metadata has changed since it was sealed.

    Raises:
        ValueError: naming the group and the fix.
    """
    raw = read_json(folder / _METADATA)
    found = raw["attributes"].get(SEAL)
    if found is not None and found != _seal(folder, raw):
        raise ValueError(f"{folder}: the metadata ({_METADATA} of the group or of its arrays) is damaged; {fix}")


def _seal(folder: Path, raw: dict[str, Any]) -> str:
    attributes = {name: value for name, value in raw["attributes"].items() if name != SEAL}
    arrays = {file.parent.name: digest_file(file) for file in sorted(folder.glob(f"*/{_METADATA}"))}
    return digest_json([{**raw, "attributes": attributes}, arrays])
