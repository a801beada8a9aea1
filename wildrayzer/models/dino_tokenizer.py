"""A DINOv3 ViT as image tokenizer (`image_tokenizer: dinov3`), frozen or trained. Differs from the paper."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.models.transformer import initialise

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DinoTokenizer(nn.Module):
    """Normed patch tokens of a ViT, and a bias-free linear map where its width differs from that of the network.

    The ViT starts with random weights; `training.starting_weights` loads those of `dinov3.weights`. It stays in eval
    mode, because in train mode its rotary positions are rescaled at random.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        ensure_torchvision()
        from transformers import DINOv3ViTConfig, DINOv3ViTModel

        options = config.dinov3
        self.grid, self.options = config.grid, options
        self.vit = DINOv3ViTModel(
            DINOv3ViTConfig(
                hidden_size=options.width,
                intermediate_size=options.hidden_width,
                num_hidden_layers=options.blocks,
                num_attention_heads=options.heads,
                num_register_tokens=options.register_tokens,
                patch_size=options.patch_size,
                use_gated_mlp=options.gated_mlp,
            )
        ).eval()
        same = options.width == config.width
        self.projection = nn.Identity() if same else nn.Linear(options.width, config.width, bias=False)
        initialise(self.projection, config.init_std)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "DinoTokenizer":
        """Set the mode of the projection; the ViT stays in eval mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that no stage trains: the whole ViT, or what a trained one does not use."""
        for name, value in self.vit.named_parameters():
            if not self.options.trained or name.endswith("mask_token"):
                yield value

    def forward(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v n d"]:
        """Tokens of images in [0, 1], on the patch grid of the network.

        Images are resized (bicubic, antialiased) where the patches of the ViT have another size.
        """
        flat, side = images.flatten(0, 1), self.grid * self.options.patch_size
        if flat.shape[-1] != side:
            flat = functional.interpolate(flat, (side, side), mode="bicubic", antialias=True, align_corners=False)
            flat = flat.clamp(0, 1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.options.trained):
            hidden = self.vit(pixel_values=(flat - self.mean) / self.std).last_hidden_state
        tokens: Tensor = self.projection(hidden[:, 1 + self.options.register_tokens :])
        return tokens.unflatten(0, images.shape[:2])
