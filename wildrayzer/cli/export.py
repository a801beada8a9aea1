"""`wildrayzer export`: masks, cameras and frames in the formats of other tools."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wildrayzer.cli.messages import reported
from wildrayzer.io.printable import printable

if TYPE_CHECKING:
    from wildrayzer.tools.export.export import Format
    from wildrayzer.tools.export.source import ExportSource

app = typer.Typer(
    no_args_is_help=True,
    help="Export masks, cameras and frames: DAVIS, COCO, nerfstudio, COLMAP, WebDataset.",
)

Source = Annotated[
    Path,
    typer.Argument(
        help="Mask cache (results/NAME/roundN/masks/SPLIT/PREDICTOR), frame store (results/NAME/frames/SPLIT.json), "
        "folder of `masks run` or of `render`"
    ),
]
Out = Annotated[Path, typer.Option(help="Folder to write; must not exist")]
Scenes = Annotated[
    list[str] | None, typer.Option("--scene", help="Export only scenes whose name contains this; repeatable")
]
Store = Annotated[Path | None, typer.Option(help="Frame store of a mask cache [default: the run's]")]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in --out; nothing else")]


class MaskFormat(StrEnum):
    """Formats of masks."""

    davis = "davis"
    coco = "coco"


class CameraFormat(StrEnum):
    """Formats of cameras."""

    nerfstudio = "nerfstudio"
    colmap = "colmap"


class FrameFormat(StrEnum):
    """Formats of frames."""

    davis = "davis"
    webdataset = "webdataset"


@app.command()
def masks(
    source: Source,
    to: Annotated[MaskFormat, typer.Option(help="davis: palette PNG in the layout of DAVIS; coco: RLE in one JSON")],
    out: Out,
    frames: Annotated[bool, typer.Option(help="Write the frames beside the masks")] = True,
    scene: Scenes = None,
    store: Store = None,
    overwrite: Replace = False,
) -> None:
    """Export masks, and the frames that they belong to.

    Of a mask cache the refined masks are taken, or the patch masks if nothing was refined. Of a frame store its true
    masks are taken.
    """
    from wildrayzer.tools.export import coco, davis

    opened = _opened(source, store)
    with reported():
        if opened.masks is None:
            raise ValueError(
                f"{source} has no masks; name a mask cache, or render with --masks, or export the frames with "
                "`wildrayzer export frames`"
            )
    davis_layout = davis.davis_format(images=frames, masks=True)
    form = davis_layout if to is MaskFormat.davis else coco.coco_format(images=frames)
    _export(opened, out, form, scenes=scene, overwrite=overwrite)


@app.command()
def cameras(
    source: Source,
    to: Annotated[CameraFormat, typer.Option(help="nerfstudio: transforms.json; colmap: text model")],
    out: Out,
    rendered: Annotated[
        bool, typer.Option("--rendered", help="Of a folder of `render`: take the renderings, without masks")
    ] = False,
    scene: Scenes = None,
    store: Store = None,
    overwrite: Replace = False,
) -> None:
    """Export cameras with their images and, where known, masks.

    Masks have the polarity of the tools: white = keep, black = transient or unknown. Every scene is a folder of its own
    in OUT. Predicted cameras are known only up to gauge: their scale is arbitrary.
    """
    from wildrayzer.tools.export import colmap, nerfstudio

    opened = _opened(source, store, rendered=rendered)
    form = nerfstudio.NERFSTUDIO if to is CameraFormat.nerfstudio else colmap.COLMAP
    _export(opened, out, form, scenes=scene, overwrite=overwrite)


@app.command()
def frames(
    source: Source,
    to: Annotated[FrameFormat, typer.Option(help="webdataset: tar shards; davis: the layout of DAVIS")],
    out: Out,
    per_shard: Annotated[int, typer.Option(min=1, help="Frames per shard of webdataset")] = 1000,
    scene: Scenes = None,
    store: Store = None,
    overwrite: Replace = False,
) -> None:
    """Export frames and, where they are known, their masks and cameras."""
    from wildrayzer.tools.export import davis, shards

    opened = _opened(source, store)
    if to is FrameFormat.webdataset:
        form = shards.webdataset_format(per_shard=per_shard)
    else:
        form = davis.davis_format(images=True, masks=opened.masks is not None)
    _export(opened, out, form, scenes=scene, overwrite=overwrite)


def _opened(path: Path, store: Path | None, *, rendered: bool = False) -> "ExportSource":
    from wildrayzer.tools.export.source import open_source

    with reported():
        return open_source(path, store=store, rendered=rendered)


def _export(
    source: "ExportSource", out: Path, form: "Format", *, scenes: Iterable[str] | None, overwrite: bool
) -> None:
    """Write an export and say what it holds."""
    from wildrayzer.tools.export.export import export

    with reported():
        counts = export(source, out, form, scenes=scenes or (), overwrite=overwrite)
    typer.echo(printable(f"written  {out}: {counts.frames} frames of {counts.scenes} scenes, {counts.masks} masks"))
    if counts.masks:
        typer.echo(f"masks    {source.masks}; {form.polarity}")
    if counts.masks_unknown:
        typer.echo(f"unknown  {counts.masks_unknown} masks are unknown everywhere: no window has these frames")
    if form.cameras and source.cameras:
        typer.echo(f"cameras  {source.cameras}")
