"""Pre-norm transformer blocks with query-key normalisation (docs/network.md#transformer-block)."""

import math
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.attention import Request, attend, settled_kernel
from wildrayzer.models.rotary import rotate

QK_EPS = 1e-5
"""Epsilon of the RMS norm of queries and keys."""


def initialise(module: nn.Module, std: float) -> None:
    """Normal weights of the given standard deviation and zero biases in every linear and convolution layer."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class HeadNorm(nn.RMSNorm):
    """RMSNorm of queries or keys, in their own dtype: under autocast a float32 gain would miss the fused kernel."""

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Unit root mean square over a head's channels, times the gain."""
        return functional.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class SelfAttention(nn.Module):
    """Multi-head self-attention: fused bias-free projections, RMS-normalised queries and keys."""

    def __init__(self, width: int, head_width: int, *, kernel: Request, eps: float = QK_EPS) -> None:
        super().__init__()
        self.width, self.head_width, self.kernel = width, head_width, kernel
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = HeadNorm(head_width, eps=eps)
        self.k_norm = HeadNorm(head_width, eps=eps)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Float[Tensor, "b n d"], queries: int | None = None, angles: Float[Tensor, "n 2 j"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Attend over all tokens; with `queries` only the first so many tokens ask, and are returned.

        With `angles`, queries and keys are rotated by the places of their tokens.
        """
        if queries is None:
            q, k, v = self.to_qkv(x).unflatten(-1, (3, -1, self.head_width)).unbind(2)
        else:
            to_q, to_kv = self.to_qkv.weight.split((self.width, 2 * self.width))
            q = functional.linear(x[:, :queries], to_q).unflatten(-1, (-1, self.head_width))
            k, v = functional.linear(x, to_kv).unflatten(-1, (2, -1, self.head_width)).unbind(2)
        q, k = self.q_norm(q), self.k_norm(k)
        if angles is not None:
            q, k = rotate(q, angles[: q.shape[1]]), rotate(k, angles)
        attended = attend(q.to(v.dtype), k.to(v.dtype), v, kernel=self.kernel)
        return cast(Tensor, self.out(attended.flatten(2)))


class FeedForward(nn.Sequential):
    """Bias-free two-layer perceptron, four times as wide inside, exact GELU."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False))


class Block(nn.Module):
    """`x + attention(LN(x))`, then `x + mlp(LN(x))`."""

    def __init__(self, width: int, head_width: int, *, kernel: Request, eps: float = QK_EPS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.attention = SelfAttention(width, head_width, kernel=kernel, eps=eps)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.mlp = FeedForward(width)

    def forward(
        self, x: Float[Tensor, "b n d"], queries: int | None = None, angles: Float[Tensor, "n 2 j"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Update all tokens, or compute and return only the first `queries`; `angles` as in `SelfAttention`."""
        x = (x if queries is None else x[:, :queries]) + self.attention(self.norm1(x), queries, angles)
        return cast(Tensor, x + self.mlp(self.norm2(x)))


class CrossBlock(nn.Module):
    """A block whose tokens attend to themselves and to a fixed context, which is projected but never updated.

    The context is shared by all views of a sample. Attention logits carry an extra factor of two, which sharpens the
    softmax of untrained blocks. Differs from the paper, where context tokens pass through the blocks as well.
    """

    def __init__(self, width: int, head_width: int, *, kernel: Request, std: float, eps: float = QK_EPS) -> None:
        super().__init__()
        self.head_width, self.kernel, self.scale = head_width, kernel, 2 * head_width**-0.5
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.context_to_kv = nn.Linear(width, 2 * width, bias=False)
        self.q_norm = HeadNorm(head_width, eps=eps)
        self.k_norm = HeadNorm(head_width, eps=eps)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.mlp = FeedForward(width)
        initialise(self, std)
        for layer in (self.out, cast(nn.Linear, self.mlp[2])):
            nn.init.normal_(layer.weight, std=std / 2)

    def forward(
        self,
        x: Float[Tensor, "b t n d"],
        context: Float[Tensor, "b m d"],
        angles: tuple[Float[Tensor, "n 2 j"], Float[Tensor, "m 2 j"]] | None = None,
    ) -> Float[Tensor, "b t n d"]:
        """Update the `n` tokens of each of `t` views; `angles` rotate their and the context's queries and keys."""
        x = x + self.out(self._attend(self.norm1(x), context, angles))
        return cast(Tensor, x + self.mlp(self.norm2(x)))

    def _attend(
        self,
        x: Float[Tensor, "b t n d"],
        context: Float[Tensor, "b m d"],
        angles: tuple[Float[Tensor, "n 2 j"], Float[Tensor, "m 2 j"]] | None,
    ) -> Float[Tensor, "b t n d"]:
        views = x.shape[1]
        q, k, v = self.to_qkv(x).unflatten(-1, (3, -1, self.head_width)).unbind(3)
        context_k, context_v = self.context_to_kv(context).unflatten(-1, (2, -1, self.head_width)).unbind(2)
        q, k, context_k = self.q_norm(q), self.k_norm(k), self.k_norm(context_k)
        if angles is not None:
            own, fixed = angles
            q, k = (rotate(part.flatten(0, 1), own).view_as(part) for part in (q, k))
            context_k = rotate(context_k, fixed)
        q, k, context_k = (part.to(v.dtype) for part in (q, k, context_k))
        k, v = (
            torch.cat((own, shared[:, None].expand(-1, views, -1, -1, -1)), dim=2)
            for own, shared in ((k, context_k), (v, context_v))
        )
        attended = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), kernel=self.kernel, scale=self.scale)
        return attended.reshape(x.shape)


class Stack(nn.ModuleList):
    """Transformer blocks in a row; block l starts with weights of std / sqrt(2(l + 1)).

    `checkpoint_every` recomputes every so many-th block in the backward pass (0: none).
    """

    def __init__(
        self,
        blocks: int,
        width: int,
        head_width: int,
        *,
        kernel: Request,
        std: float,
        checkpoint_every: int,
        eps: float = QK_EPS,
    ) -> None:
        super().__init__(Block(width, head_width, kernel=kernel, eps=eps) for _ in range(blocks))
        self.checkpoint_every = checkpoint_every
        for depth, block in enumerate(self):
            initialise(block, std / math.sqrt(2 * (depth + 1)))

    def forward(
        self, x: Float[Tensor, "b n d"], keep: int | None = None, angles: Float[Tensor, "n 2 j"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Run all blocks. With `keep` only the first so many tokens are returned, and the last block skips the rest.

        With `angles`, queries and keys of every block are rotated by the places of their tokens.
        """
        for depth in range(len(self)):
            x = self.run(depth, x, keep if depth == len(self) - 1 else None, angles)
        return x

    def run(
        self, depth: int, x: Float[Tensor, "b n d"], keep: int | None, angles: Float[Tensor, "n 2 j"] | None
    ) -> Float[Tensor, "b m d"]:
        """Run one block of the stack."""
        return run_block(self[depth], x, keep, angles, depth=depth, checkpoint_every=self.checkpoint_every)


def build_stack(blocks: int, config: ModelConfig, head_width: int | None = None) -> Stack:
    """A stack with the sizes and options of a configuration, and with heads of another width where one is given."""
    return Stack(
        blocks,
        config.width,
        head_width or config.head_width,
        kernel=config.attention,
        std=config.init_std,
        checkpoint_every=config.checkpoint_every,
        eps=config.qk_norm_eps,
    )


def run_block(block: nn.Module, *inputs: Any, depth: int, checkpoint_every: int) -> Tensor:
    """Run block number `depth` of a stack, without keeping its activations where the checkpoint policy says so."""
    if checkpoint_every and depth % checkpoint_every == 0 and torch.is_grad_enabled():
        # no block draws random numbers, so their state need not be kept
        return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False))
    return cast(Tensor, block(*inputs))


@runtime_checkable
class _Checkpointed(Protocol):
    checkpoint_every: int


def set_checkpointing(model: nn.Module, every: int) -> None:
    """Change the checkpoint policy of all stacks of a model in place: 0 keeps all, n recomputes every n-th block."""
    for module in model.modules():
        if isinstance(module, _Checkpointed):
            module.checkpoint_every = every


def compile_blocks(model: nn.Module) -> None:
    """Compile each block's forward pass with torch.compile, in place: weights and their names stay as they are.

    Blocks of one stack share their compiled code, which is made at the first call; a C++ or CUDA compiler is needed.
    """
    # the probe runs while a block is traced and is no part of it; marked here, since the mark imports the compiler
    torch.compiler.assume_constant_result(settled_kernel)
    for module in model.modules():
        if isinstance(module, Block | CrossBlock):
            module.compile()
