"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace whatever --out holds; without it, only this command's output of the same inputs"
    ),
]
"""Replace an existing output, see `wildrayzer.io.outputs`."""


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
