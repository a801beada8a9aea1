"""`wildrayzer masks`: masks of own videos, looking at cached pseudo-masks, and tuning the options that make them."""

import math
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli import mask_scores
from wildrayzer.cli.messages import fail, reported, warn
from wildrayzer.cli.options import Device, Overwrite
from wildrayzer.io.printable import printable
from wildrayzer.run.logs import ignore_time_stamps

app = typer.Typer(no_args_is_help=True, help="Make masks of videos; inspect cached pseudo-masks; tune their options.")
app.command()(mask_scores.score)
NO_RENDER = "Renderings are left out: --no-render."


class Sorting(StrEnum):
    """Order of the windows."""

    window = "window"
    psnr = "psnr"
    coverage = "coverage"
    maps = "maps"
    masks = "masks"
    iou = "iou"


@app.command()
def run(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO...", help="Videos, folders of videos, folders of images")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write, or of an earlier call [default: masks-VIDEO]")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Static renderer that the masks are made with [default: OUT's, else that of the package]"),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Configuration of all other options [default: OUT's, else config/showcase.yaml]")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second to take from a video; 0 takes all [default: OUT's, else 5]")
    ] = None,
    clip_length: Annotated[
        int | None, typer.Option(help="Frames per clip; longer videos are cut [default: OUT's, else 10]")
    ] = None,
    cuts: Annotated[
        bool | None,
        typer.Option("--cuts/--no-cuts", help="Begin a new clip at each cut [default: OUT's, else --cuts]"),
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="CPU cores for the workflow [default: all]")] = None,
) -> None:
    """Make motion masks of videos, without writing a configuration.

    Writes masks/CLIP/FRAME.png (255 moves, 0 does not, 128 not known), overlays/VIDEO.mp4 and index.html. The stages
    are those of the workflow. An interrupted call resumes with the same command, and a call with more videos adds them.
    OUT/config.yaml holds all options: edit it, and the next call makes again what depends on the change.
    """
    import os

    from wildrayzer.tools.video_masks.video_masks import video_masks
    from wildrayzer.tools.video_masks.workspace import Workspace

    ignore_time_stamps()
    folder = out or Path(f"masks-{videos[0].resolve().stem}")
    with reported():
        options = {"fps": fps, "clip_length": clip_length, "cuts": cuts}
        made = video_masks(
            videos, Workspace(folder), base=base, checkpoint=checkpoint, options=options,
            cores=cores or os.cpu_count() or 1,
        )  # fmt: skip
    for path, reason in made.refused.items():
        warn(printable(f"not taken  {path}: {reason}"))
    clips = made.report.totals["clips"]
    typer.echo(f"marked   {made.coverage:.1%} of the frame on average, over {clips} clip{'s' if clips != 1 else ''}")
    typer.echo(f"written  {folder / 'masks'}: {made.masks} masks; {', '.join(map(str, made.videos))}")
    typer.echo(f"look at  {folder / 'index.html'}")
    if made.advice:
        typer.echo("For better masks:")
    for line in made.advice:
        typer.echo(f"  - {line}")
    if made.refused:
        raise typer.Exit(1)


@app.command()
def inspect(
    cache: Annotated[Path, typer.Argument(help="Mask cache: results/NAME/roundN/masks/SPLIT/PREDICTOR")],
    scene: Annotated[
        list[str] | None, typer.Option(help="Show only clips whose name contains this; repeatable")
    ] = None,
    worst: Annotated[int | None, typer.Option(min=1, help="Show only the first N windows in the order of --by")] = None,
    by: Annotated[
        Sorting,
        typer.Option(help="Order: lowest psnr or iou, highest coverage, largest disagreement of maps or masks, window"),
    ] = Sorting.psnr,
    most: Annotated[
        int,
        typer.Option(
            min=0, help="Without --scene and --worst, show at most this many windows, evenly spaced; 0 shows all"
        ),
    ] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder to write [default: CACHE/inspect]")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a gallery of another cache in --out; nothing else is replaced")
    ] = False,
    text: Annotated[
        bool, typer.Option("--text", help="Print a summary; write a gallery only if --out is given")
    ] = False,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Print what made the cache, by digest; exit code 1 if parts are mixed")
    ] = False,
    frames: Annotated[Path | None, typer.Option(help="Frame store of the split [default: the run's]")] = None,
    windows: Annotated[Path | None, typer.Option(help="Window list of the split [default: the run's]")] = None,
    renderer: Annotated[Path | None, typer.Option(help="Checkpoint of the renderer [default: the run's]")] = None,
    render: Annotated[bool, typer.Option(help="Render the shown windows again, to show the renderings")] = True,
    device: Annotated[
        Device, typer.Option(help="Where to render; auto takes a CUDA device if there is one")
    ] = Device.cpu,
    still: Annotated[bool, typer.Option("--still", help="Nothing moves in this split: masks should be empty")] = False,
    psnr_filter: Annotated[
        float | None, typer.Option(help="PSNR filter in dB [default: as recorded beside the cache]")
    ] = None,
) -> None:
    """Show cached pseudo-masks in an HTML gallery or on the terminal.

    The gallery is a folder that opens without a server; its index.html is the summary. Frames, windows and renderer
    must be those that made the cache. By default they are taken from the run's folder if their digests match.
    """
    from wildrayzer.tools.caches_below import check_is_cache

    ignore_time_stamps()
    with reported():
        check_is_cache(cache)
    if provenance:
        _show_provenance(cache)
        if not text and out is None:
            return
    from rich.console import Console

    from wildrayzer.tools.inspect.files import open_cache
    from wildrayzer.tools.inspect.frame_statistics import choose, measure
    from wildrayzer.tools.inspect.health import health
    from wildrayzer.tools.inspect.inspect import check_folder, find_renderer, write_gallery
    from wildrayzer.tools.inspect.pages import Shown
    from wildrayzer.tools.inspect.text import print_summary
    from wildrayzer.training.distributed import pick_device

    with reported():
        if psnr_filter is not None and not math.isfinite(psnr_filter):
            raise ValueError(f"--psnr-filter {psnr_filter}: give a finite number of dB")
        chosen_device = str(pick_device(device.value))
        files = open_cache(cache, frames=frames, windows=windows, psnr_filter=psnr_filter)
        folder = out or (None if text else files.place.path / "inspect")
        if folder:
            # The gallery inside the cache is its own, even if the cache was made again since.
            check_folder(folder, residuals=files.maps.digest, overwrite=overwrite or out is None)
        figures = measure(files)
        chosen = choose(files, figures, scenes=scene or [], worst=worst, by=by.value, most=most)
        shown = Shown(files, figures, chosen, by.value)
        still = still or (files.store is not None and files.store.attributes.get("role") == "static")
        if text:
            print_summary(shown, health(files, figures, still=still), Console())
        if folder is None:
            return
        found, note = find_renderer(files, checkpoint=renderer, device=chosen_device) if render else (None, NO_RENDER)
        verdict = write_gallery(shown, folder, renderer=found, still=still, notes=[note] if note else [])
    typer.echo(verdict)
    typer.echo(f"written  {folder / 'index.html'} ({len(chosen)} windows)")


