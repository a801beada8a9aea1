"""`wildrayzer seeds`: runs of one configuration under several seeds, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.errors import reported

app = typer.Typer()


@app.command()
def seeds(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, such as results/demo")],
) -> None:
    """Print a Markdown table of several runs: each with its intervals, and the spread over them."""
    from wildrayzer.evaluation.tables.seeds import seeds_table

    with reported():
        typer.echo(seeds_table(runs))
