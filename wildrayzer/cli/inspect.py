"""`wildrayzer inspect`: look at a pseudo-mask cache."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.devices import Device
from wildrayzer.cli.errors import reported
from wildrayzer.run.logs import ignore_time_stamps

app = typer.Typer()
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
def inspect(
    cache: Annotated[Path, typer.Argument(help="Folder of the cache: results/NAME/roundN/masks/SPLIT/SOURCE")],
    scene: Annotated[
        list[str] | None, typer.Option(help="Show clips with this in their name alone; may be given several times")
    ] = None,
    worst: Annotated[
        int | None, typer.Option(min=1, help="Show the first N windows in the order of --by alone")
    ] = None,
    by: Annotated[
        Sorting,
        typer.Option(help="Order: lowest psnr, highest coverage, maps or masks that disagree most, lowest iou, window"),
    ] = Sorting.psnr,
    most: Annotated[
        int,
        typer.Option(
            min=0, help="Without --scene and --worst, show at most so many windows, evenly thinned out; 0 = all of them"
        ),
    ] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder to write; CACHE/inspect if not given")] = None,
    text: Annotated[bool, typer.Option("--text", help="Summary on the terminal; no gallery without --out")] = False,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="What made the cache, by digest; exit code 1 if parts are mixed")
    ] = False,
    frames: Annotated[Path | None, typer.Option(help="Frame store of the split; looked for in the run")] = None,
    windows: Annotated[Path | None, typer.Option(help="Window list of the split; looked for in the run")] = None,
    renderer: Annotated[Path | None, typer.Option(help="Checkpoint that rendered; looked for in the run")] = None,
    render: Annotated[bool, typer.Option(help="Render the shown windows again, for the column rendering")] = True,
    device: Annotated[
        Device, typer.Option(help="Where to render; auto takes a CUDA device where there is one")
    ] = Device.cpu,
    still: Annotated[bool, typer.Option("--still", help="Nothing moves in this split: masks should be empty")] = False,
    psnr_filter: Annotated[float | None, typer.Option(help="In dB; as recorded beside the cache if not given")] = None,
) -> None:
    """Write an HTML gallery of cached pseudo-masks, or show a summary or the provenance on the terminal.

    The gallery is a folder that opens from the disk; index.html is its summary. Frames, windows and renderer must be
    those that made the cache: what the run's folder has is used if its digest fits.
    """
    ignore_time_stamps()
    if provenance:
        _show_provenance(cache)
        if not text and out is None:
            return
    from rich.console import Console

    from wildrayzer.tools.inspect.figures import choose, measure
    from wildrayzer.tools.inspect.files import open_cache
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
            check_folder(folder)
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
    """Print it; leave with exit code 1 if parts do not belong together."""
    from rich.console import Console

    from wildrayzer.tools.inspect.provenance import mixed, origins
    from wildrayzer.tools.inspect.text import print_provenance

    with reported():
        found = origins(cache)
    print_provenance(found, Console())
    if wrong := mixed(found):
        names = ", ".join(f"{one.group} was made from another {one.name}" for one in wrong)
        typer.secho(f"mixed: {names}; run these stages again", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)
