"""`wildrayzer data`: where data and weights come from, whether a run has them, and data sets of own videos."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildrayzer.cli.messages import reported, warn
from wildrayzer.io.printable import printable

if TYPE_CHECKING:
    from wildrayzer.data.ingest.report import IngestReport

app = typer.Typer(no_args_is_help=True, help="List, fetch and check data sets and weights; ingest your own videos.")

_DEFAULT = "[default: {}; with --add, as in OUT]"

Table = Annotated[Path | None, typer.Option(help="Table of sources [default: resources/sources.yaml]")]


class Role(StrEnum):
    """What the clips are for."""

    dynamic = "dynamic"
    static = "static"


@app.command()
def sources(table: Table = None) -> None:
    """List the sources of data and weights.

    For each source: its parts, their size and licence, and which terms must be accepted where.
    """
    from wildrayzer.datasets.listing import describe_sources
    from wildrayzer.datasets.table import load_table

    with reported():
        typer.echo(describe_sources(load_table(table)))


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Sources, by their names in `wildrayzer data sources`")
    ],
    part: Annotated[
        list[str] | None,
        typer.Option(help="Fetch a source only if this part of it is missing; repeatable [default: any part]"),
    ] = None,
    table: Table = None,
) -> None:
    """Fetch sources into their places below resources/, as the workflow does.

    A source is downloaded as a whole, and all of its missing parts are filled. An interrupted download resumes with the
    same command.
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


@app.command()
def check(
    configfile: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration, such as config/paper.yaml")],
    table: Table = None,
    frames: Annotated[bool, typer.Option("--frames", help="Also look at every scene: files, images, cameras")] = False,
    online: Annotated[bool, typer.Option("--online", help="Ask the hub whether your token has access")] = False,
) -> None:
    """Check the paths, tokens, checksums and counts that a run needs.

    Prints the licence of backbone weights that no gate has asked you to accept. Exit code 1 if something is missing.
    """
    from wildrayzer.config import load_config
    from wildrayzer.datasets.check import check_run
    from wildrayzer.datasets.licences import backbone_licence
    from wildrayzer.datasets.listing import describe_findings
    from wildrayzer.datasets.table import load_table

    with reported():
        config = load_config(configfile)
        findings = check_run(config, load_table(table or config.data.sources), frames=frames, online=online)
        licence = backbone_licence(config.features)
        if licence is not None:
            typer.echo(printable(licence) + "\n")
        typer.echo(describe_findings(findings))
    if any(finding.state == "miss" for finding in findings):
        raise typer.Exit(1)


