"""The training step as the public release takes it, in code of our own: the reference that ours is measured against.

Written from the facts about the release: eager blocks, each checkpointed whether or not its memory is short; query and
key norms as chains of elementwise operations in float32; every block computes all of its tokens, also where only some
are read afterwards; gradients passed through `nan_to_num` one by one; the loss read back from the device in every step.
The weights are those of a `WildRayZer`, so that both steps can be compared number by number.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from wildrayzer.models import WildRayZer
from wildrayzer.models.transformer import Block, Stack

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


class ReleasedRenderer(nn.Module):
    """The static renderer of a `WildRayZer` of the released architecture, computed the released way.

    Args:
        model: whose weights are used, in place.
        recompute: whether every block is checkpointed, as in the release.
    """

    def __init__(self, model: WildRayZer, *, recompute: bool = True) -> None:
        super().__init__()
        config = model.config
        released = ("joint", "number", "raw", "scene", "self", "mlp")
        options = (
            config.camera_encoder, config.view_embedding, config.ray_encoding,
            config.decoder_context, config.decoder_attention, config.token_fusion,
        )  # fmt: skip
        if options != released:
            raise ValueError(f"the release has {released}, the model {options}; take the defaults of `model`")
        self.model, self.recompute = model, recompute

    def forward(self, images: Tensor, num_inputs: int) -> Tensor:
        """Renderings [b t 3 h w] of the views after the first `num_inputs`; images in [0, 1]."""
        model = self.model
        views = images.shape[1]
        tokens = model.tokenize(images)
        cameras = model.camera_head(*self._pose_features(images, tokens, num_inputs))
        rays_in = model.ray_tokens(cameras.select(slice(None, num_inputs)), for_targets=False)
        rays_out = model.ray_tokens(cameras.select(slice(num_inputs, None)), for_targets=True)
        encoder, decoder = model.scene_encoder, model.decoder
        fused = encoder.fuse(images[:, :num_inputs], tokens[:, :num_inputs], rays_in).flatten(1, 2)
        scene = self._blocks(encoder.blocks, torch.cat((encoder.code.expand(len(fused), -1, -1), fused), dim=1))
        scene = scene[:, : len(encoder.code)]
        patches = rays_out.shape[2]
        shared = scene[:, None].expand(-1, views - num_inputs, -1, -1)
        x = decoder.norm(torch.cat((rays_out, shared), dim=2).flatten(0, 1))
        x = self._blocks(decoder.blocks, x)[:, :patches]
        return decoder.to_pixels(x.unflatten(0, (len(images), -1)))

    def _pose_features(self, images: Tensor, tokens: Tensor, num_inputs: int) -> tuple[Tensor, Tensor]:
        encoder = self.model.camera_encoder
        batch, views = tokens.shape[:2]
        camera, _ = encoder.view(views, 0)
        camera = encoder.code + camera
        role = self.model.role_embedding
        if role is not None:
            kind = role[(torch.arange(views, device=images.device) >= num_inputs).long()]
            camera, tokens = camera + kind, tokens + kind[:, None]
        x = torch.cat((camera.expand(batch, -1, -1), tokens.flatten(1, 2)), dim=1)
        x = self._blocks(encoder.blocks, x)[:, :views]
        return x[:, :1].expand_as(x), x

    def _blocks(self, stack: Stack, x: Tensor) -> Tensor:
        for block in stack:
            x = (
                checkpoint(released_block, block, x, use_reentrant=False)
                if self.recompute
                else released_block(block, x)
            )
        return x


def released_block(block: Block, x: Tensor) -> Tensor:
    """A whole block: fused qkv, norms of queries and keys one by one, attention, feed-forward."""
    attention = block.attention
    q, k, v = attention.to_qkv(block.norm1(x)).chunk(3, dim=-1)
    q, k, v = (part.reshape(*part.shape[:2], -1, attention.head_width) for part in (q, k, v))
    q = _rms_norm(q, attention.q_norm.weight).to(v.dtype)
    k = _rms_norm(k, attention.k_norm.weight).to(v.dtype)
    x = x + attention.out(_attend(q, k, v).flatten(2))
    return x + block.mlp(block.norm2(x))


def _rms_norm(x: Tensor, gain: Tensor, eps: float = 1e-5) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps) * gain


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """xformers where it is installed and the tensors are on a GPU, as in the release; else torch's own."""
    if q.is_cuda:
        try:
            from xformers.ops import memory_efficient_attention
        except ImportError:
            pass
        else:
            return memory_efficient_attention(q, k, v)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def released_update(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: float) -> None:
    """Zero what is not finite parameter by parameter, clip, and step."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=0.0, neginf=0.0, out=parameter.grad)
    torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
