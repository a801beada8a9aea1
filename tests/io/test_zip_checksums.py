"""Damage of PyTorch's archives that PyTorch itself reads as other numbers."""

import pytest
import torch

from wildrayzer.io.zip_checksums import damaged_member


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
    assert damaged_member(path) is None
    content = bytearray(path.read_bytes())
    content[content.index(mark) + distance] ^= value
    path.write_bytes(content)
    assert damaged_member(path) is not None
