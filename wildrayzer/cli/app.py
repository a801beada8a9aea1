"""`wildrayzer app`: the method in a browser."""

from typing import Annotated

import typer

from wildrayzer.cli.messages import reported
from wildrayzer.cli.options import Device


def app(
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="Checkpoint folder, or OWNER/NAME on the hub [default: the small model of the package]"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in, without a password")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="[default: the first free one from 7860]")] = None,
    device: Annotated[Device, typer.Option(help="auto takes a CUDA device if there is one")] = Device.auto,
) -> None:
    """Show the method in a browser.

    Photos or a video in; masks, views, cameras and a camera path out.
    Needs gradio: pip install 'wildrayzer[app]'. Nothing is downloaded or sent elsewhere.
    """
    from wildrayzer.app.serve import serve

    with reported():
        serve(
            checkpoint, host=host, port=port, device=device.value,
            started=lambda address: typer.echo(f"open     {address} (Ctrl+C stops the app)"),
        )  # fmt: skip
