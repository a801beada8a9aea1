"""`wildrayzer summary`: a run's tables on the terminal, and where its report is."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.errors import reported

app = typer.Typer()


@app.command()
def summary(
    configfile: Annotated[Path, typer.Option(help="Configuration of the run, such as config/demo.yaml")],
    name: Annotated[str | None, typer.Option(help="Name of the run, where the command line gave it another")] = None,
    results: Annotated[Path, typer.Option(help="Folder of all runs")] = Path("results"),
) -> None:
    """Show the benchmark tables of a run and the path of its report."""
    from wildrayzer.config import load_config
    from wildrayzer.run.layout import RunLayout
    from wildrayzer.stages.report import print_summary

    with reported():
        config = load_config(configfile)
        print_summary(config=config, layout=RunLayout(name or config.name, str(results)))
