"""Training batches: samples of both splits, with pasted objects, motion labels and gates."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildrayzer.config import StageConfig
from wildrayzer.data.sampling.views import SampleSource
from wildrayzer.training.labels import PseudoLabels
from wildrayzer.training.plan import BatchPlan, Item
from wildrayzer.training.pretext import draw_crops
from wildrayzer.training.tokens import draw_token_mask

NOT_COMPUTED = 255
_PASTE_STREAM, _TOKEN_STREAM, _CROP_STREAM = 7, 11, 13


@dataclass(frozen=True)
class Batch:
    """One micro-batch. Views are ordered inputs first; 1 = transient."""

    images: Float[Tensor, "b v 3 h w"]
    """What the network sees, in [0, 1]."""
    truth: Float[Tensor, "b t 3 h w"]
    """What the renderings are compared with: the target frames, without pasted objects."""
    motion: Float[Tensor, "b v 1 h w"]
    """Motion labels; meaningless where `supervised` is 0."""
    supervised: Float[Tensor, "b v"]
    """1 where a view's label trains the motion head."""
    gate: Float[Tensor, "b t 1 h w"]
    """Pixels of the targets that move on their own and are kept out of the photometric loss."""
    dynamic: Bool[Tensor, " b"]
    """Samples of the dynamic split."""
    token_mask: Bool[Tensor, "b k n"] | None = None
    """Input tokens to replace beside those that the motion head chooses."""
    crop_views: Int[Tensor, " b"] | None = None
    """View of each sample that the crop pretext takes, while it lasts."""
    crop_offsets: Float[Tensor, "b 2 2"] | None = None
    """Centres of its two crops."""

    @property
    def num_inputs(self) -> int:
        """Input views of every sample."""
        return self.images.shape[1] - self.truth.shape[1]

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU run beside its work."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors: dict[str, Tensor | None] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items() if tensor is not None})

    def filter_figures(self) -> dict[str, Tensor]:
        """Shares of the views that are dynamic, and that are dynamic and supervise the motion head."""
        dynamic = self.dynamic.float()[:, None].expand_as(self.supervised)
        return {"dynamic_views": dynamic.mean(), "passing_views": (dynamic * self.supervised).mean()}


@dataclass(frozen=True)
class _Sample:
    images: np.ndarray
    truth: np.ndarray
    motion: np.ndarray
    supervised: np.ndarray
    gated: bool


class BatchBuilder:
    """Draws the samples of a step.

    Args:
        stage: the stage's data mix.
        plan: which samples a step holds.
        static: source of static clips.
        dynamic: source of dynamic clips, if the stage has any.
        labels: pseudo-masks of the dynamic clips.
        paste: `(generator, frames uint8 [v h w 3]) -> (pasted, mask uint8 [v h w])`, if the stage pastes objects.
        grid: tokens along a side of a view, for token masks.
        seed: seed of the run.
    """

    def __init__(
        self,
        *,
        stage: StageConfig,
        plan: BatchPlan,
        static: SampleSource,
        dynamic: SampleSource | None = None,
        labels: PseudoLabels | None = None,
        paste: Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
        grid: int,
        seed: int,
    ) -> None:
        self.stage = stage
        self.plan = plan
        self.static = static
        self.dynamic = dynamic
        self.labels = labels
        self.paste = paste
        self.grid = grid
        self.seed = seed

    def build(self, step: int, *, rank: int, world: int) -> list[Batch]:
        """This process's micro-batches of a step."""
        inputs = self.plan.inputs(step)
        samples = [self._draw(item, inputs) for item in self.plan.share(step, rank=rank, world=world)]
        places = np.arange(self.stage.batch)[rank::world]
        drawn = self._draws(step, inputs, len(samples[0].images))
        size = min(self.stage.micro_batch, len(samples))
        parts = [slice(start, start + size) for start in range(0, len(samples), size)]
        return [
            replace(_collate(samples[part], inputs), **{name: draw[places[part]] for name, draw in drawn.items()})
            for part in parts
        ]

    def _draws(self, step: int, inputs: int, views: int) -> dict[str, Tensor]:
        """Token masks and crops of the whole batch, of which each process and micro-batch takes its samples' own.

        The last number of their seeds is constant: it keeps the draws that recorded runs of one process had.
        """
        drawn = {}
        if self.stage.token_mask_share:
            drawn["token_mask"] = draw_token_mask(
                [self.seed, _TOKEN_STREAM, step, 0],
                batch=self.stage.batch,
                views=inputs,
                grid=self.grid,
                share=self.stage.token_mask_share,
                clustered=self.stage.token_mask == "clustered",
            )
        if step < self.stage.crop_pretext.steps:
            drawn["crop_views"], drawn["crop_offsets"] = draw_crops(
                np.random.default_rng([self.seed, _CROP_STREAM, step, 0]),
                batch=self.stage.batch,
                views=views,
                config=self.stage.crop_pretext,
            )
        return drawn

    def _draw(self, item: Item, inputs: int) -> _Sample:
        if item.kind == "dynamic":
            return self._draw_dynamic(item, inputs)
        drawn = self.static.sample(item.epoch, item.scene, inputs)
        frames: np.ndarray = drawn["images"]
        empty = np.zeros(frames.shape[:3], np.uint8)
        everything = np.ones(len(frames), np.float32)
        generator = np.random.default_rng([self.seed, _PASTE_STREAM, item.epoch, item.scene])
        if self.paste is None or generator.random() >= self.stage.paste_share:
            return _Sample(frames, frames[inputs:], empty, everything, gated=False)
        pasted, mask = self.paste(generator, frames)
        return _Sample(pasted, frames[inputs:], mask, everything, gated=False)

    def _draw_dynamic(self, item: Item, inputs: int) -> _Sample:
        assert self.dynamic is not None
        drawn = self.dynamic.sample(item.epoch, item.scene, inputs)
        frames: np.ndarray = drawn["images"]
        if self.labels is None:
            blank = np.zeros(frames.shape[:3], np.uint8)
            return _Sample(frames, frames[inputs:], blank, np.zeros(len(frames), np.float32), gated=False)
        mask = drawn["augment"](self.labels.read(drawn["frames"])[..., None])[..., 0]
        known = (mask != NOT_COMPUTED).all((1, 2))
        fit = self.labels.psnr(drawn["frames"]) > self.stage.psnr_filter
        supervised = (known & fit).astype(np.float32) if self.stage.pseudo_masks else np.zeros(len(frames), np.float32)
        return _Sample(frames, frames[inputs:], mask, supervised, gated=True)


def _collate(samples: list[_Sample], inputs: int) -> Batch:
    def pictures(name: str) -> Tensor:
        stacked = np.stack([getattr(sample, name) for sample in samples])
        return torch.from_numpy(stacked).permute(0, 1, 4, 2, 3).float().div_(255.0).contiguous()

    motion = torch.from_numpy(np.stack([sample.motion for sample in samples]))[:, :, None]
    gated = torch.tensor([sample.gated for sample in samples])
    # a frame whose mask was not computed (255) keeps all its pixels
    gate = (motion[:, inputs:] == 1) & gated[:, None, None, None, None]
    return Batch(
        images=pictures("images"),
        truth=pictures("truth"),
        motion=motion.float(),
        supervised=torch.from_numpy(np.stack([sample.supervised for sample in samples])),
        gate=gate.float(),
        dynamic=gated,
    )
