"""Archives from strangers: harmful members, broken files, full disks; a killed unpacking goes on."""

import io
import random
import shutil
import stat
import struct
import tarfile
import zipfile
from collections import namedtuple

import pytest

from wildrayzer.datasets.unpack import is_archive, unpack
from wildrayzer.io.disk_space import DiskFullError

GOOD = {"train/a.txt": b"one", "train/deep/b.bin": bytes(range(256)) * 40, "c": b""}


def make_zip(path, members=GOOD, *, kinds=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("train")
        for name, body in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.external_attr = (kinds or {}).get(name, 0o644) << 16
            archive.writestr(info, body)
    return path


def make_tar(path, *infos):
    with tarfile.open(path, "w") as archive:
        for info, body in infos:
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def tar_member(name, *, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_zip_is_unpacked_as_it_was_packed(tmp_path):
    assert unpack(make_zip(tmp_path / "set.zip"), tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == GOOD


def test_a_tar_is_unpacked_as_it_was_packed(tmp_path):
    archive = make_tar(tmp_path / "set.tar", *((tar_member(name), body) for name, body in GOOD.items()))
    assert unpack(archive, tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == GOOD


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    """Chunks of torch are zips: the end of the last one lies where a zip has its own."""
    chunk = make_zip(tmp_path / "chunk").read_bytes()
    members = {"1K/000000.torch": chunk, "1K/000001.torch": chunk}
    archive = make_tar(tmp_path / "set.tar", *((tar_member(name), body) for name, body in members.items()))
    assert unpack(archive, tmp_path / "out") == 2
    assert files_in(tmp_path / "out") == members


def test_broken_compressed_data_names_the_archive(tmp_path):
    body = random.Random(0).randbytes(64) * 400
    archive = make_zip(tmp_path / "set.zip", {"a.txt": body})
    content = bytearray(archive.read_bytes())
    start = content.index(b"a.txt") + len(b"a.txt")
    content[start : start + 40] = b"\xff" * 40
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.zip: a\.txt cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "name", ["../evil", "train/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "\\evil", "train/a\0../evil"]
)
def test_a_member_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path, name):
    archive = make_zip(tmp_path / "set.zip", {"first": b"x", name: b"evil"})
    with pytest.raises(ValueError, match="leaves the folder it is unpacked into; nothing was unpacked"):
        unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {}
    assert {path.name for path in tmp_path.iterdir()} == {"set.zip", "out"}


@pytest.mark.parametrize(("name", "reason"), [(".", "has no name"), ("a/" + "n" * 256, "of more than 255 bytes")])
def test_a_member_whose_name_no_file_can_have_is_refused_and_nothing_is_written(tmp_path, name, reason):
    with pytest.raises(ValueError, match=rf"set\.zip: member .* {reason}.*; nothing was unpacked"):
        unpack(make_zip(tmp_path / "set.zip", {"first": b"x", name: b"y"}), tmp_path / "out")
    with pytest.raises(ValueError, match=rf"set\.tar: member .* {reason}.*; nothing was unpacked"):
        unpack(make_tar(tmp_path / "set.tar", (tar_member("first"), b"x"), (tar_member(name), b"y")), tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    archive = make_zip(tmp_path / "set.zip", {"first": b"x", "link": b"/etc/passwd"}, kinds={"link": kind | 0o777})
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (tar_member("../evil"), "leaves the folder"),
        (tar_member("/evil"), "leaves the folder"),
        (tar_member("link", kind=tarfile.SYMTYPE, link="/etc"), "is a link or a device"),
        (tar_member("link", kind=tarfile.LNKTYPE, link="first"), "is a link or a device"),
        (tar_member("pipe", kind=tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_harmful_members_of_a_tar_are_refused(tmp_path, member, reason):
    archive = make_tar(tmp_path / "set.tar", (tar_member("first"), b"x"), (member, b""))
    with pytest.raises(ValueError, match=reason):
        unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_twins_and_files_within_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "twins.zip", "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("./a", b"2")
    with pytest.raises(ValueError, match="stands in it twice"):
        unpack(tmp_path / "twins.zip", tmp_path / "out")
    with pytest.raises(ValueError, match="'a/b' lies in another file"):
        unpack(make_zip(tmp_path / "nested.zip", {"a": b"1", "a/b": b"2"}), tmp_path / "out")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_named(tmp_path, share):
    members = {"a": random.Random(0).randbytes(5000)}
    for archive in (
        make_zip(tmp_path / "set.zip", members),
        make_tar(tmp_path / "set.tar.gz", (tar_member("a"), members["a"])),
    ):
        archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
        if archive.suffix == ".gz" and share > 0.6:
            continue  # a tar is padded with zeros at its end
        with pytest.raises(ValueError, match="fetch it again"):
            unpack(archive, tmp_path / "out")
        assert files_in(tmp_path / "out") == {}


def test_a_flipped_bit_is_noticed_by_the_members_checksum(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a": random.Random(0).randbytes(5000)})
    body = bytearray(archive.read_bytes())
    body[2500] ^= 1
    archive.write_bytes(body)
    with pytest.raises(ValueError, match="a cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


def test_an_encrypted_member_is_refused(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a": b"secret"})
    body = bytearray(archive.read_bytes())
    entry = body.index(b"PK\x01\x02", body.index(b"PK\x01\x02") + 1)  # the second entry of the central directory
    struct.pack_into("<H", body, entry + 8, 1)
    archive.write_bytes(body)
    with pytest.raises(ValueError, match="'a' is encrypted"):
        unpack(archive, tmp_path / "out")


def test_no_archive_at_all(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="is no whole archive"):
        unpack(tmp_path / "set.zip", tmp_path / "out")


def test_a_killed_unpacking_goes_on_and_half_a_file_is_never_taken_for_a_whole_one(tmp_path):
    archive = make_zip(tmp_path / "set.zip")
    out = tmp_path / "out" / "train"
    (out / "deep").mkdir(parents=True)
    (out / "a.txt").write_bytes(b"ONE")  # finished by the killed call; marked here to see that it stays
    (out / "deep" / ".b.bin.unpacking").write_bytes(b"half")
    unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {**GOOD, "train/a.txt": b"ONE"}


def test_a_member_that_is_named_like_a_temporary_file_is_kept(tmp_path):
    members = {"a": b"first", ".a.unpacking": b"second", ".a.unpacking_": b"third", "n" * 250: b"long"}
    assert unpack(make_zip(tmp_path / "set.zip", members), tmp_path / "out") == 4
    assert files_in(tmp_path / "out") == members


def test_an_archive_that_unpacks_to_far_more_is_refused_unless_its_size_is_stated(tmp_path, monkeypatch):
    monkeypatch.setattr("wildrayzer.datasets.unpack._UNASKED", 1000)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(300_000))  # about 400 bytes
    with pytest.raises(ValueError, match=r"would unpack to 0\.00 GB, more .* set unpacked_size: 300000 of this file"):
        unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == {}
    with pytest.raises(ValueError, match="nothing was unpacked"):
        unpack(archive, tmp_path / "out", unpacked_size=299_999)
    assert unpack(archive, tmp_path / "out", unpacked_size=300_000) == 1


def test_too_small_a_disk_is_refused_before_any_file(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 10_000))
    with pytest.raises(ValueError, match=r"unpacking .* needs 0\.000 GB more"):
        unpack(make_zip(tmp_path / "set.zip"), tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


def test_a_disk_that_gets_full_says_what_to_do_and_keeps_what_is_finished(tmp_path):
    archive = make_zip(tmp_path / "set.zip")
    deep = tmp_path / "out" / "train" / "deep"
    deep.mkdir(parents=True)
    (deep / ".b.bin.unpacking").symlink_to("/dev/full")  # every write fails with "no space left on device"
    with pytest.raises(DiskFullError, match=r"out is full \(.*\): unpacking set\.zip stopped; free space there"):
        unpack(archive, tmp_path / "out")
    assert "train/a.txt" in files_in(tmp_path / "out")
    (deep / ".b.bin.unpacking").unlink()
    unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == GOOD


def test_archives_are_known_by_their_names():
    assert [name for name in ("a.zip", "a.tar", "a.tar.gz", "a.torch", "zip", "a.zip.part") if is_archive(name)] == [
        "a.zip",
        "a.tar",
        "a.tar.gz",
    ]
