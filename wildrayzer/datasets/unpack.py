"""Unpacking archives from strangers: members that leave the folder, links and devices are refused, all or nothing."""

import errno
import logging
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from wildrayzer.datasets.progress import transfer_progress
from wildrayzer.io.disk_space import require_space, writing
from wildrayzer.io.printable import MOST_NAME_BYTES

logger = logging.getLogger(__name__)

_UNASKED, _MOST_TIMES = 1_000_000_000, 100
"""Bytes that any archive may unpack to, and how many times its own size beyond that."""
_LONGEST_NAME = 200
"""Characters of a member's name that its temporary name keeps."""
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError)


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def is_archive(path: str | Path) -> bool:
    """Whether a file name is that of an archive that can be unpacked."""
    return str(path).endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(archive: str | Path, folder: str | Path, *, unpacked_size: int | None = None) -> int:
    """Unpack a zip or tar file into a folder; files that an earlier, killed call has finished are not written again.

    Nothing is written before every member was found harmless. A file appears by renaming, so one that exists is whole.

    Args:
        archive: the file.
        folder: made when missing.
        unpacked_size: bytes that all members may have together. None allows 1 GB, or 100 times the archive's own size.

    Returns:
        Number of files.

    Raises:
        ValueError: the archive is broken or ends early, a member is absolute, leaves the folder, is a link or a
            device, is encrypted or stands twice, there is more in it than allowed, or the disk has no room.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _members(archive) as members:
        _refuse_twins(archive, members)
        _refuse_too_much(archive, members, unpacked_size)
        temporaries = _temporaries(members)
        missing = [member for member in members if not _is_there(folder / member.name, member)]
        needed = sum(member.size for member in missing)
        require_space(folder, needed, purpose=f"unpacking {archive}")
        purpose = f"unpacking {archive.name}"
        with writing(folder, purpose=purpose), transfer_progress(purpose, needed) as arrived:
            for member in missing:
                _write(member, folder, folder / temporaries[member.name], archive)
                arrived(member.size)
    logger.info("%s: %d files unpacked into %s", archive, len(members), folder)
    return len(members)


def _is_there(path: Path, member: Member) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == member.size


def _temporaries(members: list[Member]) -> dict[str, str]:
    """Where each member is written first: a name beside its own that no member has.

    One name, unlike `io.files.replacing`: what a killed call has left there is overwritten and takes no more space.
    """
    names = {member.name for member in members}
    found = {}
    for member in members:
        path = PurePosixPath(member.name)
        temporary = path.with_name(f".{path.name[:_LONGEST_NAME]}.unpacking")
        while str(temporary) in names:
            temporary = temporary.with_name(f"{temporary.name}_")
        found[member.name] = str(temporary)
    return found


def _write(member: Member, folder: Path, temporary: Path, archive: Path) -> None:
    target = folder / member.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, temporary.open("wb") as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
    except (*_BROKEN, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.ENAMETOOLONG):
            raise
        temporary.unlink(missing_ok=True)
        raise ValueError(
            f"{archive}: {member.name} cannot be unpacked ({error}); remove the archive and fetch it again"
        ) from None
    if temporary.stat().st_size != member.size:
        temporary.unlink()
        raise ValueError(f"{archive}: {member.name} ends early; remove the archive and fetch it again")
    temporary.replace(target)


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """The files of an archive, all of them checked."""
    try:
        # By the first bytes: a tar whose last member is a zip, as torch's files are, would pass for that zip.
        if _begins_as_zip(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(archive, opened)
        else:
            with tarfile.open(archive) as packed:
                yield _tar_members(archive, packed)
    except _BROKEN as error:
        raise ValueError(f"{archive} is no whole archive ({error}); remove it and fetch it again") from None


def _begins_as_zip(archive: Path) -> bool:
    with archive.open("rb") as stream:
        return stream.read(2) == b"PK"


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> list[Member]:
    found = []
    for info in opened.infolist():
        if not PurePosixPath(info.filename).name and not info.filename.endswith("/"):
            _refuse(archive, info.filename, "has no name")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse(archive, info.filename, "is a link or a device")
        if info.flag_bits & 1:
            _refuse(archive, info.filename, "is encrypted")
        name = _inside(archive, info.orig_filename)
        if not info.is_dir():
            found.append(Member(name, info.file_size, partial(opened.open, info)))
    return found


def _tar_members(archive: Path, packed: tarfile.TarFile) -> list[Member]:
    found = []
    for info in packed.getmembers():
        if not (info.isreg() or info.isdir()):
            _refuse(archive, info.name, "is a link or a device")
        name = _inside(archive, info.name)
        if info.isreg() and not PurePosixPath(name).name:
            _refuse(archive, info.name, "has no name")
        if info.isreg():
            found.append(Member(name, info.size, partial(_open_in_tar, packed, info)))
    return found


def _open_in_tar(packed: tarfile.TarFile, info: tarfile.TarInfo) -> AbstractContextManager[IO[bytes]]:
    stream = packed.extractfile(info)
    assert stream is not None, "regular files can be read"
    return stream


def _inside(archive: Path, name: str) -> str:
    """The member's path, which must stay below the folder it is unpacked into."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or re.match("[A-Za-z]:", name) or "\0" in name or ".." in path.parts:
        _refuse(archive, name, "leaves the folder it is unpacked into")
    if any(len(part.encode(errors="surrogateescape")) > MOST_NAME_BYTES for part in path.parts):
        _refuse(archive, name, f"has a name of more than {MOST_NAME_BYTES} bytes, which file systems do not take")
    return str(path)


def _refuse_twins(archive: Path, members: list[Member]) -> None:
    names: set[str] = set()
    for member in members:
        if member.name in names:
            _refuse(archive, member.name, "stands in it twice")
        names.add(member.name)
    for name in names:
        if not names.isdisjoint(map(str, PurePosixPath(name).parents)):
            _refuse(archive, name, "lies in another file")


def _refuse_too_much(archive: Path, members: list[Member], allowed: int | None) -> None:
    size, packed = sum(member.size for member in members), archive.stat().st_size
    most = max(_UNASKED, _MOST_TIMES * packed) if allowed is None else allowed
    if size > most:
        raise ValueError(
            f"{archive}: {packed / 1e6:.1f} MB would unpack to {size / 1e9:.2f} GB, more than {most / 1e9:.2f} GB; "
            f"nothing was unpacked. If that is right, set unpacked_size: {size} of this file in the table of sources, "
            "or unpack it yourself"
        )


def _refuse(archive: Path, name: str, reason: str) -> None:
    raise ValueError(f"{archive}: member {name!r} {reason}; nothing was unpacked, do not use this file")
