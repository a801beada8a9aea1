"""Which feature backbone a GPU has room for, beside the network of a configuration."""

from collections.abc import Callable
from dataclasses import dataclass

from wildrayzer.config import RunConfig
from wildrayzer.models.cost.memory import activation_bytes
from wildrayzer.models.cost.parameters import parameter_counts
from wildrayzer.tools.planning.cost_table import markdown, size
from wildrayzer.tools.planning.work import TIMM, BackboneSizes
from wildrayzer.training.objective import RECIPES, workload

CARDS = (8, 24, 80)
"""Memory of GPUs in GB that the table is for."""
_RESERVED, _FREE = 1e9, 0.9
"""Bytes for driver and kernels, and the share of the rest that is not lost to fragmentation; both are assumed."""
_TRAINED = 16
"""Bytes per trained parameter: weight, gradient and both moments of AdamW, in float32."""
_MOST = 256
"""Largest number of images or samples that is looked for."""
_BYTES = {"float32": 4, "bfloat16": 2}
_SHOWN = (
    "vit_small_patch16_dinov3", "vit_base_patch16_dinov3", "vit_large_patch16_dinov3", "vit_huge_plus_patch16_dinov3",
    "vit_7b_patch16_dinov3", "vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2",
    "vit_large_patch14_reg4_dinov2", "vit_giant_patch14_reg4_dinov2",
)  # fmt: skip


def image_bytes(sizes: BackboneSizes, patches: int, *, precision: str) -> int:
    """Bytes that one image takes at most in a pass without gradients.

    A block holds the tokens and their norm, and then either queries, keys, values, rotated queries and keys, and the
    attention's output, or two (gated: three) tensors of the feed-forward layer. The pixels are float32 once and in the
    arithmetic of the backbone once; features come out in float32.

    Args:
        sizes: of the backbone.
        patches: of an image.
        precision: `float32` or `bfloat16`.
    """
    tokens = patches + sizes.extra_tokens
    block = max(8 * sizes.width, 2 * sizes.width + (3 if sizes.gated else 2) * sizes.hidden)
    pixels = 3 * patches * sizes.patch**2
    return _BYTES[precision] * (tokens * block + pixels) + 4 * (pixels + patches * sizes.width)


@dataclass(frozen=True)
class _Room:
    """A configuration's needs beside a backbone."""

    config: RunConfig
    parameters: int
    """Of its network."""

    def masks(self, sizes: BackboneSizes, card: int) -> int | None:
        """Images per pass (`features.batch`) of a job that makes masks; None if the card is too small."""
        precision = self.config.features.precision
        free = _usable(card) - 4 * self.parameters - _BYTES[precision] * sizes.parameters
        return _most(lambda images: images * image_bytes(sizes, self._patches, precision=precision) <= free)

    def training(self, sizes: BackboneSizes, card: int) -> int | None:
        """Samples per micro-batch of joint training on one GPU; None if the card is too small."""
        features, stage, recipe = self.config.features, self.config.joint, RECIPES["joint"]
        head = self.config.model.motion_head
        assert head is not None
        model = self.config.model.model_copy(
            update={"motion_head": head.model_copy(update={"feature_width": sizes.width})}
        )
        free = _usable(card) - _TRAINED * self.parameters - _BYTES[features.precision] * sizes.parameters

        def fits(samples: int) -> bool:
            work = workload(recipe, stage, batch=samples)
            images = min(samples * work.head_views, features.batch)
            needed = images * image_bytes(sizes, self._patches, precision=features.precision)
            return activation_bytes(model, work, precision=stage.precision) + needed <= free

        return _most(fits)

    @property
    def _patches(self) -> int:
        return self.config.model.grid**2


def memory_table(config: RunConfig) -> str:
    """Markdown table: what GPUs of 8, 24 and 80 GB take of each backbone beside the network of a configuration.

    Lines below the table name the largest backbone for each card.
    """
    room, learns = _Room(config, sum(parameter_counts(config.model).values())), config.learns_motion
    jobs = {"masks": room.masks, **({"joint": room.training} if learns else {})}
    found = {name: {(job, card): made(TIMM[name], card) for job, made in jobs.items() for card in CARDS}
             for name in _SHOWN}  # fmt: skip
    header = ("backbone", "width", "weights", *(f"{job}, {card} GB" for job in jobs for card in CARDS))
    rows = [
        (name, str(TIMM[name].width), size(1.0 * _BYTES[config.features.precision] * TIMM[name].parameters),
         *("–" if cell is None else str(cell) for cell in cells.values()))
        for name, cells in found.items()
    ]  # fmt: skip
    return "\n".join([
        markdown(header, rows),
        f"masks: images per pass (features.batch, at most {_MOST}) of jobs that make masks. "
        + ("joint: samples per micro-batch of joint training on one GPU. " if learns else "")
        + "–: too little memory.",
        f"Assumed: {_RESERVED / 1e9:g} GB for driver and kernels, {1 - _FREE:.0%} lost to fragmentation. Left "
        "out: activations of the loss networks. Nothing of this is measured.",
        *(f"{card} GB: {_largest(found, card, tuple(jobs))}" for card in CARDS),
    ])  # fmt: skip


def _largest(found: dict[str, dict[tuple[str, int], int | None]], card: int, jobs: tuple[str, ...]) -> str:
    """The largest DINOv3 for each job on a card."""
    fitting = {
        job: [name for name, cells in found.items() if name.endswith("dinov3") and cells[job, card]] for job in jobs
    }
    return ", ".join(f"{job} with up to {names[-1]}" if names else f"no {job}" for job, names in fitting.items())


def _usable(card: int) -> float:
    return _FREE * (card * 1e9 - _RESERVED)


def _most(fits: Callable[[int], bool]) -> int | None:
    """The largest power of two up to `_MOST` that fits; None if 1 does not."""
    if not fits(1):
        return None
    count = 1
    while count < _MOST and fits(2 * count):
        count *= 2
    return count
