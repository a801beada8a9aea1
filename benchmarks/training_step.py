"""A pretraining step against the released practice: same weights, same batch, ratios in one run.

    python benchmarks/training_step.py                                  # two cores, some minutes
    python benchmarks/training_step.py --device cuda --size full        # one GPU: bf16, MFU, largest batch in 80 GB

Variants run in turns, so that a machine that slows down slows all of them; the ratio is that of the medians. Every
variant starts from the same weights and sees the same batch; its first gradient norm and its last loss are compared
with the reference's. Levers are added one after the other.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from released_step import ReleasedRenderer, released_update
from torch import Tensor, nn

from wildrayzer.config import ModelConfig, PerceptualConfig
from wildrayzer.losses import PerceptualLoss, build_perceptual, gated_mse
from wildrayzer.losses.perceptual import VGGPerceptual
from wildrayzer.losses.vgg19 import CONVOLUTIONS, VGG19Features
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import Workload, model_cost, total
from wildrayzer.models.cost.parameters import parameter_counts
from wildrayzer.models.transformer import Stack, compile_blocks
from wildrayzer.tools.planning.machine import matmul_rate
from wildrayzer.tools.planning.work import VGG_WIDTHS, vgg19_cost
from wildrayzer.training.optimizer import parameter_groups

SIZES = {
    "small": (
        ModelConfig(
            image_size=64, patch_size=8, width=192, head_width=48, camera_blocks=4, scene_blocks=3, decoder_blocks=4,
            scene_tokens=64, motion_head=None,
        ),
        Workload(batch=2, inputs=2, targets=4),
    ),
    "full": (ModelConfig(motion_head=None, view_type_embedding=True), Workload(batch=8, inputs=2, targets=6)),
}  # fmt: skip
CLIP = 1.0
GIGA = 1e9


@dataclass(frozen=True)
class Variant:
    """One way to take a step."""

    name: str
    released: bool = False
    recompute: bool = True
    fused: bool = False
    bfloat16: bool = False
    compiled: bool = False


def variants(device: str, wanted: set[str]) -> list[Variant]:
    """The reference, then levers one after the other; bf16 throughout on a GPU, as in the paper."""
    half = device == "cuda"
    found = [
        Variant("released practice", released=True, bfloat16=half),
        Variant("+ activations kept", released=True, recompute=False, bfloat16=half),
        Variant("+ tokens that are read, fused norms", recompute=False, bfloat16=half),
        Variant("+ fused update, no read-back", recompute=False, fused=True, bfloat16=half),
        Variant("the same, every block recomputed", fused=True, bfloat16=half),
    ]
    if "bf16" in wanted and not half:
        found.append(Variant("+ bfloat16", recompute=False, fused=True, bfloat16=True))
    if "compile" in wanted:
        found.append(Variant("+ torch.compile", recompute=False, fused=True, bfloat16=half, compiled=True))
    return found


def random_vgg(device: str) -> PerceptualLoss:
    """The perceptual loss with random weights: the time is that of the real ones."""
    widths = [3, *VGG_WIDTHS]
    generator = torch.Generator().manual_seed(0)
    layers = {
        name: (
            torch.randn(after, before, 3, 3, generator=generator) * (2.0 / (9 * before)) ** 0.5,
            torch.zeros(after),
        )
        for name, before, after in zip(CONVOLUTIONS, widths, widths[1:], strict=False)
    }
    return VGGPerceptual(VGG19Features(layers), "random00").to(device).eval()


class Step:
    """A variant with weights and optimiser of its own; a call takes one optimiser step."""

    def __init__(self, variant: Variant, model: WildRayZer, perceptual: PerceptualLoss, device: str) -> None:
        self.variant, self.perceptual, self.device = variant, perceptual, device
        self.model = copy.deepcopy(model)
        self.module: nn.Module = self.model
        if variant.released:
            self.module = ReleasedRenderer(self.model, recompute=variant.recompute)
        for stack in self.model.modules():
            if isinstance(stack, Stack):
                stack.checkpoint_every = int(variant.recompute)
        if variant.compiled:
            compile_blocks(self.model)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.parameters, 0.05), lr=1e-4, betas=(0.9, 0.95), fused=variant.fused
        )

    def __call__(self, images: Tensor, inputs: int) -> tuple[Tensor, Tensor]:
        """Loss before the step and norm of its gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        truth = images[:, inputs:]
        with torch.autocast(self.device, torch.bfloat16, enabled=self.variant.bfloat16):
            rendered = self.module(images, inputs)
            render = rendered if self.variant.released else rendered.render
            photometric = gated_mse(render, truth).value
            loss = photometric + 0.2 * self.perceptual(render.flatten(0, 1), truth.flatten(0, 1))
        loss.backward()
        if self.variant.fused:
            norm = nn.utils.clip_grad_norm_(self.parameters, CLIP)
            self.optimizer.step()
        else:
            loss.item()
            norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
            released_update(self.optimizer, self.parameters, CLIP)
        return loss.detach(), norm.detach()


def timed(step: Step, images: Tensor, inputs: int, repeats: int) -> tuple[float, tuple[Tensor, Tensor]]:
    """Seconds of a step, and loss and gradient norm of the last one."""
    _synchronise(step.device)
    begun = time.perf_counter()
    for _ in range(repeats):
        figures = step(images, inputs)
    _synchronise(step.device)
    return (time.perf_counter() - begun) / repeats, figures


