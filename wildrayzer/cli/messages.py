"""Warnings and errors on stderr, in colour where the terminal shows it and the user has not turned it off."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from wildrayzer.io.disk_space import where_full
from wildrayzer.io.printable import printable


def warn(text: str) -> None:
    """Print a warning in yellow."""
    _print(text, typer.colors.YELLOW)


def fail(text: str) -> None:
    """Print an error in red. The caller decides the exit code."""
    _print(text, typer.colors.RED)


@contextmanager
def reported() -> Iterator[None]:
    """Print the message of faulty input and exit with code 2. Other exceptions are bugs and keep their traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        fail(f"error: {printable(f'{error}{where_full(error)}')}")
        raise typer.Exit(2) from None


def _print(text: str, colour: str) -> None:
    """Colours are left out under NO_COLOR and TERM=dumb, and typer leaves them out where stderr is no terminal."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    typer.echo(text if plain else typer.style(text, fg=colour), err=True)