@app.command()
def ingest(
    out: Annotated[Path, typer.Option(help="Folder of the data set; must not exist without --add or --remove")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="VIDEO_OR_FOLDER", help="Videos and animated pictures, folders of them, folders of images"
        ),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add to the data set OUT; its other clips stay as they are")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="With --add: a changed recording takes the place of its namesake")
    ] = False,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Remove a recording of OUT and its clips, by its name in ingest.json; repeatable"
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help=f"Frames per second to take from a video; 0 takes all {_DEFAULT.format(5)}")
    ] = None,
    clip_length: Annotated[int | None, typer.Option(help=f"Frames per clip {_DEFAULT.format(10)}")] = None,
    min_frames: Annotated[int | None, typer.Option(help=f"Discard clips of fewer frames {_DEFAULT.format(3)}")] = None,
    short_side: Annotated[
        int | None,
        typer.Option(help=f"Downscale frames to this shorter side in pixels; 0 keeps them {_DEFAULT.format(512)}"),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Square window: centre, top, bottom, left, right, or x,y from 0,0 (left, top) to 1,1 (right, bottom) "
            f"{_DEFAULT.format('centre')}",
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only write OUT.crop.jpg, which shows the windows that --crop takes")
    ] = False,
    cuts: Annotated[
        bool | None, typer.Option("--cuts/--no-cuts", help=f"Begin a new clip at each cut {_DEFAULT.format('--cuts')}")
    ] = None,
    sharpest: Annotated[
        bool | None,
        typer.Option(
            "--sharpest/--no-sharpest",
            help=f"Take the sharpest frame of each interval, not the first {_DEFAULT.format('--no-sharpest')}",
        ),
    ] = None,
    role: Annotated[Role, typer.Option(help="dynamic: objects move; static: nothing moves")] = Role.dynamic,
    base: Annotated[
        Path | None, typer.Option(help="Configuration to derive OUT/config.yaml from, such as config/paper.yaml")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Checkpoint folder of a static renderer, to be written into OUT/config.yaml")
    ] = None,
) -> None:
    """Make a data set of your own videos and folders of images, or change one.

    Every stage of the workflow runs on it. Frames are upright (rotation and EXIF orientation applied) and stored as
    lossless PNG. A new clip begins at each cut. Recordings that cannot be used or are in the data set already, and
    images and videos of a kind that is not read, are named with the reason; the exit code is then 1. An interrupted
    call resumes with the same command.

    With --add, OUT/config.yaml stays as it is unless --base is given.
    """
    from wildrayzer.data.ingest.change import change_set
    from wildrayzer.data.ingest.clips import IngestOptions
    from wildrayzer.data.ingest.run_config import CONFIG, config_text
    from wildrayzer.data.ingest.write import ingest as write_data_set

    if pretrained is not None and base is None:
        raise typer.BadParameter("is written into a configuration: give --base too", param_hint="--pretrained")
    if replace and not add:
        raise typer.BadParameter("give --add too", param_hint="--replace")
    if not sources and (add or not remove):
        raise typer.BadParameter("name videos or folders", param_hint="VIDEO_OR_FOLDER")
    if sources and remove and not add:
        raise typer.BadParameter("give --add too", param_hint="--remove")
    options: dict[str, Any] = {
        "fps": fps,
        "clip_length": clip_length,
        "min_frames": min_frames,
        "short_side": short_side,
        "crop": crop,
        "cuts": cuts,
        "sharpest": sharpest,
    }
    if preview:
        _preview(sources or [], crop or "centre", out)
        return
    changed = None
    with reported():
        files = {CONFIG: config_text(base, out, role=role.value, pretrained=pretrained)}
        if add or remove:
            keep = base is None and (out / CONFIG).exists()
            changed = change_set(out, sources or [], options=options, replace_changed=replace, remove=remove or [],
                                 files={} if keep else files)  # fmt: skip
            report, added = changed.report, changed.added
        else:
            given = {name: value for name, value in options.items() if value is not None}
            report = added = write_data_set(sources or [], out, IngestOptions(**given), files=files)
    for name in changed.removed if changed else ():
        typer.echo(f"removed  {name}")
    for path, name in (changed.kept if changed else {}).items():
        typer.echo(printable(f"kept     {path}: is in the data set already, as {name}"))
    _print_added(added)
    for path, reason in (changed.refused if changed else {}).items():
        warn(printable(f"refused  {path}: {reason}"))
    _print_totals(report, out)
    if added.skipped or added.left_out or (changed and changed.refused):
        raise typer.Exit(1)


def _preview(paths: list[Path], crop: str, out: Path) -> None:
    """Show the windows of `--crop` instead of ingesting; `left out` files are named, with exit code 1."""
    from wildrayzer.data.ingest.sheet import write_preview
    from wildrayzer.data.ingest.sources import find_sources

    file = out.with_name(f"{out.name}.crop.jpg")
    with reported():
        found = find_sources(paths)
        write_preview(found.sources, crop, file)
    typer.echo(f"look at  {file}, and leave out --preview to ingest")
    for path, reason in found.left_out.items():
        warn(printable(f"left out {path}: {reason}"))
    if found.left_out:
        raise typer.Exit(1)


def _print_added(report: "IngestReport") -> None:
    """What a call took, skipped and ignored."""
    from wildrayzer.data.ingest.report import REPORT

    for source in report.sources:
        rotated = f", rotated by {source.rotation}°" if source.rotation else ""
        typer.echo(
            f"used     {printable(source.path)}: {source.used} of {source.decoded} frames in "
            f"{len(source.clips)} clips{rotated}"
        )
        for remark in source.remarks:
            typer.echo(printable(f"         {remark}"))
    for detail in report.skipped.values():
        warn(printable(f"skipped  {detail}"))
    for path, reason in report.left_out.items():
        warn(printable(f"left out {path}: {reason}"))
    for path, reason in report.copies.items():
        typer.echo(printable(f"ignored  {path}: {reason}; name it to take it"))
    if report.ignored_files:
        typer.echo(f"ignored  {len(report.ignored_files)} files that are neither video nor image, see {REPORT}")


def _print_totals(report: "IngestReport", out: Path) -> None:
    """How large the data set is, and where to look."""
    from wildrayzer.data.ingest.report import REPORT
    from wildrayzer.data.ingest.run_config import CONFIG
    from wildrayzer.data.ingest.sheet import SHEET

    totals = report.totals
    typer.echo(
        f"written  {out}: {totals['frames']} frames in {totals['clips']} clips of {totals['used']} sources, "
        f"{totals['left_over']} frames left over"
    )
    typer.echo(f"look at  {out / SHEET}, {out / REPORT}, {out / CONFIG}")
