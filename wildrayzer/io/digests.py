"""Digests: 16 hexadecimal digits of a SHA-256 that identify a value, a file or the state of a folder."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wildrayzer.io.object_store import located


def digest_json(value: Any) -> str:
    """Digest of a JSON-like value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: str | Path) -> str:
    """Digest of a file's content."""
    with located(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def digest_folder(path: str | Path) -> str:
    """Digest of the names, sizes and modification times of all files below a folder.

    No content is read, so it is cheap for thousands of files. Hidden files are left out, links are followed. A folder
    that several links lead to is visited once: links may form a circle.
    """
    entries: list[tuple[str, int | None, int | None]] = []
    visited: set[tuple[int, int]] = set()
    for folder, inner, names in os.walk(path, followlinks=True):
        here = Path(folder).stat()
        if (here.st_dev, here.st_ino) in visited:
            inner.clear()
            entries.append((f"{Path(folder).relative_to(path)}/", None, None))
            continue
        visited.add((here.st_dev, here.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for file in (Path(folder, name) for name in names if not name.startswith(".")):
            status = file.stat() if file.exists() else None  # a link may lead nowhere
            entries.append((str(file.relative_to(path)), status and status.st_size, status and status.st_mtime_ns))
    return digest_json(sorted(entries))


def check_digests(path: str | Path, recorded: Mapping[str, str], expected: Mapping[str, str], stage: str) -> None:
    """Refuse a cache that was made from other inputs.

    Args:
        path: of the cache, for the message.
        recorded: digests that the cache holds.
        expected: digests that it must hold; others are not looked at.
        stage: the stage that makes the cache again.

    Raises:
        ValueError: naming every digest that differs.
    """
    wrong = [
        f"{name} is {recorded.get(name, 'not recorded')}, expected {value}"
        for name, value in expected.items()
        if recorded.get(name) != value
    ]
    if wrong:
        raise ValueError(f"{path} was made from something else: {'; '.join(wrong)}; run the stage {stage} again")
