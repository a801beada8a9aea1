"""Seeded damage of bytes: what disks, networks and tools do to files, and what somebody hostile would try."""

import random

_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\x7f")
_WORDS = (
    b"null", b"true", b'""', b"[]", b"{}", b"[[]]", b"-1", b"0", b"1e999", b"NaN", b"-1e-320", b'"a"', b"9" * 400,
    b"=cmd|' /C calc'!A0", b'"../../x"', b"[" * 5000, b'"\\ud800"', b"\xff\xfe", b"\xef\xbb\xbf", b"\0",
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One to four kinds of damage, one after the other, and their names."""
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        name = rng.choice(list(_KINDS))
        content = _KINDS[name](content, rng)
        names.append(name)
    return "+".join(names), content


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    value = rng.choice((*_NUMBERS, rng.randbytes(rng.randrange(1, 33))))
    return content[:place] + value + content[place + len(value) :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice((*_NUMBERS, *_WORDS, rng.randbytes(16))) + content[place:]


def _range(content: bytes, rng: random.Random) -> tuple[int, int]:
    first = rng.randrange(len(content) + 1)
    return first, min(len(content), first + rng.choice((1, 4, 16, 64, 512, 4096)))


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _remove(content: bytes, rng: random.Random) -> bytes:
    first, stop = _range(content, rng)
    return content[:first] + content[stop:]


def _zero(content: bytes, rng: random.Random) -> bytes:
    first, stop = _range(content, rng)
    return content[:first] + bytes(stop - first) + content[stop:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    first, stop = _range(content, rng)
    return content[:stop] + content[first:stop] * rng.choice((1, 1, 100)) + content[stop:]


def _word(content: bytes, rng: random.Random) -> bytes:
    """Another value between two places where one may begin or end: in text, one in place of another."""
    places = [place for place, byte in enumerate(content) if byte in b',:[]{}" \n']
    if len(places) < 2:
        return _insert(content, rng)
    number = rng.randrange(len(places) - 1)
    return content[: places[number] + 1] + rng.choice(_WORDS) + content[places[number + 1] :]


_KINDS = {
    "flip": _flip, "overwrite": _overwrite, "insert": _insert, "cut": _cut, "remove": _remove, "zero": _zero,
    "repeat": _repeat, "word": _word,
}  # fmt: skip
