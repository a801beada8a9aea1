"""`wildrayzer data`: sources of data and weights, and whether a run has what it needs."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.errors import reported

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="Sources of data and weights; what a run needs of them.")
app.add_typer(group, name="data")

Table = Annotated[Path | None, typer.Option(help="Table of sources [default: resources/sources.yaml]")]


@group.command()
def sources(table: Table = None) -> None:
    """List the table of sources: what each is, its parts, size and licence, and what must be accepted where."""
    from wildrayzer.datasets.listing import describe_sources
    from wildrayzer.datasets.table import load_table

    with reported():
        typer.echo(describe_sources(load_table(table)))


@group.command()
def check(
    configfile: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration, such as config/paper.yaml")],
    table: Table = None,
    frames: Annotated[bool, typer.Option("--frames", help="Count frames too: opens every scene file")] = False,
    online: Annotated[bool, typer.Option("--online", help="Ask the hub whether your token has access")] = False,
) -> None:
    """Check paths, tokens, checksums and counts that a run needs, before it starts; exit code 1 if one is missing."""
    from wildrayzer.config import load_config
    from wildrayzer.datasets.check import check_run
    from wildrayzer.datasets.listing import describe_findings
    from wildrayzer.datasets.table import load_table

    with reported():
        config = load_config(configfile)
        findings = check_run(config, load_table(table or config.data.sources), frames=frames, online=online)
        typer.echo(describe_findings(findings))
    if any(finding.state == "miss" for finding in findings):
        raise typer.Exit(1)


@group.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Sources, as `wildrayzer data sources` names them")
    ],
    part: Annotated[
        list[str] | None, typer.Option(help="Fetch a source only if one of these parts of it is missing [default: any]")
    ] = None,
    table: Table = None,
) -> None:
    """Fetch sources into their places below resources/, as the workflow's jobs do; can be stopped and started again.

    A source is downloaded whole, and all of its missing parts are filled.
    """
    import logging
    import sys

    from wildrayzer.datasets.fetch import fetch_source
    from wildrayzer.datasets.table import load_table

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with reported():
        known = load_table(table)
        for name in names:
            for place in fetch_source(known, name, parts=part):
                typer.echo(place)
