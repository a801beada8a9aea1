"""Downloads that survive what servers do: broken and stalled connections, wrong lengths, ignored ranges, dead mirrors.

Bytes go to `NAME.part`, which stays when a download fails and is continued by the next try. The target appears by
renaming, after length and checksum were found right: a target that exists is complete.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from pydantic import BaseModel

from wildrayzer.datasets.progress import transfer_progress
from wildrayzer.datasets.table import RemoteFile
from wildrayzer.io.disk_space import require_space, writing
from wildrayzer.io.files import write_json
from wildrayzer.io.locks import is_held, locked
from wildrayzer.io.validated import read_validated

logger = logging.getLogger(__name__)

BLOCK = 1 << 20
_COUNT = "[0-9]{1,18}"
"""A number of bytes in a header."""
_LATER = {408, 425, 429, 500, 502, 503, 504}
"""Answers that another try may better."""
_GZIPPED = {"gzip", "x-gzip"}
_ENCODED = {*_GZIPPED, "deflate", "br", "zstd", "compress", "x-compress"}
"""What Content-Encoding says of a body that is not the file itself."""


class DownloadError(ValueError):
    """A download that did not succeed; the message names the file, every mirror's answer and the fix."""


class _MirrorError(Exception):
    """What a mirror answered. `again`: another try at the same mirror may help."""

    def __init__(self, message: str, *, again: bool, wait: float = 0.0) -> None:
        super().__init__(message)
        self.again, self.wait = again, wait


@dataclass(frozen=True)
class Patience:
    """How long to try."""

    tries: int = 6
    """Tries at a mirror without progress before the next one is asked."""
    first_wait: float = 1.0
    """Seconds before the second try; doubled at each further one."""
    longest_wait: float = 60.0
    """Largest wait in seconds, whatever the server asks for."""
    stall: float = 60.0
    """Seconds without a byte after which a connection counts as dead."""
    sleep: Callable[[float], None] = time.sleep
    """Waits."""


def shown(address: str) -> str:
    """An address fit for messages: without user, password and query, where tokens may be."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def verify_file(path: str | Path, file: RemoteFile) -> str | None:
    """What is wrong with a downloaded file: its size or checksum; None where nothing is, or nothing is published."""
    path = Path(path)
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes, {file.size} are published"
    for kind, published in (("sha256", file.sha256), ("md5", file.md5)):
        if published is None:
            continue
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, kind).hexdigest()
        if not digest.startswith(published):
            return f"{kind} is {digest}, {published} is published"
    return None


def download(file: RemoteFile, target: str | Path, *, patience: Patience | None = None) -> None:
    """Download a file unless it is there; two downloads of the same target wait for each other.

    Raises:
        DownloadError: no mirror gave the file, what they gave was wrong, or the disk is too small.
    """
    target, patience = Path(target), patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target):
        if target.exists():
            return
        answers = []
        for address in file.mirrors:
            try:
                _from_mirror(address, file, target, patience)
            except _MirrorError as error:
                answers.append(f"{shown(address)}: {error}")
                logger.warning("%s: %s", shown(address), error)
                continue
            logger.info("%s: complete, from %s", target, shown(address))
            return
    raise DownloadError(
        f"{file.name} could not be downloaded:\n  " + "\n  ".join(answers) + f"\nStart again later (what has arrived "
        f"stays in {_partial(target)}), add a mirror to the table of sources, or put the file at {target} yourself"
    )


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """One process at a time works on what will be at `target`; others wait."""
    lock = target.with_name(f".{target.name}.lock")
    if is_held(lock):
        logger.info("%s is being fetched by another process; waiting for it", target)
    with locked(lock, wait=True):
        yield


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _origin_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def _from_mirror(address: str, file: RemoteFile, target: Path, patience: Patience) -> None:
    """Tries at one mirror; those that got further than any before do not count."""
    failures, furthest = 0, -1
    while True:
        try:
            resumed = _transfer(address, file, target, patience)
        except _MirrorError as error:
            size = _size(_partial(target))
            failures = 0 if size > furthest >= 0 else failures + 1
            furthest = max(furthest, size)
            if not error.again or failures >= patience.tries:
                raise
            wait = max(error.wait, patience.first_wait * 2 ** max(failures - 1, 0))
            logger.info("%s: %s; trying again", shown(address), error)
            patience.sleep(min(wait, patience.longest_wait))
            continue
        wrong = verify_file(_partial(target), file)
        if wrong is None:
            break
        _forget(target)
        if not resumed:
            raise _MirrorError(wrong, again=False)
        logger.warning("%s: %s; starting from the first byte", shown(address), wrong)
    with _partial(target).open("rb") as stream:
        os.fsync(stream.fileno())
    _partial(target).replace(target)
    _origin_file(target).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(target: Path) -> None:
    _partial(target).unlink(missing_ok=True)
    _origin_file(target).unlink(missing_ok=True)


class _Origin(BaseModel):
    """Where a partial file comes from."""

    address: str
    validator: str | None = None


def _resume_headers(address: str, target: Path) -> tuple[int, dict[str, str]]:
    """Bytes to keep, and headers that ask for the rest of the same version of the file."""
    have = _size(_partial(target))
    if not have:
        return 0, {}
    try:
        origin = read_validated(_origin_file(target), _Origin, fix="")
    except (OSError, ValueError):
        return 0, {}
    if origin.address != shown(address):
        return 0, {}  # another mirror may hold another version
    headers = {"Range": f"bytes={have}-"}
    if origin.validator:
        headers["If-Range"] = origin.validator
    return have, headers


def _transfer(address: str, file: RemoteFile, target: Path, patience: Patience) -> bool:
    """One connection; returns whether it continued an earlier one. The partial file is complete on return."""
    have, headers = _resume_headers(address, target)
    headers["Accept-Encoding"] = "identity"  # lengths and ranges count the bytes of the file itself
    try:
        with requests.get(address, headers=headers, stream=True, timeout=(patience.stall, patience.stall)) as answer:
            if urlsplit(address).scheme == "https" and urlsplit(answer.url).scheme != "https":
                raise _MirrorError("redirects from https to http, which is refused", again=False)
            start, total = _accepted(answer, have, file, target)
            if start != total:
                _write_origin(answer, address, target)
                if total is not None:
                    require_space(target.parent, total - start, purpose=target.name)
                _append(answer, target, start, total, patience)
    except requests.TooManyRedirects:
        raise _MirrorError("redirects without end", again=False) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise _MirrorError(f"is no usable address: {type(error).__name__}", again=False) from None
    except requests.RequestException as error:
        raise _MirrorError(_reason(error, patience), again=True) from None
    size = _size(_partial(target))
    if total is not None and size != total:
        raise _MirrorError(f"ended after {size} of {total} bytes", again=True)
    return start > 0


def _reason(error: requests.RequestException, patience: Patience) -> str:
    """How a connection ended; the library's text may hold the address with a token in it."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"stalled for {patience.stall:g} s"
    return f"connection failed ({type(error).__name__})"


def _accepted(answer: requests.Response, have: int, file: RemoteFile, target: Path) -> tuple[int, int | None]:
    """First byte and whole length of what an answer brings."""
    status = answer.status_code
    if status == 416:  # nothing is left to send, or the file has become shorter
        whole = re.fullmatch(rf"bytes \*/({_COUNT})", answer.headers.get("Content-Range", ""))
        if whole and int(whole[1]) == have:
            return have, have
        _forget(target)
        raise _MirrorError("refused to continue; starting from the first byte", again=True)
    if status not in (200, 206):
        wait = float(_number(answer.headers.get("Retry-After")) or 0)
        raise _MirrorError(f"answers {status} {answer.reason}", again=status in _LATER, wait=wait)
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise _MirrorError("sends a web page in place of the file", again=False)
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    # servers call a file that is gzipped itself so, and send it as it is
    if encoding in _ENCODED and not (encoding in _GZIPPED and file.name.endswith((".gz", ".tgz"))):
        raise _MirrorError(f"sends the file encoded as {encoding}, unasked", again=False)
    start, total = 0, None
    if status == 206:
        span = re.fullmatch(rf"bytes ({_COUNT})-{_COUNT}/({_COUNT}|\*)", answer.headers.get("Content-Range", ""))
        if not span or int(span[1]) != have:
            _forget(target)
            raise _MirrorError("sends another range than was asked for", again=True)
        start, total = have, None if span[2] == "*" else int(span[2])
    else:
        total = _number(answer.headers.get("Content-Length"))
    if total == 0:
        raise _MirrorError("sends an empty file", again=False)
    if file.size is not None and total not in (None, file.size):
        raise _MirrorError(f"offers {total} bytes, {file.size} are published", again=False)
    return start, file.size if total is None else total


def _number(header: str | None) -> int | None:
    """The number in a header; None where there is none, or something else."""
    return int(header) if header is not None and re.fullmatch(_COUNT, header.strip()) else None


def _write_origin(answer: requests.Response, address: str, target: Path) -> None:
    tag = answer.headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
    write_json(_origin_file(target), {"address": shown(address), "validator": validator})


def _append(answer: requests.Response, target: Path, start: int, total: int | None, patience: Patience) -> None:
    """Write the body from byte `start` on; what arrived before a connection ends is kept."""
    with (
        writing(target.parent, purpose=target.name),
        _partial(target).open("r+b" if start else "wb") as stream,
        transfer_progress(target.name, total) as arrived,
    ):
        stream.seek(start)
        arrived(start)
        place = start
        for block in _blocks(answer, patience, total):
            place += len(block)
            if total is not None and place > total:  # a server may send without end what it has stated no length for
                _forget(target)
                raise _MirrorError(f"sends more than the {total} bytes that are published or stated", again=False)
            stream.write(block)
            arrived(len(block))


def _blocks(answer: requests.Response, patience: Patience, total: int | None) -> Iterator[bytes]:
    """The body as it comes in: blocks are not filled up first, so that a broken connection loses no bytes."""
    while True:
        try:
            block = answer.raw.read1(BLOCK)
        except urllib3.exceptions.ReadTimeoutError:
            raise _MirrorError(f"stalled for {patience.stall:g} s", again=True) from None
        except (urllib3.exceptions.HTTPError, ConnectionError) as error:
            if total is None:
                raise _MirrorError(f"broke off ({type(error).__name__})", again=True) from None
            return  # the size tells how far it came
        if not block:
            return
        yield block
