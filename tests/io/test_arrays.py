"""NPY and NPZ files from outside."""

import io
import zipfile

import numpy as np
import pytest

from wildrayzer.io.arrays import read_npy, read_npz

SOME = np.arange(12, dtype=np.int16).reshape(3, 4)


@pytest.mark.parametrize(
    "array", [SOME, np.asfortranarray(SOME), SOME[::2, ::-1], np.float32(3), np.zeros((0, 2)), SOME > 4]
)
def test_arrays_come_back(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", first=array, second=SOME)
    for found in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz")["first"]):
        assert found.dtype == np.asarray(array).dtype
        assert np.array_equal(found, array)
    assert read_npz(tmp_path / "a.npz").keys() == {"first", "second"}


@pytest.mark.parametrize("shape", [b"(10**12,)", b"(300000000000, 10)", b"(-3, -4)", b"(3, 3)"])
def test_a_header_that_does_not_fit_its_file_is_refused(tmp_path, shape):
    stream = io.BytesIO()
    np.save(stream, SOME)
    (tmp_path / "a.npy").write_bytes(stream.getvalue().replace(b"(3, 4), }".ljust(30), (shape + b", }").ljust(30)))
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read: .*; write it again"):
        read_npy(tmp_path / "a.npy")


def test_a_member_that_claims_more_than_its_archive_can_hold_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", bytes(100))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    directory = content.rfind(b"PK\1\2")
    content[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: not readable as NPZ \(a\.npy claims 2147483648 bytes\)"):
        read_npz(tmp_path / "a.npz")


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickled objects"):
        read_npy(tmp_path / "a.npy")
