"""The `wildrayzer` command: a registry of the commands of the modules beside it.

Modules import what is heavy (torch, transformers) within their commands, so that help stays fast.
"""

import typer

from wildrayzer.cli import config, data, ingest, inspect, plan, released, render, score, seeds, summary, tune

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
"""The root command."""

for module in (config, data, ingest, inspect, plan, released, render, score, seeds, summary, tune):
    app.add_typer(module.app)


@app.callback()
def root() -> None:
    """WildRayZer: novel view synthesis of dynamic scenes, learned without labels."""
