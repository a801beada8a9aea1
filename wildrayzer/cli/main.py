"""The `wildrayzer` command: its groups, and the names that commands had before they were grouped.

Commands import what is slow to load (torch, transformers) in their bodies, so that help stays fast.
"""

import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from wildrayzer import __version__
from wildrayzer.cli import app as browser_app
from wildrayzer.cli import config, data, export, init, masks, released, render, run, score
from wildrayzer.cli.messages import warn

RENAMED = {
    "ingest": ("data ingest", ""),
    "inspect": ("masks inspect", ""),
    "tune": ("masks tune", ""),
    "plan": ("run plan", "--config"),
    "summary": ("run summary", "--configfile"),
    "seeds": ("run compare", ""),
    "import-released": ("released import", ""),
    "export-released": ("released export", ""),
    "verify-released": ("released verify", ""),
    "describe": ("released describe", ""),
}
"""Old name of a command: its new name, and the option that its argument CONFIG was."""


_HOME = re.compile(r"(--[\w-]+=)?(~|\$HOME|\$\{HOME\})(/.*)?", re.DOTALL)
"""A path below the home folder, alone or as the value of an option."""


def _ensure_home() -> None:
    """Set HOME to the folder of temporary files where there is none that can be written to.

    Users without an entry in /etc/passwd have none, as in containers. Matplotlib and Snakemake keep files there.
    """
    try:
        writable = os.access(Path.home(), os.W_OK)
    except RuntimeError:  # neither HOME nor an entry
        writable = False
    if not writable:
        os.environ["HOME"] = tempfile.gettempdir()


class RootGroup(TyperGroup):
    """The commands, which answer to their old names too. Old names are in no help text."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace an old name, and the option that is an argument now, before the command is looked up.

        `~` and `$HOME` are replaced where the shell left them: behind `--out=`, in quotes, or without a shell.
        """
        _ensure_home()
        old, *rest = (
            f"{match[1] or ''}{Path.home()}{match[3] or ''}" if (match := _HOME.fullmatch(word)) else word
            for word in args
        )
        args = [old, *rest]
        if old in RENAMED:
            new, option = RENAMED[old]
            if option:
                # Without the option's name, its value is the argument.
                rest = [word.removeprefix(f"{option}=") for word in rest if word != option]
            if not ctx.resilient_parsing:  # while the shell completes a line, nothing may be printed
                was, now = (f"{option} CONFIG", " CONFIG") if option else ("", "")
                warn(f"warning: `wildrayzer {f'{old} {was}'.strip()}` is now `wildrayzer {new}{now}`")
            args = [*new.split(), *rest]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
"""The root command."""

CHECKPOINTS, RUNS = "Checkpoints and renderings", "Runs of the workflow"
app.command(rich_help_panel=CHECKPOINTS)(render.render)
app.command(rich_help_panel=CHECKPOINTS)(browser_app.app)
app.command(rich_help_panel=CHECKPOINTS)(score.score)
app.add_typer(released.app, name="released", rich_help_panel=CHECKPOINTS)
app.command(rich_help_panel=RUNS)(init.init)
app.add_typer(config.app, name="config", rich_help_panel=RUNS)
app.add_typer(data.app, name="data", rich_help_panel=RUNS)
app.add_typer(run.app, name="run", rich_help_panel=RUNS)
app.add_typer(masks.app, name="masks", rich_help_panel=RUNS)
app.add_typer(export.app, name="export", rich_help_panel=RUNS)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"wildrayzer {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit")
    ] = False,
) -> None:
    """WildRayZer: novel view synthesis of dynamic scenes, learned without labels.

    The workflow itself is started with `snakemake`. These commands prepare a run, show its results and use its models.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # bars and signs that the locale's encoding does not have
