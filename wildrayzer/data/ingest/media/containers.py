"""Whether a video file is all there, by the sizes that its container writes down."""

import os
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = bytes.fromhex("1A45DFA3"), bytes.fromhex("18538067")
_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip", b"pnot")
"""What MP4 and QuickTime files begin with."""


def is_cut_short(path: Path) -> bool:
    """Whether a file ends before an outermost part of it does: boxes of MP4 and QuickTime, the Matroska segment.

    False where the container does not say how long its parts are, and for other containers.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        stream.seek(0)
        if head[:4] == _EBML:
            return _segment_end(stream) > size
        return head[4:] in _BOXES and _boxes_end(stream, size) > size


def _boxes_end(stream: BinaryIO, size: int) -> int:
    """Where the last box ends (ISO 14496-12, 4.2): 32 bits of size, the type, then 64 bits if the size is 1."""
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        length = int.from_bytes(stream.read(4))
        if length == 1:
            length = int.from_bytes(stream.read(12)[4:])
        if length < 8:  # 0: to the end of the file
            break
        place += length
    return place


def _segment_end(stream: BinaryIO) -> int:
    """Where the segment ends (RFC 8794, 4 and 5); 0 for a segment of unknown size, as live recorders write it."""
    stream.seek(_number(stream, skip=len(_EBML)) or 0, os.SEEK_CUR)
    if stream.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _number(stream)
    return 0 if length is None else stream.tell() + length


def _number(stream: BinaryIO, *, skip: int = 0) -> int | None:
    """A number of 1 to 8 bytes, whose leading zero bits count the further bytes; None if all its bits are ones."""
    stream.seek(skip, os.SEEK_CUR)
    first = (stream.read(1) or b"\0")[0]
    further = 8 - first.bit_length()
    bits = 7 * (further + 1)
    value = int.from_bytes(bytes([first]) + stream.read(further)) & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 else value
