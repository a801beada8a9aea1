"""`wildrayzer config`: check a configuration, and keep its reference up to date."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported

app = typer.Typer(no_args_is_help=True, help="Check a configuration; regenerate its reference.")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Configurations, such as config/demo.yaml")],
) -> None:
    """Check configurations and list where they differ from the paper.

    Exit code 2 if one cannot run.
    """
    from wildrayzer.config import load_config

    for file in files:
        with reported():
            config = load_config(file)
        typer.echo(f"{file}: run {config.name!r} can run")
        for line in config.deviations or ("nothing",):
            typer.echo(f"  differs from the paper: {line}")


@app.command()
def reference(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if a file is out of date")] = False,
    root: Annotated[Path, typer.Option(help="Checkout of the repository")] = Path(),
) -> None:
    """Generate config/schema.json and docs/config.md from the configuration models."""
    from wildrayzer.config.reference import stale_files, write_generated

    with reported():
        names = stale_files(root) if check else write_generated(root)
    for name in names:
        typer.echo(f"stale    {name}; run `wildrayzer config reference`" if check else f"written  {name}", err=check)
    if check and names:
        raise typer.Exit(1)
