"""Operation counts of the network by part, from its sizes alone: what a forward pass and a training step compute.

Counted are matrix products and convolutions, a multiplication and an addition as two operations, as
`torch.utils.flop_counter` does; norms, activations, softmax, resizing and 3×3 rotations are not. Fused
attention recomputes its scores in the backward pass, which makes that pass 2.5 times the forward one in place of 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.camera_encoder import camera_tokens, sees_all_views

FUSED_BACKWARD = 2.5
"""Backward over forward operations of fused attention: five products in place of two."""


@dataclass(frozen=True)
class Cost:
    """Floating-point operations."""

    forward: float = 0.0
    backward: float = 0.0
    recomputed: float = 0.0
    """Forward operations that checkpointed blocks do again in the backward pass."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.forward + other.forward, self.backward + other.backward, self.recomputed + other.recomputed)

    @property
    def total(self) -> float:
        """All operations that the machine does."""
        return self.forward + self.backward + self.recomputed

    @property
    def useful(self) -> float:
        """Operations without recomputation: what a share of the peak rate (MFU) is measured by."""
        return self.forward + self.backward

    @property
    def frozen(self) -> "Cost":
        """The same part without gradients."""
        return Cost(self.forward)


def total(parts: dict[str, Cost]) -> Cost:
    """Sum over parts."""
    return sum(parts.values(), Cost())


@dataclass(frozen=True)
class Workload:
    """What one pass of a training step computes.

    Args:
        batch: samples.
        inputs: input views of a sample.
        targets: target views of a sample.
        motion: whether the motion head runs.
        gate_only: whether it sees the inputs alone.
        renders: whether targets are rendered; distillation stops after the rays.
        trains_renderer: whether gradients reach the renderer.
        trains_motion: whether gradients reach the motion head.
    """

    batch: int
    inputs: int
    targets: int
    motion: bool = False
    gate_only: bool = False
    renders: bool = True
    trains_renderer: bool = True
    trains_motion: bool = False

    @property
    def views(self) -> int:
        """Views of a sample."""
        return self.inputs + self.targets

    @property
    def head_views(self) -> int:
        """Views that the motion head sees, and the feature backbone for it."""
        return self.inputs if self.gate_only else self.views


def model_cost(config: ModelConfig, work: Workload, *, attention_backward: float = FUSED_BACKWARD) -> dict[str, Cost]:
    """Operations of a step by part of the network, in the order of the data.

    Args:
        config: sizes.
        work: views, batch and what is trained.
        attention_backward: backward over forward operations of attention; 2 for a kernel that keeps its scores.
    """
    counter = _Counter(config, work, attention_backward)
    parts: dict[str, Cost] = {}
    if config.tokenizes_images:
        parts["image tokenizer"] = counter.image_tokenizer()
    if config.cameras == "predicted":
        parts |= {"camera encoder": counter.camera_encoder(), "camera head": counter.camera_head()}
    parts |= {"input rays": counter.rays(work.inputs), "target rays": counter.rays(work.targets)}
    if work.renders:
        parts |= {"scene encoder": counter.scene_encoder(), "decoder": counter.decoder()}
    if not work.trains_renderer:
        parts = {name: cost.frozen for name, cost in parts.items()}
    if work.motion:
        if config.motion_head is not None and config.motion_head.cross_residual:
            parts["leave-one-out views"] = counter.leave_one_out().frozen
        head = counter.motion_head()
        parts["motion head"] = head if work.trains_motion else head.frozen
    return parts


def linear(tokens: int, inside: int, outside: int, *, first: bool = False) -> Cost:
    """A linear layer; `first` when its input needs no gradient."""
    forward = 2.0 * tokens * inside * outside
    return Cost(forward, forward if first else 2.0 * forward)


def convolution(images: int, side: int, inside: int, outside: int, kernel: int) -> Cost:
    """A convolution that keeps the side of square images."""
    return linear(images * side * side, inside * kernel * kernel, outside)


def block_cost(
    width: int, batch: int, tokens: int, queries: int | None = None, *, attention_backward: float = FUSED_BACKWARD
) -> Cost:
    """A transformer block over `batch` rows of tokens; with `queries` only so many of them are computed."""
    asked = tokens if queries is None else queries
    attention = 4.0 * batch * asked * tokens * width
    return (
        linear(batch * asked, width, width)
        + linear(batch * tokens, width, 2 * width)
        + Cost(attention, attention_backward * attention)
        + linear(batch * asked, width, width)
        + _feed_forward(batch * asked, width)
    )


def _feed_forward(tokens: int, width: int) -> Cost:
    return linear(tokens, width, 4 * width) + linear(tokens, 4 * width, width)


def _two_layers(tokens: int, inside: int, width: int, outside: int, *, first: bool = False) -> Cost:
    return linear(tokens, inside, width, first=first) + linear(tokens, width, outside)


