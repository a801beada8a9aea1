"""The checksum of a Zarr group's metadata, under its name and under the one of earlier versions."""

import json

import pytest
import zarr

from wildrayzer.io.metadata_checksum import CHECKSUM, check_metadata, has_checksum, put_attributes, read_attributes


@pytest.mark.parametrize("name", [CHECKSUM, "seal"])
def test_a_change_of_any_metadata_is_refused(tmp_path, name):
    folder = tmp_path / "a.zarr"
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    group.create_array("values", shape=(2,), dtype="int64")
    put_attributes(group, folder, {"digest": "abc"})
    attributes = read_attributes(folder)
    # the checksum leaves itself out, so a store of an earlier version has the same one under the earlier name
    group.attrs.put({"digest": "abc", name: attributes[CHECKSUM]})
    assert has_checksum(read_attributes(folder))
    check_metadata(folder, fix="make it again")
    file = folder / "values" / "zarr.json"
    raw = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**raw, "shape": [3]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.zarr: the metadata .* is damaged; make it again"):
        check_metadata(folder, fix="make it again")


def test_a_group_without_a_checksum_is_read_unchecked(tmp_path):
    folder = tmp_path / "a.zarr"
    zarr.open_group(folder, mode="w", zarr_format=3).attrs.put({"digest": "abc"})
    assert not has_checksum(read_attributes(folder))
    check_metadata(folder, fix="make it again")
