"""The option `--device` of commands that compute."""

from enum import StrEnum


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
