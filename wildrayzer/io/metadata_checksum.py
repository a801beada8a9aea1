"""A checksum of the metadata of Zarr groups: Zarr has none for `zarr.json`.

The attribute `metadata_checksum` of a finished group is a digest of the rest of its `zarr.json` and of those of its
arrays. Stores of earlier versions call it `seal`, or have none and are read unchecked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.io.files import read_json

CHECKSUM = "metadata_checksum"
"""Name of the attribute."""
_NAMES = (CHECKSUM, "seal")
_METADATA = "zarr.json"


def put_attributes(group: zarr.Group, folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of a group that is otherwise finished and lies in `folder`, with its checksum."""
    group.attrs.put(dict(attributes))
    group.attrs.put({**attributes, CHECKSUM: _checksum(folder, read_json(folder / _METADATA))})


def read_attributes(folder: Path) -> dict[str, Any]:
    """Attributes of a group, unchecked; empty where there are none.

    Raises:
        ValueError: the file is not valid JSON.
    """
    raw = read_json(folder / _METADATA)
    attributes = raw.get("attributes", {}) if isinstance(raw, dict) else {}
    return attributes if isinstance(attributes, dict) else {}


def has_checksum(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a group hold a checksum; the first versions wrote none."""
    return any(name in attributes for name in _NAMES)


def check_metadata(folder: Path, *, fix: str) -> None:
    """Refuse a group whose metadata has changed since it was finished.

    Raises:
        ValueError: naming the group and the fix.
    """
    raw = read_json(folder / _METADATA)
    recorded = next((raw["attributes"][name] for name in _NAMES if name in raw["attributes"]), None)
    if recorded is not None and recorded != _checksum(folder, raw):
        raise ValueError(f"{folder}: the metadata ({_METADATA} of the group or of its arrays) is damaged; {fix}")


def _checksum(folder: Path, raw: dict[str, Any]) -> str:
    attributes = {name: value for name, value in raw["attributes"].items() if name not in _NAMES}
    arrays = {file.parent.name: digest_file(file) for file in sorted(folder.glob(f"*/{_METADATA}"))}
    return digest_json([{**raw, "attributes": attributes}, arrays])
