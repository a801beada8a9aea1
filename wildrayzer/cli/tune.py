"""`wildrayzer tune`: sweep options of voting and refinement over cached maps."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.errors import reported
from wildrayzer.run.logs import ignore_time_stamps

app = typer.Typer()


@app.command()
def tune(
    caches: Annotated[
        list[Path],
        typer.Argument(metavar="CACHE...", help="Mask caches, e.g. results/demo/round1/masks/dynamic_test/renderer"),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option and its values, e.g. pseudo_masks.top_share=0.3,0.5; repeat for a grid"),
    ] = None,
    configfile: Annotated[
        Path | None,
        typer.Option(help="Options where nothing is swept; by default those that made the first cache's masks"),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(help="Cache of a static calibration split; by default the configuration's, else the run's file"),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Frame store of the only cache; by default the run's")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tuning.csv, tuning.md and plots")] = Path("tuning"),
    limit: Annotated[int | None, typer.Option(min=1, help="Use so many clips of each split, evenly spread")] = None,
    refine: Annotated[bool, typer.Option("--refine/--no-refine", help="Score pixel masks as well")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core")] = None,
) -> None:
    """Score every combination of the given values against true masks, from cached maps alone: no GPU, no model.

    IoU, recall and precision need true masks; coverage and the share of empty masks are given for every split.
    Clustering options cannot be swept: features are not stored.
    """
    import os

    import pandas as pd
    from rich.console import Console
    from rich.progress import track

    from wildrayzer.config import load_config
    from wildrayzer.evaluation.tuning.options import option_sets, parse_sweep
    from wildrayzer.evaluation.tuning.sweep import check_split
    from wildrayzer.evaluation.tuning.sweep import tune as score_sets
    from wildrayzer.evaluation.tuning.table import write_tables
    from wildrayzer.tools.tune.caches import TuningCaches
    from wildrayzer.tools.tune.chart import write_plots

    ignore_time_stamps()
    with reported():
        sweep = parse_sweep(settings or [])
        opened = TuningCaches.of(caches, load_config(configfile) if configfile else None)
        pseudo_masks, refine_options = opened.options(refine=refine)
        sets = option_sets(sweep, pseudo_masks=pseudo_masks, refine=refine_options)
        splits = opened.splits(calibration=calibration or [], store=store)
        for one in splits:
            check_split(one)
        _usable(out)
        processes = min(workers or os.cpu_count() or 1, len(sets))
        scored = score_sets(splits, sets, limit=limit, refine=refine, workers=processes)
        shown = track(scored, "option sets", total=len(sets), console=Console(stderr=True))
        table = pd.DataFrame([row for rows in shown for row in rows])
        base = f"Other options: {pseudo_masks.model_dump(mode='json')}, {refine_options.model_dump(mode='json')}."
        write_tables(table, out, swept=list(sweep), base=base)
        plots = write_plots(table, out, swept=list(sweep))
    typer.echo(f"{len(sets)} option sets: {out / 'tuning.csv'}, {out / 'tuning.md'}, {len(plots)} plots")
    best = table[table["iou"].notna()].sort_values("iou", ascending=False, kind="stable").groupby(["split", "masks"])
    for (split, masks), rows in best:
        first = rows.iloc[0]
        chosen = ", ".join(f"{name}={first[name]}" for name in sweep) or "as configured"
        typer.echo(
            f"{split}, {masks} masks: best IoU {first['iou']:.1%} at {chosen} "
            f"(recall {first['recall']:.1%}, coverage {first['coverage']:.1%})"
        )


def _usable(out: Path) -> None:
    """Make the folder that the tables go to.

    Raises:
        ValueError: it is a file.
        OSError: it cannot be made or written to.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass
