"""Memory of a training step from the network's sizes: what the blocks and the motion head keep for the backward pass.

Counted are the tensors that autograd saves in the blocks of all stacks, as measured on a CPU (fused GPU norms keep a
little less), the working set of one block that is recomputed, and a trained motion head around its blocks: its mask
decoder works at image resolution and keeps more than they do. Tokenizers, camera head and losses are left out; the
VGG-19 loss is the largest of these: small beside the paper's blocks, but not where every block is recomputed.
"""

import math

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.camera_encoder import camera_tokens
from wildrayzer.models.cost.flops import Workload

_SEEN = {"float32": 24, "bfloat16": 20}
"""Bytes a token and channel keeps even where only some tokens are computed: input, its norm, keys and values."""
_COMPUTED = {"float32": 56, "bfloat16": 36}
"""Bytes a computed token and channel adds: queries, attention, second norm, feed-forward."""
_STATISTICS = 4
"""Bytes of a row's mean, deviation or root mean square."""


def block_bytes(
    *, width: int, head_width: int, rows: int, tokens: int, queries: int | None = None, precision: str = "float32"
) -> int:
    """What a block keeps of `rows` × `tokens` tokens; with `queries` only so many of them are computed.

    Args:
        width: channels of a token.
        head_width: channels of a head.
        rows: samples or views.
        tokens: tokens of a row.
        queries: computed tokens; None computes all.
        precision: `float32`, or `bfloat16` for autocast.
    """
    heads = width // head_width
    asked = tokens if queries is None else queries
    kept = tokens * (_SEEN[precision] * width + (2 + heads) * _STATISTICS)
    kept += asked * (_COMPUTED[precision] * width + (2 + 2 * heads) * _STATISTICS)
    if queries is not None and precision == "float32":
        # the slice of the normed input that asks is a tensor of its own
        kept += queries * width * 4
    return rows * kept


def head_bytes(config: ModelConfig, *, views: int, precision: str = "float32") -> int:
    """What the motion head keeps of `views` views outside its blocks; the checkpoint policy changes nothing of it.

    Under autocast norms run in float32, as on a GPU, and keep their input and result so.

    Args:
        config: sizes; with a motion head.
        views: of all samples together.
        precision: `float32`, or `bfloat16` for autocast.
    """
    head = config.motion_head
    assert head is not None
    stored = 2 if precision == "bfloat16" else 4
    width, channels, pixels = config.width, config.width // 2, config.grid**2
    if head.kind == "convolutional":
        # what enters each convolution and each GELU
        return views * pixels * (head.channels_in(width) + 2 * (head.blocks + 1) * width) * stored
    # every source, all together, and the decoder's: normed, then projected
    sources = [width, width] * head.use_tokens + [head.feature_width] * head.use_features
    normed = sum(sources) + (len(sources) + head.cross_residual) * width + width
    kept = pixels * (normed * (4 + stored) + 3 * width * stored)
    kept += pixels * channels * (8 + stored)
    for _ in range(math.floor(math.log2(config.patch_size))):
        half, pixels = max(1, channels // 2), 4 * pixels
        # three times a norm and GELU, between them two convolutions
        kept += pixels * (channels * stored + half * (3 * 8 + 2 * stored))
        channels = half
    return views * (kept + 3 * pixels * channels * stored)


def activation_bytes(
    config: ModelConfig, work: Workload, *, precision: str = "float32", checkpoint_every: int | None = None
) -> int:
    """Bytes that the blocks and the motion head of a step hold at most.

    Args:
        config: sizes.
        work: views, batch and what is trained.
        precision: `float32` or `bfloat16`.
        checkpoint_every: in place of the model's; 0 keeps all activations.
    """
    every = config.checkpoint_every if checkpoint_every is None else checkpoint_every
    kept, largest = 0, 0
    if _trains_head(config, work):
        kept += head_bytes(config, views=work.batch * work.views, precision=precision)
    for blocks, rows, tokens, queries in _stacks(config, work):
        for depth in range(blocks):
            asked = queries if depth == blocks - 1 else None
            whole = block_bytes(
                width=config.width,
                head_width=config.head_width,
                rows=rows,
                tokens=tokens,
                queries=asked,
                precision=precision,
            )
            if every and depth % every == 0:
                kept += 4 * rows * tokens * config.width
                largest = max(largest, whole)
            else:
                kept += whole
    return kept + largest


def checkpoint_every_within(config: ModelConfig, work: Workload, *, budget: float, precision: str = "float32") -> int:
    """The checkpoint policy that recomputes least within a budget: 0 for none, else every n-th block.

    Args:
        config: sizes.
        work: one micro-batch.
        budget: bytes for activations.
        precision: `float32` or `bfloat16`.

    Raises:
        ValueError: not even recomputing every block fits.
    """
    deepest = max(blocks for blocks, *_ in _stacks(config, work))
    for every in (0, *range(deepest, 0, -1)):
        if activation_bytes(config, work, precision=precision, checkpoint_every=every) <= budget:
            return every
    least = activation_bytes(config, work, precision=precision, checkpoint_every=1)
    raise ValueError(
        f"compute.activation_gb = {budget / 1e9:g}: a micro-batch of {work.batch} samples of {work.views} views needs "
        f"{least / 1e9:.2f} GB with every block recomputed; lower micro_batch or raise the budget"
    )


def _stacks(config: ModelConfig, work: Workload) -> list[tuple[int, int, int, int | None]]:
    """Blocks, rows, tokens a row and computed tokens of the last block, of every stack that is trained.

    The cross decoder's blocks are taken as blocks over their own tokens and context.
    """
    patches = config.grid**2
    found: list[tuple[int, int, int, int | None]] = []
    if work.trains_renderer:
        tokens = camera_tokens(config)
        if config.cameras == "given":
            pass
        elif config.camera_encoder == "pairwise":
            found.append((config.camera_blocks, work.batch * (work.views - 1), 2 + 2 * patches, 2))
        elif config.camera_attention == "joint":
            found.append(
                (config.camera_blocks, work.batch, work.views * tokens, work.views if tokens > patches else None)
            )
        else:
            # a block keeps the same of its tokens, however many rows they are in
            found.append((config.camera_blocks, work.batch, work.views * tokens, None))
        context = config.scene_tokens + work.inputs * patches
        keep = config.scene_tokens if config.decoder_context == "scene" else None
        found.append((config.scene_blocks, work.batch, context, keep))
        context = keep or context
        found.append((config.decoder_blocks, work.batch * work.targets, patches + context, patches))
    if _trains_head(config, work):
        assert config.motion_head is not None
        if config.motion_head.kind == "transformer":
            found.append((config.motion_head.blocks, work.batch * work.views, patches, None))
    return found


def _trains_head(config: ModelConfig, work: Workload) -> bool:
    return work.motion and work.trains_motion and config.motion_head is not None