def relative(value: Tensor, reference: Tensor) -> float:
    """Relative difference."""
    return abs(value.item() / reference.item() - 1)


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def compare(
    device: str,
    size: str,
    compared: list[Variant],
    *,
    rounds: int,
    repeats: int,
    perceptual_kind: str,
    batch: int | None,
) -> list[Step]:
    """Print the table of variants, relative to the first."""
    config, work = SIZES[size]
    work = replace(work, batch=batch or work.batch)
    torch.manual_seed(0)
    model = WildRayZer(config).to(device)
    perceptual = random_vgg(device) if perceptual_kind == "vgg19" else build_perceptual(PerceptualConfig(kind="none"))
    images = torch.rand(work.batch, work.views, 3, config.image_size, config.image_size, device=device)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    rate = matmul_rate(device=device, dtype=dtype)
    useful = total(model_cost(config, work)).useful
    if perceptual_kind == "vgg19":
        useful += vgg19_cost(work.batch * work.targets, config.image_size).useful
    print(f"{size}: {sum(parameter_counts(config).values()) / 1e6:.1f} M parameters, {work}, {perceptual_kind}")
    print(f"{useful / GIGA:.1f} GFLOP a step without recomputation; matrix products here: {rate / GIGA:.0f} GFLOP/s")
    steps = [Step(variant, model, perceptual, device) for variant in compared]
    first = [step(images, work.inputs) for step in steps]
    times: list[list[float]] = [[] for _ in steps]
    last = list(first)
    memory = [0.0] * len(steps)
    for _ in range(rounds):
        for number, step in enumerate(steps):
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds, last[number] = timed(step, images, work.inputs, repeats)
            times[number].append(seconds)
            memory[number] = torch.cuda.max_memory_allocated() if device == "cuda" else 0.0
    reference = statistics.median(times[0])
    print(f"loss {first[0][0]:.5f} at step 1, {last[0][0]:.5f} at step {1 + rounds * repeats}; 'off' is relative")
    print(f"{'variant':<38} {'s/step':>8} {'samples/s':>9} {'ratio':>6} {'of rate':>7} {'norm off':>9} {'last off':>9}")
    for number, (step, seconds, peak) in enumerate(zip(steps, times, memory, strict=True)):
        median = statistics.median(seconds)
        off = (relative(first[number][1], first[0][1]), relative(last[number][0], last[0][0]))
        line = (
            f"{step.variant.name:<38} {median:8.4f} {work.batch / median:9.2f} {reference / median:6.2f} "
            f"{useful / median / rate:7.1%} {off[0]:9.1e} {off[1]:9.1e}"
        )
        print(line + (f" peak {peak / GIGA:.1f} GB" if peak else ""))
    return steps


def profile(step: Step, size: str) -> None:
    """Print the share of each kind of operation in the CPU time of a variant's step."""
    config, work = SIZES[size]
    images = torch.rand(work.batch, work.views, 3, config.image_size, config.image_size, device=step.device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as taken:
        timed(step, images, work.inputs, 5)
    rows = sorted(taken.key_averages(), key=lambda row: -row.self_cpu_time_total)
    whole = sum(row.self_cpu_time_total for row in rows)
    print(f"{step.variant.name}, share of the CPU time:")
    for row in rows[:14]:
        print(f"{row.self_cpu_time_total / whole:6.1%} {row.key}")


def largest_batch(size: str, limit: float) -> None:
    """Print the largest batch whose step stays within `limit` bytes on the GPU, kept and recomputed."""
    config, work = SIZES[size]
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / torch.cuda.get_device_properties(0).total_memory))
    for recompute in (False, True):
        torch.cuda.empty_cache()
        torch.manual_seed(0)
        variant = Variant("", recompute=recompute, fused=True, bfloat16=True)
        step = Step(variant, WildRayZer(config).cuda(), random_vgg("cuda"), "cuda")

        def fits(batch: int, step: Step = step) -> bool:
            try:
                step(torch.rand(batch, work.views, 3, config.image_size, config.image_size, device="cuda"), work.inputs)
            except torch.OutOfMemoryError:
                return False
            finally:
                step.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
            return True

        batch = bisect(fits)
        print(
            f"largest batch in {limit / GIGA:.0f} GB, {'every block recomputed' if recompute else 'all kept'}: {batch}"
        )


def bisect(fits: Callable[[int], bool]) -> int:
    """The largest batch that fits, 0 if none does."""
    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(description=Path(__file__).stem, epilog=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--perceptual", choices=["vgg19", "none"], default="none")
    parser.add_argument("--levers", nargs="*", choices=["bf16", "compile"], default=[])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=2, help="steps in a row of one variant")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None, help="samples, in place of those of the size")
    parser.add_argument("--only", type=int, nargs="+", help="variants by their place in the table, from 0")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="print where the time of the first float32 variant with the fused update goes",
    )
    parser.add_argument("--memory-gb", type=float, default=80.0, help="limit of the search for the largest batch")
    parser.add_argument("--no-search", action="store_true", help="do not look for the largest batch")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    print(f"torch {torch.__version__}, {given.device}, {torch.get_num_threads()} threads")
    known = variants(given.device, set(given.levers))
    compared = known if given.only is None else [known[number] for number in given.only]
    steps = compare(
        given.device, given.size, compared,
        rounds=given.rounds, repeats=given.repeats, perceptual_kind=given.perceptual, batch=given.batch,
    )  # fmt: skip
    if given.profile:
        profile(next(step for step in steps if step.variant.fused), given.size)
    if given.device == "cuda" and not given.no_search:
        largest_batch(given.size, given.memory_gb * GIGA)


if __name__ == "__main__":
    main()
