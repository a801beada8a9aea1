"""The arithmetic of jobs that measure: residuals, scores and renderings, on whatever device."""

import torch


def keep_float32() -> None:
    """Have CUDA take float32 for what it is in matrix products and convolutions; cuDNN's default is TF32.

    Training allows TF32 (`training.distributed.init_distributed`). A CPU knows no TF32.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
