"""`wildrayzer data`: where data and weights come from, whether a run has them, and data sets of own videos."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported, warn
from wildrayzer.io.printable import printable

app = typer.Typer(no_args_is_help=True, help="List, fetch and check data sets and weights; ingest your own videos.")

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

    Exit code 1 if something is missing.
    """
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


@app.command()
def ingest(
    sources: Annotated[
        list[Path], typer.Argument(metavar="VIDEO_OR_FOLDER...", help="Videos, folders of videos, folders of images")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new data set; must not exist")],
    fps: Annotated[float, typer.Option(help="Frames per second to take from a video; 0 takes all")] = 5.0,
    clip_length: Annotated[int, typer.Option(help="Frames per clip")] = 10,
    min_frames: Annotated[int, typer.Option(help="Discard clips of fewer frames")] = 3,
    short_side: Annotated[
        int, typer.Option(help="Downscale frames to this shorter side in pixels; 0 keeps them")
    ] = 512,
    role: Annotated[Role, typer.Option(help="dynamic: objects move; static: nothing moves")] = Role.dynamic,
    base: Annotated[
        Path | None, typer.Option(help="Configuration to derive OUT/config.yaml from, such as config/paper.yaml")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Checkpoint folder of a static renderer, to be written into OUT/config.yaml")
    ] = None,
) -> None:
    """Make a data set of your own videos and folders of images.

    Every stage of the workflow runs on it. Frames are upright (rotation and EXIF orientation applied) and stored as
    lossless PNG. Sources that cannot be used are skipped with a reason, and images and videos of a kind that is not
    read are left out by name; the exit code is then 1. An interrupted call resumes with the same command.
    """
    from wildrayzer.data.ingest.clips import IngestOptions
    from wildrayzer.data.ingest.run_config import CONFIG, config_text
    from wildrayzer.data.ingest.sheet import SHEET
    from wildrayzer.data.ingest.write import REPORT
    from wildrayzer.data.ingest.write import ingest as write_data_set

    if pretrained is not None and base is None:
        raise typer.BadParameter("is written into a configuration: give --base too", param_hint="--pretrained")
    with reported():
        options = IngestOptions(fps=fps, clip_length=clip_length, min_frames=min_frames, short_side=short_side)
        config = config_text(base, out, role=role.value, pretrained=pretrained)
        report = write_data_set(sources, out, options, files={CONFIG: config})
    for source in report["sources"]:
        rotated = f", rotated by {source['rotation']}°" if source["rotation"] else ""
        typer.echo(
            f"used     {printable(source['path'])}: {source['used']} of {source['decoded']} frames in "
            f"{len(source['clips'])} clips{rotated}"
        )
        for remark in source["remarks"]:
            typer.echo(printable(f"         {remark}"))
    for detail in report["skipped"].values():
        warn(printable(f"skipped  {detail}"))
    for path, reason in report["left_out"].items():
        warn(printable(f"left out {path}: {reason}"))
    for path, reason in report["copies"].items():
        typer.echo(printable(f"ignored  {path}: {reason}; name it to take it"))
    if report["ignored_files"]:
        typer.echo(f"ignored  {len(report['ignored_files'])} files that are neither video nor image, see {REPORT}")
    totals = report["totals"]
    typer.echo(
        f"written  {out}: {totals['frames']} frames in {totals['clips']} clips of {totals['used']} sources, "
        f"{totals['left_over']} frames left over"
    )
    typer.echo(f"look at  {out / SHEET}, {out / REPORT}, {out / CONFIG}")
    if report["skipped"] or report["left_out"]:
        raise typer.Exit(1)