def _show_provenance(cache: Path) -> None:
    """Print the provenance of a cache; exit code 1 if parts do not belong together."""
    from rich.console import Console

    from wildrayzer.tools.inspect.provenance import mixed, origins
    from wildrayzer.tools.inspect.text import print_provenance

    with reported():
        found = origins(cache)
    print_provenance(found, Console())
    if wrong := mixed(found):
        names = ", ".join(f"{one.group} was made from another {one.name}" for one in wrong)
        fail(f"mixed: {names}; run these stages again")
        raise typer.Exit(1)


@app.command()
def tune(
    caches: Annotated[
        list[Path],
        typer.Argument(metavar="CACHE...", help="Mask caches, such as results/demo/round1/masks/dynamic_test/renderer"),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option and its values, such as pseudo_masks.top_share=0.3,0.5; repeat for a grid"),
    ] = None,
    configfile: Annotated[
        Path | None,
        typer.Option(help="Configuration of all other options [default: what made the masks of the first cache]"),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            help="Cache of a static calibration split; repeatable [default: the configuration's, else the run's file]"
        ),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Frame store, if one cache is given [default: the run's]")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tuning.csv, tuning.md and plots")] = Path("tuning"),
    overwrite: Overwrite = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only this many clips per split, evenly spaced")] = None,
    refine: Annotated[bool, typer.Option("--refine/--no-refine", help="Score pixel masks as well")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processes [default: one per core]")] = None,
) -> None:
    """Score options of voting and refinement on cached maps.

    Every combination of the given values is scored; this needs neither a GPU nor a model. IoU, recall and precision
    need true masks; coverage and the share of empty masks are reported for every split. Clustering options cannot be
    tuned this way, because features are not stored.
    """
    import os

    import pandas as pd
    from rich.console import Console
    from rich.progress import track

    from wildrayzer.config import load_config
    from wildrayzer.evaluation.tuning.options import option_sets, parse_sweep
    from wildrayzer.evaluation.tuning.sweep import check_split, sweep_digest
    from wildrayzer.evaluation.tuning.sweep import tune as score_sets
    from wildrayzer.evaluation.tuning.sweep_tables import check_folder, write_tables
    from wildrayzer.tools.caches_below import check_is_cache
    from wildrayzer.tools.tune.caches import TuningCaches
    from wildrayzer.tools.tune.chart import write_plots

    ignore_time_stamps()
    with reported():
        for cache in [*caches, *(calibration or [])]:
            check_is_cache(cache)
        sweep = parse_sweep(settings or [])
        opened = TuningCaches.of(caches, load_config(configfile) if configfile else None)
        pseudo_masks, refine_options = opened.options(refine=refine)
        sets = option_sets(sweep, pseudo_masks=pseudo_masks, refine=refine_options)
        splits = opened.splits(calibration=calibration or [], store=store)
        for one in splits:
            check_split(one)
        _make_writable(out)
        digest = sweep_digest(splits, sets, limit=limit, refine=refine)
        check_folder(out, digest=digest, overwrite=overwrite)
        processes = min(workers or os.cpu_count() or 1, len(sets))
        scored = score_sets(splits, sets, limit=limit, refine=refine, workers=processes)
        shown = track(scored, "option sets", total=len(sets), console=Console(stderr=True))
        table = pd.DataFrame([row for rows in shown for row in rows])
        base = f"Other options: {pseudo_masks.model_dump(mode='json')}, {refine_options.model_dump(mode='json')}."
        write_tables(table, out, swept=list(sweep), base=base, digest=digest)
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


def _make_writable(out: Path) -> None:
    """Make the folder for the tables.

    Raises:
        ValueError: it is a file.
        OSError: it cannot be created or written to.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass
