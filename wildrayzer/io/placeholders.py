"""Files that stand in for what should have been there: empty ones, web pages, pointers of git-LFS."""

import re
from pathlib import Path

_WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml|<!--)", re.IGNORECASE)
_BYTES = 512


def placeholder_in(head: bytes) -> str | None:
    """What a file with this beginning is instead of data, and what to do; None if it may be data."""
    if not head:
        return "is empty; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git-LFS and not the file itself; run `git lfs pull` where it came from"
    head = head[:_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _WEB_PAGE.match(head):
        return "is a web page: the server sent an error or a login in place of the file; fetch it again"
    if not head.strip(b"\0"):
        return "begins with zeros: its download or copy was not finished; fetch it again"
    return None


def placeholder(path: str | Path) -> str | None:
    """`placeholder_in` of a file."""
    with Path(path).open("rb") as stream:
        return placeholder_in(stream.read(_BYTES))
