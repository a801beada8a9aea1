"""Checksums of PyTorch's archives, which torch.load does not compare: a flipped bit would be a changed number."""

import zipfile
from pathlib import Path

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
