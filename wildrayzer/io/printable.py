"""Names from outside, fit for a terminal or a file: a file's or scene's name may hold commands for it, or no text."""

import unicodedata

_KEPT = "\n\t"
MOST_NAME_BYTES = 255
"""Bytes of a name that file systems take."""


def is_text(name: str) -> bool:
    """Whether UTF-8 can hold a name. Crafted JSON, and names of files that are not UTF-8, give lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_file_name(name: object) -> bool:
    """Whether a file can have a name: text of at most `MOST_NAME_BYTES` that is no path."""
    if not isinstance(name, str) or not is_text(name) or name in ("", ".", "..") or "\0" in name or "/" in name:
        return False
    return len(name.encode()) <= MOST_NAME_BYTES


def printable(text: str) -> str:
    """The text with control characters (escape sequences, changes of direction) written as `\\x1b` or `\\u202e`."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _KEPT
        else character
        for character in text
    )