class _Counter:
    """The parts of `WildRayZer`, each counted as its module computes."""

    def __init__(self, config: ModelConfig, work: Workload, attention_backward: float) -> None:
        self.config, self.work, self.attention_backward = config, work, attention_backward
        self.width, self.patches = config.width, config.grid**2
        self.pixels = 3 * config.patch_size**2

    def image_tokenizer(self) -> Cost:
        if self.config.image_tokenizer == "dinov3":
            cost = self._dino_tokenizer()
        else:
            cost = linear(self.work.batch * self.work.views * self.patches, self.pixels, self.width, first=True)
        numbered = self.config.view_embedding == "number"
        if numbered or self.config.patch_positions == "sincos":
            views = self.work.views if numbered else 1
            cost += _two_layers(views * self.patches, self.width, self.width, self.width, first=True)
        return cost

    def _dino_tokenizer(self) -> Cost:
        """The ViT, without gradients where it is frozen, and the map to the width of the network."""
        options, images = self.config.dinov3, self.work.batch * self.work.views
        tokens, width = self.patches + 1 + options.register_tokens, options.width
        attention = 4.0 * images * tokens**2 * width
        rows, matrices = images * tokens, 3 if options.gated_mlp else 2
        block = sum(
            (linear(rows, width, width) for _ in range(4)), Cost(attention, self.attention_backward * attention)
        )
        block += sum((linear(rows, width, options.hidden_width) for _ in range(matrices)), Cost())
        vit = linear(images * self.patches, 3 * options.patch_size**2, width, first=True)
        vit = sum([block] * options.blocks, vit)
        mapped = Cost()
        if width != self.width:
            mapped = linear(images * self.patches, width, self.width, first=not options.trained)
        return (vit if options.trained else vit.frozen) + mapped

    def camera_encoder(self) -> Cost:
        batch, views = self.work.batch, self.work.views
        if self.config.camera_encoder == "pairwise":
            own = linear(batch * views * self.patches, self.pixels, self.width, first=True)
            place = linear(self.patches, self.width, self.width, first=True)
            return own + place + self._stack(self.config.camera_blocks, batch * (views - 1), 2 + 2 * self.patches, 2)
        tokens = camera_tokens(self.config)
        if self.config.camera_attention == "joint":
            keep = views if tokens > self.patches else None
            stack = self._stack(self.config.camera_blocks, batch, views * tokens, keep)
        else:
            shapes = [
                (batch, views * tokens) if sees_all_views(self.config, depth) else (batch * views, tokens)
                for depth in range(self.config.camera_blocks)
            ]
            blocks = [
                block_cost(self.width, rows, length, attention_backward=self.attention_backward)
                for rows, length in shapes
            ]
            stack = self._checkpointed(blocks, [batch * views * tokens])
        if self.config.view_embedding == "number" and tokens > self.patches:
            stack += _two_layers(views, self.width, self.width, self.width, first=True)
        return stack

    def camera_head(self) -> Cost:
        if self.config.camera_head == "pi3":
            return self._pi3_head()
        size = 3 + (6 if self.config.pose == "6d" else 4)
        cost = _two_layers(self.work.batch * self.work.views, 2 * self.width, self.width, size)
        if self.config.focal == "predicted":
            cost += _two_layers(self.work.batch, self.width, self.width, 1)
        return cost

    def _pi3_head(self) -> Cost:
        batch, views, width = self.work.batch, self.work.batch * self.work.views, self.width
        cost = sum((linear(views * self.patches, width, width) for _ in range(6)), Cost())
        cost += linear(views, width, width) + linear(views, width, width) + linear(views, width, 12)
        return cost + linear(batch, width, width) + linear(batch, width, width) + linear(batch, width, 1)

    def rays(self, views: int) -> Cost:
        fourier = self.config.ray_encoding == "fourier"
        samples = self.config.ray_samples if fourier else self.config.patch_size
        channels = 6 * (1 + 2 * self.config.ray_octaves) if fourier else 6
        given = self.config.cameras == "given"
        return linear(self.work.batch * views * self.patches, channels * samples**2, self.width, first=given)

    def scene_encoder(self) -> Cost:
        tokens = self.work.inputs * self.patches
        rows = self.work.batch * tokens
        if self.config.token_fusion == "pixel":
            fuse = linear(rows, self.pixels, self.width, first=True)
        else:
            fuse = linear(rows, 2 * self.width, self.width)
        if self.config.token_fusion == "mlp":
            fuse += linear(rows, self.width, self.width)
        if self.config.token_fusion == "residual":
            fuse += linear(rows, 2 * self.width, 2 * self.width) + linear(rows, 2 * self.width, 2 * self.width)
        length = self.config.scene_tokens
        keep = length if self.config.decoder_context == "scene" else None
        return fuse + self._stack(self.config.scene_blocks, self.work.batch, length + tokens, keep)

    def decoder(self) -> Cost:
        work = self.work
        context = self.config.scene_tokens
        if self.config.decoder_context == "scene_and_inputs":
            context += work.inputs * self.patches
        rows = work.batch * work.targets
        to_pixels = linear(rows * self.patches, self.width, self.pixels)
        if self.config.decoder_attention == "self":
            return self._stack(self.config.decoder_blocks, rows, self.patches + context, self.patches) + to_pixels
        attention = 4.0 * rows * self.patches * (self.patches + context) * self.width
        block = (
            linear(rows * self.patches, self.width, 3 * self.width)
            + linear(work.batch * context, self.width, 2 * self.width)
            + Cost(attention, self.attention_backward * attention)
            + linear(rows * self.patches, self.width, self.width)
            + _feed_forward(rows * self.patches, self.width)
        )
        return self._checkpointed([block] * self.config.decoder_blocks, [rows * self.patches]) + to_pixels

    def leave_one_out(self) -> Cost:
        """Each view that the head sees, rendered without itself (`WildRayZer.leave_one_out`)."""
        work = self.work
        cost = self.rays(work.inputs) + self.rays(work.head_views)
        for left_out in range(work.inputs):
            targets = len(range(left_out, work.head_views - work.inputs, work.inputs))
            part = _Counter(self.config, replace(work, inputs=work.inputs - 1, targets=1 + targets), 0.0)
            cost += part.scene_encoder() + part.decoder()
        return cost

    def motion_head(self) -> Cost:
        options = self.config.motion_head
        assert options is not None
        batch, patches, width = self.work.batch, self.patches, self.width
        views = self.work.head_views
        if options.kind == "convolutional":
            return self._convolutional_head(batch * views)
        sources = [width, width] * options.use_tokens + [options.feature_width] * options.use_features
        cost = sum((linear(batch * views * patches, source, width) for source in sources), Cost())
        maps = options.residual_maps
        if maps:
            # how the maps become tokens, and the way past the transformer; the maps themselves need no gradient
            cost += linear(batch * views * patches, 9 * maps, width, first=True)
            cost += linear(batch * views * patches, width, width) + linear(batch * views * patches, width, width)
        cost += _two_layers(batch * views * patches, (len(sources) + bool(maps)) * width, width, width)
        # joint attention runs over the views of a call: all of them in distillation, else inputs and targets apart
        groups = [views] if self.work.gate_only or not self.work.renders else [self.work.inputs, self.work.targets]
        for group in groups:
            rows, length = (batch, group * patches) if options.cross_view else (batch * group, patches)
            cost += self._stack(options.blocks, rows, length)
        return cost + self._mask_decoder(batch * views)

    def _convolutional_head(self, images: int) -> Cost:
        options, side, width = self.config.motion_head, self.config.grid, self.width
        assert options is not None
        into_renderer = options.use_tokens and self.work.trains_renderer and not self.work.gate_only
        cost = linear(images * side * side, options.channels_in(width), width, first=not into_renderer)
        for _ in range(options.blocks):
            cost += convolution(images, side, width, width, 3)
        return cost + convolution(images, side, width, 1, 1)

    def _mask_decoder(self, images: int) -> Cost:
        side, channels = self.config.grid, self.width // 2
        cost = linear(images * self.patches, self.width, self.width)
        cost += convolution(images, side, self.width, channels, 3) + convolution(images, side, channels, channels, 3)
        for _ in range(math.floor(math.log2(self.config.patch_size))):
            side, half = 2 * side, max(1, channels // 2)
            cost += convolution(images, side, channels, half, 1)
            cost += convolution(images, side, half, half, 3) + convolution(images, side, half, half, 3)
            channels = half
        return cost + convolution(images, side, channels, channels, 3) + convolution(images, side, channels, 1, 1)

    def _stack(self, blocks: int, batch: int, tokens: int, keep: int | None = None) -> Cost:
        queries = ([tokens] * (blocks - 1) + [tokens if keep is None else keep])[:blocks]
        costs = [
            block_cost(self.width, batch, tokens, asked, attention_backward=self.attention_backward)
            for asked in queries
        ]
        return self._checkpointed(costs, [batch * asked for asked in queries])

    def _checkpointed(self, blocks: Sequence[Cost], rows: Sequence[int]) -> Cost:
        """Sum of blocks; a recomputed block stops before its last linear layer, whose result nothing needs."""
        every = self.config.checkpoint_every
        again = 0.0
        for depth, block in enumerate(blocks):
            if every and depth % every == 0:
                last = linear(rows[min(depth, len(rows) - 1)], 4 * self.width, self.width)
                again += block.forward - last.forward
        return sum(blocks, Cost()) + Cost(recomputed=again)
