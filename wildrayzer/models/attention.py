"""Attention kernels: the one place that chooses and calls them.

Torch's scaled dot-product attention (`sdpa`) is the default. `xformers` is used when it is asked for and passes a
probe, forward and backward, for the device, dtype and head width at hand; otherwise `sdpa` takes over and a log line
says why.
"""

import functools
import logging
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)

Request = Literal["auto", "sdpa", "xformers"]
Kernel = Literal["sdpa", "xformers"]


def attend(
    q: Float[Tensor, "b n h c"],
    k: Float[Tensor, "b m h c"],
    v: Float[Tensor, "b m h c"],
    *,
    kernel: Request = "sdpa",
    scale: float | None = None,
) -> Float[Tensor, "b n h c"]:
    """Softmax attention of `n` queries over `m` keys in `h` heads of width `c`; scale defaults to c^-1/2."""
    if kernel != "sdpa" and settled_kernel(kernel, q.device, q.dtype, q.shape[-1]) == "xformers":
        return _xformers_attend(q, k, v, scale)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return functional.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)


def settled_kernel(request: Request, device: torch.device, dtype: torch.dtype, head_width: int) -> Kernel:
    """`resolve_kernel` as a function of its own: the compiler looks through a cache, and would trace the probe."""
    return resolve_kernel(request, device, dtype, head_width)


@functools.lru_cache
def resolve_kernel(request: Request, device: torch.device, dtype: torch.dtype, head_width: int) -> Kernel:
    """The kernel that serves a request here. The probe runs once per device, dtype and head width, and is logged."""
    if request == "sdpa":
        return "sdpa"
    reason = _probe_xformers(device, dtype, head_width)
    if reason is None:
        logger.info("attention kernel: xformers (%s, %s, heads of %d)", device, dtype, head_width)
        return "xformers"
    log = logger.warning if request == "xformers" else logger.info
    log("attention kernel: sdpa; xformers not usable on %s, %s, heads of %d: %s", device, dtype, head_width, reason)
    return "sdpa"


def _probe_xformers(device: torch.device, dtype: torch.dtype, head_width: int) -> str | None:
    """None when xformers agrees with `sdpa` forward and backward, else the reason why it is not used."""
    # hooks of its own: in a recomputed block, the checkpoint would count the probe's tensors as the block's
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False), hooks:
        # a fixed pattern, so that the probe draws nothing from the random state
        values = torch.linspace(-3, 3, 3 * 64 * 2 * head_width, device=device).sin().to(dtype)
        q, k, v = (part.detach().requires_grad_() for part in values.view(3, 1, 64, 2, head_width))
        try:
            result = _xformers_attend(q, k, v, None)
            gradients = torch.autograd.grad(result.float().square().sum(), (q, k, v))
        except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        expected = attend(q, k, v)
        expected_gradients = torch.autograd.grad(expected.float().square().sum(), (q, k, v))
    for found, wanted in zip((result, *gradients), (expected, *expected_gradients), strict=True):
        found, wanted = found.detach().float(), wanted.detach().float()
        difference = (found - wanted).abs().max().item()
        if not difference < 0.05 * (1 + wanted.abs().max().item()):
            return f"its result is {difference:.2g} off"
    return None


def _xformers_attend(
    q: Float[Tensor, "b n h c"], k: Float[Tensor, "b m h c"], v: Float[Tensor, "b m h c"], scale: float | None
) -> Float[Tensor, "b n h c"]:
    import xformers.ops  # optional dependency, CUDA only

    return xformers.ops.memory_efficient_attention(q.contiguous(), k.contiguous(), v.contiguous(), scale=scale)
