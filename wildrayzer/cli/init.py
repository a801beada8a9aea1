"""`wildrayzer init`: lay out a project."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder")]) -> None:
    """Lay out a folder to run the workflow in, without a clone of the repository.

    Writes a Snakefile that includes the workflow of the installed package, the shipped configurations, a Slurm profile
    and a README.
    """
    from wildrayzer.tools.project import lay_out_project

    with reported():
        files = lay_out_project(folder)
    typer.echo(f"written  {folder}: {len(files)} files")
    typer.echo(f"next     cd {folder} && snakemake --cores 2 -n")
