"""Paths in object stores: `s3://BUCKET/run/frames/own.json` is read like a local file, through obstore.

Address, region and keys come from the environment, as for other programs: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_REGION`, and for other servers than Amazon's `AWS_ENDPOINT_URL` (with `AWS_ALLOW_HTTP=true` if it begins with
`http:`). Nothing is written to an object store.
"""

import errno
import functools
import io
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # too slow for those who only want the name of a file
    import zarr

SCHEMES = ("s3", "gs", "az")
"""Kinds of object stores, as URLs begin."""


class ObjectPath(type(Path())):  # type: ignore[misc]
    """A file or folder of an object store, to read: of the methods of a path, those that need no file system.

    A folder is what begins the names of files. Its parts are the scheme, the bucket and the names.
    """

    __slots__ = ()

    @property
    def _key(self) -> str:
        return "/".join(self.parts[2:])

    @property
    def _client(self) -> Any:
        return _client(f"{self.parts[0]}//{self.parts[1]}", os.getpid())

    def __str__(self) -> str:
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is no local file; copy it to a local disk for this purpose")

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size of a file; a folder has none."""
        import obstore

        try:
            size, kind = obstore.head(self._client, self._key)["size"], stat.S_IFREG
        except FileNotFoundError:
            if not self._children():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from None
            size, kind = 0, stat.S_IFDIR
        return os.stat_result((kind, 0, 0, 0, 0, 0, size, 0, 0, 0))

    def _is(self, *kinds: int) -> bool:
        try:
            return stat.S_IFMT(self.stat().st_mode) in kinds
        except FileNotFoundError:
            return False

    def is_file(self) -> bool:
        """Whether there is a file of this name."""
        return self._is(stat.S_IFREG)

    def is_dir(self) -> bool:
        """Whether names of files begin with this name and a slash."""
        return self._is(stat.S_IFDIR)

    def exists(self) -> bool:
        """Whether it is a file or a folder."""
        return self._is(stat.S_IFREG, stat.S_IFDIR)

    def _children(self) -> list[str]:
        import obstore

        found = obstore.list_with_delimiter(self._client, self._key)
        return [*found["common_prefixes"], *(one["path"] for one in found["objects"])]

    def iterdir(self) -> Iterator["ObjectPath"]:
        """What lies directly below a folder."""
        return (self / name.rpartition("/")[2] for name in self._children())

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Files that fit `NAME` or `NAME/NAME`; the first name may have wildcards."""
        first, _, rest = pattern.partition("/")
        for child in self.iterdir():
            if fnmatch(child.name, first) and (not rest or (child / rest).is_file()):
                yield child / rest if rest else child

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> "ObjectFile":
        """Open a file; parts of it are fetched when they are read.

        Raises:
            FileNotFoundError: there is none.
        """
        assert mode == "rb", "files of object stores are only read"
        found = self.stat()
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self))
        return ObjectFile(self._client, self._key, found.st_size)

    def read_bytes(self) -> bytes:
        """The whole file, in one request."""
        import obstore

        return bytes(obstore.get(self._client, self._key).bytes())

    def read_text(self, encoding: str | None = None, *_: Any) -> str:
        """The whole file as text."""
        return self.read_bytes().decode(encoding or "utf-8")


class ObjectFile(io.RawIOBase):
    """A file of an object store: every read is one request for that range."""

    def __init__(self, client: Any, key: str, size: int) -> None:
        self._client, self._key, self.size, self._place = client, key, size, 0

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""
        import obstore

        length = min(length, self.size - offset)
        return bytes(obstore.get_range(self._client, self._key, start=offset, length=length)) if length > 0 else b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place, counted from the start, from here or from the end."""
        self._place = offset + (0, self._place, self.size)[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file reaches."""
        content = self.read_at(self._place, len(buffer))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def zarr_group(path: Path) -> "zarr.Group":
    """A Zarr group, opened for reading through Zarr's own stores, wherever it lies."""
    import zarr
    from zarr.storage import ObjectStore

    if not isinstance(path, ObjectPath):
        return zarr.open_group(path, mode="r")
    return zarr.open_group(ObjectStore(_client(str(path), os.getpid()), read_only=True), mode="r")


def located(path: str | Path) -> Path:
    """The path of a local file, or of one in an object store where its name begins like `s3://`."""
    if isinstance(path, Path):
        return path
    return ObjectPath(path) if path.partition("://")[0] in SCHEMES and "://" in path else Path(path)


@functools.cache
def _client(bucket: str, _process: int) -> Any:
    """Of this process: connections do not survive a fork.

    Raises:
        ValueError: obstore is not installed, or refuses the address.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise ValueError(
            f"{bucket}: object stores need the package obstore; install the extra `objects`, as in `pip install "
            "wildrayzer[objects]`"
        ) from None
    try:
        return from_url(bucket)
    except BaseError as error:
        raise ValueError(f"{bucket}: {error}; docs/frame-store.md names the variables for server and keys") from None
