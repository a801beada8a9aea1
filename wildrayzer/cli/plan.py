"""`wildrayzer plan`: what a run will cost, stage by stage, before it starts."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.errors import reported

app = typer.Typer()


@app.command()
def plan(
    config: Annotated[Path, typer.Option(help="Configuration of the run, such as config/paper.yaml")],
    against: Annotated[Path | None, typer.Option(help="Folder of a finished run to compare the plan with")] = None,
    share: Annotated[
        float | None, typer.Option(help="Share of the GPU's stated rate that jobs reach", min=0.01)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="TFLOP/s a GPU reaches in bfloat16, where measured", min=0.01)
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="As `pretrained` of the configuration")] = None,
    results: Annotated[Path, typer.Option(help="Folder of all runs")] = Path("results"),
) -> None:
    """Print jobs, GPU-hours, walltimes and disk of every stage, and what the numbers rest on.

    On a GPU configuration times follow from operation counts and stated or given rates; on a CPU configuration a matrix
    product and a training step are timed here first.
    """
    from wildrayzer.config import load_config
    from wildrayzer.run.layout import RunLayout
    from wildrayzer.tools.planning.cost_table import assumptions, comparison, cost_table
    from wildrayzer.tools.planning.forecast import cpu_rates, forecast, gpu_rates, loader_lines
    from wildrayzer.tools.planning.jobs import planned_stages
    from wildrayzer.tools.planning.split_sizes import split_sizes

    with reported():
        settings = load_config(config)
        if pretrained is not None:
            settings = settings.model_copy(update={"pretrained": pretrained})
        sizes = split_sizes(settings, RunLayout(settings.name, str(results)))
        stages = planned_stages(settings, sizes)
        on_gpu = settings.compute.gpus > 0
        rates = (
            gpu_rates(settings, share=share, rate=None if rate is None else rate * 1e12)
            if on_gpu
            else cpu_rates(settings, stages)
        )
        forecasts = forecast(stages, rates)
        typer.echo(cost_table(forecasts))
        typer.echo("\nAssumptions:\n" + assumptions(rates, {name: size.origin for name, size in sizes.items()}))
        for line in loader_lines(settings, forecasts):
            typer.echo(line)
        if against is not None:
            typer.echo(f"\nAgainst {against}:\n" + comparison(forecasts, against))
