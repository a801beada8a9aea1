"""Digests, manifests and atomic writes: how every artefact says what made it."""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wildrayzer import __version__


def digest_json(value: Any) -> str:
    """16 hexadecimal digits that stand for a JSON-like value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: str | Path) -> str:
    """16 hexadecimal digits of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def digest_folder(path: str | Path) -> str:
    """16 hexadecimal digits that stand for the names, sizes and times of change of the files below a folder.

    No content is read, so that it is cheap for thousands of files. Hidden files are left out, links followed.
    """
    found = []
    for folder, inner, names in os.walk(path, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for file in (Path(folder, name) for name in names if not name.startswith(".")):
            status = file.stat() if file.exists() else None  # a link may lead nowhere
            found.append((str(file.relative_to(path)), status and status.st_size, status and status.st_mtime_ns))
    return digest_json(sorted(found))


def check_digests(path: str | Path, found: Mapping[str, str], expected: Mapping[str, str], stage: str) -> None:
    """Refuse a cache that something else made.

    Raises:
        ValueError: naming every digest that differs.
    """
    wrong = [
        f"{name} is {found.get(name, 'not recorded')}, expected {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    if wrong:
        raise ValueError(f"{path} was made from something else: {'; '.join(wrong)}; run the stage {stage} again")


def write_bytes_atomic(path: str | Path, payload: bytes) -> None:
    """Write beside the target, flush to disk, rename over it: a killed process leaves the old file or the new one.

    Raises:
        OSError: naming the target; the disk is full, among others.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk says nothing of which file it is
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Write readable JSON atomically."""
    write_bytes_atomic(path, (json.dumps(value, indent=2, sort_keys=False, default=str) + "\n").encode())


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or broken file is named.

    Raises:
        ValueError: the file is no JSON.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no valid JSON ({error}); delete it and run the stage again") from None


def code_versions() -> Mapping[str, str]:
    """Versions that a manifest records."""
    return {"wildrayzer": __version__, "python": platform.python_version(), "machine": platform.machine()}
