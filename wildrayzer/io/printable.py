"""Names from outside, fit for a terminal: a file's or scene's name may hold commands for it."""

import unicodedata

_KEPT = "\n\t"


def printable(text: str) -> str:
    """The text with control characters (escape sequences, changes of direction) written as `\\x1b` or `\\u202e`."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _KEPT
        else character
        for character in text
    )
