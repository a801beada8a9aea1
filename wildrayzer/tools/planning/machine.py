"""Rates of machines: a matrix product timed on this machine, and data sheets of GPUs."""

import time
from dataclasses import dataclass

import torch

MATMUL_SIDE = {"cpu": 1024, "cuda": 8192}
"""Side of the square matrices that are timed: large enough to be limited by arithmetic, small enough to be quick."""


@dataclass(frozen=True)
class Gpu:
    """Data sheet of a GPU."""

    bfloat16: float
    """Dense bfloat16 operations per second."""
    memory: float
    """Bytes of memory."""


GPUS = {
    "h200": Gpu(989e12, 141e9),
    "h100": Gpu(989e12, 80e9),
    "a100": Gpu(312e12, 80e9),
    "l40s": Gpu(362e12, 48e9),
}
"""GPUs by the value of `compute.gpu_model` (the SXM form where there are several)."""


def gpu_specs(model: str) -> Gpu:
    """Data sheet of a GPU model, in upper or lower case.

    Raises:
        ValueError: the model is unknown.
    """
    specs = GPUS.get(model.lower())
    if specs is None:
        raise ValueError(
            f"compute.gpu_model = {model!r}: no stated rate is known (known: {', '.join(sorted(GPUS))}); pass the "
            "operations per second that a job reaches with --rate"
        )
    return specs


def matmul_rate(
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seconds: float = 1.0,
    cpu_time: bool = False,
) -> float:
    """Operations per second of a square matrix product: the best of at least three, for about `seconds`.

    With `cpu_time`, on CPUs only, times are CPU times divided by threads, so that other processes do not count.
    """
    kind = torch.device(device).type
    side = MATMUL_SIDE[kind]
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    best, start, rounds = float("inf"), time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - start < seconds:
        best = min(best, _timed_product(left, right, kind, cpu_time))
        rounds += 1
    return 2.0 * side**3 / best


def _timed_product(left: torch.Tensor, right: torch.Tensor, kind: str, cpu_time: bool) -> float:
    if cpu_time:
        start = time.process_time()
        left @ right
        return (time.process_time() - start) / torch.get_num_threads()
    if kind == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    left @ right
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
