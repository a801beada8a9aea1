"""Files from outside that are not what they seem: placeholders, and archives with flipped bits."""

import re
import zipfile
from pathlib import Path

_WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml|<!--)", re.IGNORECASE)
_HEAD = 512
"""Bytes at the beginning of a file that are looked at."""
_BLOCK = 1 << 20
_ARCHIVE = b"PK\x03\x04"
"""First bytes of an archive that has members (APPNOTE.TXT 4.3.7)."""
_FOLDER = 0x10
"""Bit of the external attributes that marks a folder (APPNOTE.TXT 4.4.15, attributes of MS-DOS)."""


def is_zip(path: str | Path) -> bool:
    """Whether a file is a zip archive that can be opened, by its end: a truncated one is none."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end that claims several disks
        return False


def damage(path: str | Path) -> str | None:
    """What is damaged in a file of torch.save, in words; None if nothing is, or if the format has no checksums.

    Raises:
        zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error: the archive cannot be read.
    """
    if is_zip(path):
        member = damaged_member(path)
        return f"{member} in it is damaged" if member else None
    with Path(path).open("rb") as stream:
        # PyTorch reads archives whose list of contents Python's reader refuses, and nothing could be compared.
        return "its list of contents is damaged" if stream.read(4) == _ARCHIVE else None


def damaged_member(path: str | Path) -> str | None:
    """Name of a member whose content does not have its CRC-32; None if all do, or the file was saved without them.

    A member that is marked as a folder and has content is damaged too: PyTorch reads zeros in place of the content.

    Raises:
        zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error: the archive cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.file_size]
        if folder := next((member.filename for member in members if member.external_attr & _FOLDER), None):
            return folder
        bad = [member.filename for member in members if not _is_whole(archive, member)]
    # torch.serialization.set_crc32_options(False) leaves out all of them.
    return bad[0] if bad and len(bad) < len(members) else None


def _is_whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(member) as stream:
            while stream.read(_BLOCK):
                pass
    except zipfile.BadZipFile as error:
        if not str(error).startswith("Bad CRC-32"):
            raise
        return False
    return True


def placeholder_in(head: bytes) -> str | None:
    """What a file with this beginning is instead of data, and what to do; None if it may be data."""
    if not head:
        return "is empty; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git-LFS and not the file itself; run `git lfs pull` where it came from"
    head = head[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    if _WEB_PAGE.match(head):
        return "is a web page: the server sent an error or a login in place of the file; fetch it again"
    if not head.strip(b"\0"):
        return "begins with zeros: its download or copy was not finished; fetch it again"
    return None


def placeholder(path: str | Path) -> str | None:
    """`placeholder_in` of a file."""
    with Path(path).open("rb") as stream:
        return placeholder_in(stream.read(_HEAD))
