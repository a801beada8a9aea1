"""`wildrayzer render`: unposed photos or a video in, views without moving objects out."""

from pathlib import Path
from typing import Annotated

import typer

from wildrayzer.cli.messages import reported, warn
from wildrayzer.cli.options import Device


def render(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, such as results/demo/round1/joint/checkpoint")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Image files, or one folder of images, or one video")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write")],
    video: Annotated[bool, typer.Option("--video", help="Write path.mp4: a camera path through the inputs")] = False,
    masks: Annotated[bool, typer.Option("--masks", help="Write motion masks")] = False,
    gate_threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Patches with a higher mean probability of motion are kept out [default: the checkpoint's threshold]",
        ),
    ] = None,
    plucker: Annotated[bool, typer.Option("--plucker", help="Write Plücker rays and their diagnostics")] = False,
    inputs: Annotated[
        int | None, typer.Option(min=1, help="Input views [default: the most that the checkpoint was trained with]")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames to take from a video, evenly spaced")] = 10,
    path_frames: Annotated[int, typer.Option(min=2, help="Frames of the camera path, 24 per second")] = 96,
    backbone: Annotated[
        str | None, typer.Option(help="Local Hugging Face folder of the DINOv3 model, for motion heads that use it")
    ] = None,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device if there is one")] = Device.auto,
    force: Annotated[
        bool, typer.Option("--force", help="Render numbers of views that the checkpoint was not trained with")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier rendering in --out; nothing else")
    ] = False,
) -> None:
    """Render photos or a video without moving objects.

    Writes images and a page that shows them all. Cameras are estimated. Inputs are evenly spaced among the given views;
    of the other views only the cameras are used. Images of any size are cropped to the central square and resized, as
    in the frame store.
    """
    from wildrayzer.tools.render.checks import RenderOptions
    from wildrayzer.tools.render.render import render as run
    from wildrayzer.training.distributed import pick_device

    options = RenderOptions(
        inputs=inputs, frames=frames, video=video, path_frames=path_frames, masks=masks,
        gate_threshold=gate_threshold, plucker=plucker, backbone=backbone, force=force,
    )  # fmt: skip
    with reported():
        about = run(checkpoint, images, out, options, device=pick_device(device.value), overwrite=overwrite)
    for text in about["forced"]:
        warn(f"forced   {text}")
    views = about["views"]
    cropped = [view for view in views if view["kept"] < 1]
    if cropped:
        least = min(view["kept"] for view in cropped)
        typer.echo(
            f"cropped  {len(cropped)} of {len(views)} images to the central square, at least {least:.0%} is kept"
        )
    if not about["gated"]:
        typer.echo(f"nothing is removed: {about['checkpoint']} {about['why_not_gated']}")
    typer.echo(
        f"written  {out}: {len(views)} views of {about['image_size']} px, {sum(v['input'] for v in views)} inputs"
    )
    if "path" in about:
        typer.echo(f"written  {out / 'path.mp4'}: {about['path']['frames']} frames, {about['path']['encoder']}")
    typer.echo(f"look at  {out / 'index.html'}")
