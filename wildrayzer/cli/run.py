"""`wildrayzer run`: its cost, what a change would repeat, what came out of it, and runs side by side."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported, warn

app = typer.Typer(no_args_is_help=True, help="Plan a run; say what a change repeats; sum up results; compare runs.")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration of the run, such as config/demo.yaml")]
Workflow = Annotated[Path, typer.Option(help="The workflow; results lie below the working directory")]
Results = Annotated[Path, typer.Option(help="Folder of all runs")]


@app.command()
def plan(
    configfile: Config,
    against: Annotated[Path | None, typer.Option(help="Folder of a finished run to compare the plan with")] = None,
    share: Annotated[
        float | None, typer.Option(help="Share of the GPU's nominal rate that jobs reach", min=0.01)
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Measured bfloat16 rate of a GPU in TFLOP/s", min=0.01)] = None,
    pretrained: Annotated[str | None, typer.Option(help="Replaces `pretrained` of the configuration")] = None,
    results: Results = Path("results"),
) -> None:
    """Print jobs, GPU-hours, walltime and disk space of every stage.

    The assumptions behind the numbers are printed below them. For a GPU configuration, times follow from operation
    counts and nominal or measured rates. For a CPU configuration, a matrix product and a training step are timed here
    first.
    """
    from wildrayzer.config import load_config
    from wildrayzer.run.layout import RunLayout
    from wildrayzer.tools.planning.cost_table import assumptions, comparison, cost_table
    from wildrayzer.tools.planning.forecast import cpu_rates, forecast, gpu_rates, loader_lines
    from wildrayzer.tools.planning.jobs import planned_stages
    from wildrayzer.tools.planning.savings import saving_lines
    from wildrayzer.tools.planning.split_sizes import split_sizes

    with reported():
        config = load_config(configfile)
        if pretrained is not None:
            config = config.model_copy(update={"pretrained": pretrained})
        sizes = split_sizes(config, RunLayout(config.name, str(results)))
        stages = planned_stages(config, sizes)
        rates = (
            gpu_rates(config, share=share, rate=None if rate is None else rate * 1e12)
            if config.compute.gpus > 0
            else cpu_rates(config, stages)
        )
        forecasts = forecast(stages, rates)
        typer.echo(cost_table(forecasts))
        typer.echo("\nAssumptions:\n" + assumptions(rates, {name: size.origin for name, size in sizes.items()}))
        for line in loader_lines(config, forecasts):
            typer.echo(line)
        savings = list(saving_lines(config, sizes, rates)) if rates.gpu is not None else []
        if savings:
            typer.echo("\nSavings of the configuration:\n" + "\n".join(savings))
        if against is not None:
            typer.echo(f"\nAgainst {against}:\n" + comparison(forecasts, against))


@app.command()
def diff(configfile: Config, snakefile: Workflow = Path("Snakefile")) -> None:
    """List what the next call would make again, and the options that cause it.

    Nothing is run. The exit code is 1 if anything that is finished would be made again.
    """
    from wildrayzer.tools.reruns import difference

    with reported():
        lines = difference(configfile, snakefile=snakefile)
    typer.echo("\n".join(lines) or "Nothing that is finished would be made again.")
    raise typer.Exit(bool(lines))


@app.command()
def adopt(
    configfile: Config,
    snakefile: Workflow = Path("Snakefile"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Take results of other options or of an earlier version as they are")
    ] = False,
) -> None:
    """Take the results of a copied or moved run as they are.

    Sizes and digests are compared first.
    Copying gives files new times, which Snakemake would take for changes. Call this once in the new place.
    """
    from wildrayzer.tools.reruns import adopt as adopt_run

    with reported():
        count = adopt_run(configfile, snakefile=snakefile, keep=keep)
    typer.echo(f"{count} finished jobs taken as they are; `snakemake -n` shows what is left to do.")


@app.command()
def summary(
    configfile: Config,
    name: Annotated[
        str | None, typer.Option(help="Name of the run, if snakemake was called with `--config name=NAME`")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Show all benchmark tables instead")] = False,
    results: Results = Path("results"),
) -> None:
    """Say in a few lines what a run has shown and what did not hold."""
    from wildrayzer.config import load_config
    from wildrayzer.evaluation.tables.highlights import RunHighlights
    from wildrayzer.evaluation.tables.text import print_tables, read_tables, summary_lines, table_console
    from wildrayzer.run.layout import RunLayout

    with reported():
        config = load_config(configfile)
        config = config.model_copy(update={"name": name or config.name})
        layout = RunLayout(config.name, str(results))
        if tables:
            print_tables(read_tables(config, layout))
        else:
            console = table_console()
            for line in summary_lines(RunHighlights.read(config, layout), config):
                console.print(line, markup=False, highlight=False)
            named = f" --name {name}" if name else ""
            typer.echo(f"Tables:  {_program()} run summary {configfile}{named} --tables")
    report = Path(layout.report)
    typer.echo(f"Report:  {report if report.is_file() else f'not written yet; `snakemake report` writes {report}'}")
    if not tables:
        typer.echo(f"Next:    {_program()} masks run VIDEO, for a video of your own; docs/demo.md, to change an option")


def _program() -> str:
    """What to type to call this command again; inside an environment that is not activated, its path."""
    return "wildrayzer" if shutil.which("wildrayzer") else sys.argv[0]


_Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs, such as results/demo")]


@app.command()
def compare(runs: _Runs) -> None:
    """Show runs of several seeds or machines side by side.

    Prints Markdown tables: the machine of each run, its figures with their intervals, and the mean ± standard deviation
    over the runs. For each claim they say whether it holds in all runs.
    """
    from wildrayzer.evaluation.tables.compare import compare_runs

    with reported():
        typer.echo(compare_runs(runs))


@app.command(hidden=True)
def seeds(runs: _Runs) -> None:
    """The name of `compare` in earlier versions."""
    warn("`wildrayzer run seeds` is now `wildrayzer run compare`")
    compare(runs)
