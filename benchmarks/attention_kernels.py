"""Attention kernels against each other: time, and how far outputs and gradients are from the exact ones.

    python benchmarks/attention_kernels.py                         # float32 on the CPU: math and flash
    python benchmarks/attention_kernels.py --device cuda --size full    # bf16: math, flash, efficient, cuDNN, xformers

The exact result is torch's `math` kernel in float64 on the same numbers. Sizes are those of the three stacks of the
network: camera encoder, scene encoder, decoder.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from wildrayzer.models.attention import attend, resolve_kernel

STACKS = {
    "small": {"camera encoder": (2, 390, 4), "scene encoder": (2, 192, 4), "decoder": (8, 128, 4)},
    "full": {"camera encoder": (8, 2056, 12), "scene encoder": (8, 1280, 12), "decoder": (48, 1024, 12)},
}
"""Rows, tokens and heads of one attention call; heads are 64 wide at full size (2 + 6 views, 8 samples), else 48."""
HEAD_WIDTH = {"small": 48, "full": 64}
BACKENDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]


def sdpa(backend: SDPBackend) -> Kernel:
    """One backend of torch's attention on tensors [b n h c]."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            result = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return result.transpose(1, 2)

    return run


def kernels(device: torch.device, dtype: torch.dtype, head_width: int) -> dict[str, Kernel]:
    """What can run here: torch's backends, tried one by one, and xformers where its probe passes."""
    found = {}
    probe = [torch.randn(1, 8, 2, head_width, device=device, dtype=dtype, requires_grad=True) for _ in range(3)]
    for name, backend in BACKENDS.items():
        try:
            sdpa(backend)(*probe).sum().backward()
        except RuntimeError as error:
            print(f"{name}: not here ({str(error).splitlines()[0]})")
        else:
            found[name] = sdpa(backend)
    if resolve_kernel("xformers", device, dtype, head_width) == "xformers":
        found["xformers"] = lambda q, k, v: attend(q, k, v, kernel="xformers")
    else:
        print("xformers: not here")
    return found


def both_passes(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, gradient: Tensor) -> list[Tensor]:
    """Output and gradients of q, k and v."""
    leaves = [part.detach().requires_grad_() for part in (q, k, v)]
    output = kernel(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, gradient)]


def seconds_of(kernel: Kernel, tensors: list[Tensor], rounds: int) -> float:
    """Median time of both passes."""
    times = []
    for _ in range(rounds):
        _synchronise(tensors[0])
        begun = time.perf_counter()
        both_passes(kernel, *tensors)
        _synchronise(tensors[0])
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _synchronise(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def difference(found: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference over that of the exact values."""
    return ((found.double() - exact).square().mean() / exact.square().mean()).sqrt().item()


def compare(device: torch.device, size: str, rounds: int) -> None:
    """Print a table a stack."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    width = HEAD_WIDTH[size]
    available = kernels(device, dtype, width)
    generator = torch.Generator(device).manual_seed(0)
    for stack, (rows, tokens, heads) in STACKS[size].items():
        shape = (rows, tokens, heads, width)
        tensors = [torch.randn(shape, device=device, generator=generator).to(dtype) for _ in range(4)]
        # one row is enough for the differences: float64 scores of all of them would not fit
        one = [part[:1] for part in tensors]
        exact = both_passes(sdpa(SDPBackend.MATH), *(part.double() for part in one))
        print(f"{stack}: {rows} rows of {tokens} tokens, {heads} heads of {width}, {dtype}")
        reference = seconds_of(available["math"], tensors, rounds)
        for name, kernel in available.items():
            spent = reference if name == "math" else seconds_of(kernel, tensors, rounds)
            operations = 3.5 * 4.0 * rows * tokens**2 * heads * width
            off = [difference(*pair) for pair in zip(both_passes(kernel, *one), exact, strict=True)]
            print(
                f"  {name:<10} {1e3 * spent:9.2f} ms, ratio to math {reference / spent:5.2f}, "
                f"{operations / spent / 1e12:7.2f} TFLOP/s, off: output {off[0]:.1e}, gradients {max(off[1:]):.1e}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(epilog=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=STACKS, default="small")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    compare(torch.device(given.device), given.size, given.rounds)


if __name__ == "__main__":
    main()
