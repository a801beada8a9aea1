"""Names from outside on the terminal."""

import pytest

from wildrayzer.io.printable import is_text, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("clip[/x]", "clip[/x]"),
        ("a\x1b[2J\x1b]0;title\x07", "a\\x1b[2J\\x1b]0;title\\x07"),
        ("gpj.\u202e\x9b31m", "gpj.\\u202e\\x9b31m"),
        ("\udcff.png", "\\udcff.png"),
        ("a\r\rb", "a\\r\\rb"),
        ("Café 日本\n\tx", "Café 日本\n\tx"),
    ],
)
def test_what_commands_a_terminal_is_written_out(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize(("name", "text"), [("Café 日本 \U0001f600", True), ("a\udcff", False), ("x\ud800y", False)])
def test_names_that_no_file_in_utf_8_can_hold_are_told_apart(name, text):
    assert is_text(name) is text
