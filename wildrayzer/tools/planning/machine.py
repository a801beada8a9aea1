"""Rates of machines: a matrix product timed here, and stated figures of GPUs."""

import time
from dataclasses import dataclass

import torch

MATMUL_SIDE = {"cpu": 1024, "cuda": 8192}
"""Side of the square product that is timed: large enough to be bound by arithmetic, small enough to be quick."""


@dataclass(frozen=True)
class Gpu:
    """Stated figures of a GPU, from its data sheet."""

    bfloat16: float
    """Dense bfloat16 operations a second."""
    memory: float
    """Bytes of memory."""


GPUS = {
    "h200": Gpu(989e12, 141e9),
    "h100": Gpu(989e12, 80e9),
    "a100": Gpu(312e12, 80e9),
    "l40s": Gpu(362e12, 48e9),
}
"""GPUs that `compute.gpu_model` is looked up in (SXM where there are several)."""


def gpu_figures(model: str) -> Gpu:
    """Stated figures of a GPU model, whatever its case.

    Raises:
        ValueError: no figures are known.
    """
    found = GPUS.get(model.lower())
    if found is None:
        raise ValueError(
            f"compute.gpu_model = {model!r}: no stated rate is known (known: {', '.join(sorted(GPUS))}); pass the "
            "operations a second that a job reaches with --rate"
        )
    return found


def matmul_rate(
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seconds: float = 1.0,
    cpu_time: bool = False,
) -> float:
    """Operations a second of a square matrix product, the best of as many as fit into `seconds`; at least three.

    With `cpu_time`, for CPUs alone, times are CPU times over threads, so that other work of the machine does not count.
    """
    kind = torch.device(device).type
    side = MATMUL_SIDE[kind]
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    best, begun, rounds = float("inf"), time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - begun < seconds:
        best = min(best, _timed_product(left, right, kind, cpu_time))
        rounds += 1
    return 2.0 * side**3 / best


def _timed_product(left: torch.Tensor, right: torch.Tensor, kind: str, cpu_time: bool) -> float:
    if cpu_time:
        begun = time.process_time()
        left @ right
        return (time.process_time() - begun) / torch.get_num_threads()
    if kind == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    left @ right
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun
