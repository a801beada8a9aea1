"""How commands report what is wrong with their input."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def reported() -> Iterator[None]:
    """Print a faulty input's message and leave with exit code 2; other errors are bugs and keep their traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
