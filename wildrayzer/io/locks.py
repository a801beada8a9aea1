"""Locks between processes, also of several hosts: a process holds a file until it ends, however it ends.

`filelock` keeps the locks (`flock`); processes forked from the holder do not inherit them. File systems without locks
are written to all the same, with a warning.
"""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class LockHeldError(ValueError):
    """Another process holds the lock; `holder` says which: `process NUMBER on HOST`."""

    def __init__(self, path: Path) -> None:
        self.holder = path.read_text(encoding="utf-8").strip()
        super().__init__(f"{path}: {self.holder or 'another process'} holds this lock; wait for it")


def acquire(path: Path, *, wait: bool = False) -> FileLock:
    """Lock a file, which is made if it is missing, and write into it who holds it.

    Args:
        path: of the lock file; its folder must exist. It is left behind after the lock has ended.
        wait: wait for another process that holds the lock.

    Returns:
        The lock: it is held until its `release`, or until the process ends. Keep a reference to it.

    Raises:
        LockHeldError: another process holds the lock, and `wait` is not set.
    """
    # The fallback of filelock is a marker file, which a killed process would leave behind as held.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise LockHeldError(path) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: this file system has no locks (%s); run one process at a time", path, error)
    path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    return lock


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock, see `acquire`, while the block lasts.

    Raises:
        LockHeldError: another process holds the lock, and `wait` is not set.
    """
    lock = acquire(path, wait=wait)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock; None where the file system has no locks."""
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return None
    lock.release()
    return False
