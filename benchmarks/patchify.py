"""Image patches to tokens three ways: the network's own rearrangement and linear map, a strided convolution, and the
same on images that lie channels last. Forward and backward, float32, same values.

    python benchmarks/patchify.py --threads 2
    python benchmarks/patchify.py --size 256 --patch 8 --width 768
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from wildrayzer.models.tokens import patchify


def ways(weight: Tensor, patch: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Functions of images [b, 3, h, w] that give the same tokens [b, n, width]."""

    def linear(images: Tensor) -> Tensor:
        return nn.functional.linear(patchify(images[None], patch)[0], weight)

    def convolved(images: Tensor) -> Tensor:
        kernel = rearrange(weight, "w (ph pw c) -> w c ph pw", ph=patch, pw=patch)
        return nn.functional.conv2d(images, kernel, stride=patch).flatten(2).transpose(1, 2)

    def channels_last(images: Tensor) -> Tensor:
        return convolved(images.contiguous(memory_format=torch.channels_last))

    return {"rearranged, linear": linear, "convolution": convolved, "convolution, channels last": channels_last}


def milliseconds(function: Callable[[Tensor], Tensor], images: Tensor, weight: Tensor, rounds: int) -> float:
    """Median time of a forward and backward pass."""
    times = []
    for _ in range(rounds):
        weight.grad = None
        begun = time.perf_counter()
        function(images).square().mean().backward()  # type: ignore[no-untyped-call]
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("size", 48), ("patch", 6), ("width", 96), ("images", 24), ("threads", 1), ("rounds", 50)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    images = torch.rand(given.images, 3, given.size, given.size)
    weight = nn.Parameter(torch.randn(given.width, 3 * given.patch**2) / given.patch)
    made = ways(weight, given.patch)
    expected = made["rearranged, linear"](images)
    for name, function in made.items():
        torch.testing.assert_close(function(images), expected, rtol=1e-4, atol=1e-4, msg=name)
    times = {name: milliseconds(function, images, weight, given.rounds) for name, function in made.items()}
    print(
        f"{given.images} images of {given.size} px, patch {given.patch}, width {given.width}, {given.threads} threads"
    )
    for name, value in times.items():
        print(f"  {name:<28}{value:8.2f} ms  ×{times['rearranged, linear'] / value:.2f}")


if __name__ == "__main__":
    main()
