"""`wildrayzer ingest`: own videos and image folders become a data set."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.errors import reported

app = typer.Typer()


class Role(StrEnum):
    """What the clips are for."""

    dynamic = "dynamic"
    static = "static"


@app.command()
def ingest(
    sources: Annotated[
        list[Path], typer.Argument(metavar="VIDEO_OR_FOLDER...", help="Videos, folders of videos, folders of images")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the data set to make; must not exist")],
    fps: Annotated[float, typer.Option(help="Frames a second taken of a video; 0 takes all")] = 5.0,
    clip_length: Annotated[int, typer.Option(help="Frames of a clip")] = 10,
    min_frames: Annotated[int, typer.Option(help="Frames of the shortest clip that is kept")] = 3,
    short_side: Annotated[int, typer.Option(help="Reduce frames to this shorter side in pixels; 0 keeps them")] = 512,
    role: Annotated[Role, typer.Option(help="dynamic: things move. static: nothing does")] = Role.dynamic,
    base: Annotated[
        Path | None, typer.Option(help="Configuration to derive OUT/config.yaml from, such as config/paper.yaml")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Checkpoint folder of a static renderer, written into OUT/config.yaml")
    ] = None,
) -> None:
    """Make a data set of own videos and image folders, so that every stage of the workflow runs on them.

    Frames are upright (rotation and EXIF orientation), lossless PNG. A source that cannot be used is skipped with its
    reason, and a picture or video of a kind that is not read is left out by name; the exit code is then 1. A stopped
    call resumes when it is typed again.
    """
    from wildrayzer.data.ingest.clips import IngestOptions
    from wildrayzer.data.ingest.run_config import CONFIG, config_text
    from wildrayzer.data.ingest.sheet import SHEET
    from wildrayzer.data.ingest.write import REPORT
    from wildrayzer.data.ingest.write import ingest as take_in

    if pretrained is not None and base is None:
        raise typer.BadParameter("goes into a configuration: give --base too", param_hint="--pretrained")
    with reported():
        options = IngestOptions(fps=fps, clip_length=clip_length, min_frames=min_frames, short_side=short_side)
        config = config_text(base, out, role=role.value, pretrained=pretrained)
        report = take_in(sources, out, options, files={CONFIG: config})
    for source in report["sources"]:
        turned = f", turned by {source['rotation']}°" if source["rotation"] else ""
        typer.echo(
            f"used     {source['path']}: {source['used']} frames of {source['decoded']} in {len(source['clips'])} clips"
            f"{turned}"
        )
        for remark in source["remarks"]:
            typer.echo(f"         {remark}")
    for detail in report["skipped"].values():
        typer.secho(f"skipped  {detail}", err=True, fg=typer.colors.YELLOW)
    for path, reason in report["left_out"].items():
        typer.secho(f"left out {path}: {reason}", err=True, fg=typer.colors.YELLOW)
    for path, reason in report["copies"].items():
        typer.echo(f"ignored  {path}: {reason}; name it to take it")
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
