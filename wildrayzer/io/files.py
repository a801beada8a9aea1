"""Atomic writes of files, JSON among them: a killed process leaves the old file or the new one, never half of one."""

import glob
import hashlib
import io
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from wildrayzer.io.digests import digest_json
from wildrayzer.io.object_store import located


def umask() -> int:
    """Permission bits that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def has_ended(process: str) -> bool:
    """Whether the process of this host with this number has ended; False where that cannot be told."""
    if not process.isdigit() or not Path("/proc/self").exists():
        return False
    try:
        status = Path("/proc", process, "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    # The state follows the name, which is in brackets and may hold any character. A killed process stays as a zombie
    # until its parent asks for it.
    return status.rpartition(")")[2].split()[0] in ("Z", "X")


_searched: set[Path] = set()
"""Folders in which this process has looked for temporary files of ended writers."""


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files that ended processes of this host have left in a folder; once per process and folder."""
    if folder in _searched:
        return
    _searched.add(folder)
    for file in folder.glob(f".*{glob.escape(_mark())}*"):
        if has_ended(file.name.rpartition(_mark())[2].partition("-")[0]):
            file.unlink(missing_ok=True)


def _mark() -> str:
    """What names of temporary files have between the name of their file and the number of their process."""
    return f".new-{socket.gethostname()}-"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path`: write to it in the block; afterwards it is flushed to disk and renamed to `path`.

    The folder is made if it is missing. When the block fails, the temporary file is removed and `path` stays as it was.
    What a killed process of this host has left in the folder is removed first.

    Raises:
        OSError: naming `path`; the disk is full, among others.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    # names are cut, so that a long one has room for what is put behind it
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}{_mark()}{os.getpid()}-")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~umask())  # mkstemp's files are private
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # the error of a full disk does not name the file
        raise


def write_bytes_atomic(path: str | Path, payload: bytes) -> None:
    """Write a file atomically, see `replacing`.

    Raises:
        OSError: naming the file; the disk is full, among others.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(payload)


_CHECKSUM, _MARK = "file_checksum", "sha256 "
"""Last entry of a JSON file that states its own digest."""


def write_json(path: str | Path, value: Any, *, checksum: bool = False) -> None:
    """Write readable JSON atomically.

    Args:
        path: the file.
        value: anything like JSON; other objects are written as their text.
        checksum: add the digest of the content, which `read_json` compares and takes away; for mappings only, and for
            files that nobody edits.
    """
    text = json.dumps(value, indent=2, sort_keys=False, default=str)
    if checksum:
        content = json.loads(text)
        text = json.dumps({**content, _CHECKSUM: f"{_MARK}{digest_json(content)}"}, indent=2)
    write_bytes_atomic(path, f"{text}\n".encode())


def read_json(path: str | Path, *, fix: str = "delete it and run the stage again") -> Any:
    """Read JSON, with or without a byte-order mark; a checksum of `write_json` is compared.

    Args:
        path: the file.
        fix: what to do about a broken file; the default is for files that a stage has written.

    Raises:
        ValueError: the file is not valid JSON, or has changed since it was written; it is named.
        FileNotFoundError: there is no such file.
    """
    path = located(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); {fix}") from None
    # the mark finds the checksum also where its name has changed
    last = next(reversed(content.values()), None) if isinstance(content, dict) else None
    stated = isinstance(last, str) and (_CHECKSUM in content or last.startswith(_MARK))
    if stated and content.pop(_CHECKSUM, None) != f"{_MARK}{digest_json(content)}":
        raise ValueError(f"{path} has changed since it was written: its checksum is {last}; {fix}")
    return content


_DIGEST_BYTES = 32
"""Length of the SHA-256 that leads a file. Such files are streams: their content may be as large as the memory left."""


@contextmanager
def written_behind_digest(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file `path`, led by its SHA-256; see `replacing`.

    Raises:
        OSError: naming the file; the disk is full, among others. Also where a writer such as torch.save hides it behind
            an error of its own.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(bytes(_DIGEST_BYTES))
        payload = _HashedWriter(stream)
        try:
            yield cast(BinaryIO, payload)
        except RuntimeError:
            if payload.failure is None:
                raise
            raise payload.failure from None
        stream.seek(0)
        stream.write(payload.digest())


@contextmanager
def read_behind_digest(path: Path) -> Iterator[BinaryIO | None]:
    """What follows the SHA-256 that leads a file, as a stream of its own; None where the two do not fit."""
    with path.open("rb") as stream:
        digest = stream.read(_DIGEST_BYTES)
        whole = hashlib.file_digest(stream, "sha256").digest() == digest
        yield cast(BinaryIO, _Payload(stream)) if whole else None


class _HashedWriter(io.RawIOBase):
    """Passes on what is written and keeps its SHA-256 and the error of a write that failed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._hash = stream, hashlib.sha256()
        self.failure: OSError | None = None

    def write(self, content: Any) -> int:
        self._hash.update(content)
        try:
            return self._stream.write(content)
        except OSError as error:
            self.failure = error
            raise

    def digest(self) -> bytes:
        return self._hash.digest()


class _Payload(io.RawIOBase):
    """A file without its first bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek(0)

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        shift = _DIGEST_BYTES if whence == os.SEEK_SET else 0
        return self._stream.seek(offset + shift, whence) - _DIGEST_BYTES

    def tell(self) -> int:
        return self._stream.tell() - _DIGEST_BYTES
