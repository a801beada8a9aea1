"""Damage of PyTorch's archives that PyTorch itself reads as other numbers."""

import pytest
import torch

from wildrayzer.io.damaged_files import damage


@pytest.mark.parametrize(
    ("mark", "distance", "value"),
    [
        (b"PK\x01\x02", 38, 0x10),  # external attributes of the first member: a folder, whose content is not read
        (b"PK\x01\x02", 16, 0x01),  # its CRC-32
        (torch.ones(3).numpy().tobytes(), 0, 0x01),  # its content
    ],
)
def test_a_changed_byte_of_a_member_is_found(tmp_path, mark, distance, value):
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(3)}, path)
    assert damage(path) is None
    content = bytearray(path.read_bytes())
    content[content.index(mark) + distance] ^= value
    path.write_bytes(content)
    assert damage(path) is not None


def test_an_archive_without_its_list_of_contents_is_damaged_and_the_old_format_is_not(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "new.pt")
    content = (tmp_path / "new.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: content.rindex(b"PK\x05\x06")])
    assert damage(tmp_path / "cut.pt") == "its list of contents is damaged"
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert damage(tmp_path / "old.pt") is None
