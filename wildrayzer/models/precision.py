"""The arithmetic of jobs that measure: residuals, scores and renderings, on whatever device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bfloat16"]


def keep_float32() -> None:
    """Have CUDA take float32 for what it is in matrix products and convolutions; cuDNN's default is TF32.

    Training allows TF32 (`training.distributed.init_distributed`). A CPU knows no TF32.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def rendering_in(precision: Precision, device: torch.device | str) -> Iterator[None]:
    """Render in a precision, and measure in float32 afterwards.

    `tf32` allows TF32 in matrix products and convolutions, which changes nothing on a CPU. `bfloat16` is autocast, as
    in the public release.
    """
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield
    keep_float32()
