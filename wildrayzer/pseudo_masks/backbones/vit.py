"""Patch features of a frozen ViT on the renderer's grid, whatever library runs the ViT."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.pseudo_masks.backbones.interface import check_images

logger = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Most pixels in one pass on a CPU (8 images of 256 px): with more, activations do not fit into its caches.
_CPU_PIXELS = 1 << 19


def dtype_of(config: FeaturesConfig) -> torch.dtype:
    """Arithmetic that `features.precision` names."""
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


class ViTBackbone(ABC):
    """Patch tokens of the last layer (after the final norm) of a frozen ViT, without class and register tokens.

    Always in eval mode: in train mode the rotary positions of DINOv3 are rescaled at random. If the backbone's patch
    differs from the renderer's, images are resized (bicubic, antialiased) so that the two grids agree.
    """

    centre = False
    anchor = 0.0

    def __init__(
        self,
        model: nn.Module,
        config: FeaturesConfig,
        *,
        patch_size: int,
        device: str | torch.device,
        own_patch: int,
        width: int,
        revision: str,
        digest: str,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        """Take a model.

        Args:
            model: with its weights, in the arithmetic of `config`.
            config: the `features` section.
            patch_size: of the renderer, in pixels.
            device: of the images.
            own_patch: of the ViT, in pixels.
            width: channels of a token.
            revision: of the weights.
            digest: of weights, revision and arithmetic.
            mean: of each colour, subtracted from images in [0, 1].
            std: of each colour, by which they are then divided.
        """
        self._dtype = dtype_of(config)
        self._model = model.to(device).eval().requires_grad_(False)
        self.patch_size = patch_size
        self.batch = config.batch
        self.width = width
        self.name = config.name
        self.revision = revision
        self.digest = digest
        self._own_patch = own_patch
        self._mean = torch.tensor(mean, device=device)[:, None, None]
        self._std = torch.tensor(std, device=device)[:, None, None]
        logger.info("backbone %s, revision %s, width %d, patch %d", self.name, revision, width, own_patch)

    @abstractmethod
    def _patch_tokens(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t c"]:
        """Patch tokens of normalised images that divide into patches of the ViT, row by row."""

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n fh fw c"]:
        """Features of RGB images in [0, 1]: float32, not L2-normalised.

        Raises:
            ValueError: the image does not divide into patches.
        """
        check_images(images, self.patch_size)
        rows, columns = (side // self.patch_size for side in images.shape[-2:])
        batch = self.batch
        if images.device.type == "cpu":
            batch = min(batch, max(1, _CPU_PIXELS // (images.shape[-2] * images.shape[-1])))
        parts = [self._forward(part, rows, columns) for part in images.split(batch)] if len(images) else []
        return torch.cat(parts) if parts else images.new_zeros(0, rows, columns, self.width)

    def _forward(self, images: Float[Tensor, "n 3 h w"], rows: int, columns: int) -> Float[Tensor, "n fh fw c"]:
        if self._own_patch != self.patch_size:
            size = (rows * self._own_patch, columns * self._own_patch)
            images = functional.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(
                0, 1
            )
        normalised = ((images - self._mean) / self._std).to(self._dtype)
        return self._patch_tokens(normalised).float().unflatten(1, (rows, columns))
