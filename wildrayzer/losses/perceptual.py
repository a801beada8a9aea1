"""Perceptual losses: the paper's VGG-19, a substitute that needs no weights, and none."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.config.sections.features import PerceptualConfig
from wildrayzer.losses.vgg19 import VGG19Features, load_vgg19

VGG_DIVISORS = (1.0, 2.6, 4.8, 3.7, 5.6, 1.5 / 10.0)


class PerceptualLoss(nn.Module):
    """Callable `(prediction, truth, gate) -> scalar`, a mean over the batch.

    prediction, truth `[n 3 h w]` in [0, 1]; gate `[n 1 h w]`, 1 = transient and excluded, or None. Gradients reach the
    prediction alone; where the gate is 1 everywhere the value is 0 with zero gradient.
    """

    name: str
    """What the loss is, for manifests and tables."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class NoPerceptual(PerceptualLoss):
    """Always 0."""

    def __init__(self) -> None:
        super().__init__("none")

    def forward(
        self,
        prediction: Float[Tensor, "n 3 h w"],
        truth: Float[Tensor, "n 3 h w"],
        gate: Float[Tensor, "n 1 h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """A constant 0."""
        return prediction.new_zeros((), dtype=torch.float32)


class PyramidPerceptual(PerceptualLoss):
    """Mean absolute difference of image gradients over an average-pooled pyramid.

    Differs from the paper: stands in for VGG-19 where its weights are not available. Each level halves the one before;
    only kept pixels enter a pooled pixel, so no gradient reaches an excluded one; horizontal and vertical forward
    differences are weighted by the kept shares of the two pixels and averaged over the places of a level, then levels.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(f"pyramid:{levels}")
        self.levels = levels

    def forward(
        self,
        prediction: Float[Tensor, "n 3 h w"],
        truth: Float[Tensor, "n 3 h w"],
        gate: Float[Tensor, "n 1 h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss; ValueError if the smallest level has no two pixels side by side."""
        side = min(prediction.shape[-2:])
        if side >> (self.levels - 1) < 2:
            raise ValueError(f"perceptual.levels = {self.levels} is too many for images of {side} pixels; lower it")
        # gradients and pooling are linear: the pyramid of the difference is the difference of the pyramids
        error = prediction.float() - truth.detach().float()
        keep = None if gate is None else 1.0 - gate.float()
        total = error.new_zeros(())
        for level in range(self.levels):
            if level:
                error, keep = _halve(error, keep)
            total = total + _gradient_difference(error, keep)
        return total / self.levels


def _halve(
    error: Float[Tensor, "n 3 h w"], keep: Float[Tensor, "n 1 h w"] | None
) -> tuple[Float[Tensor, "n 3 h2 w2"], Float[Tensor, "n 1 h2 w2"] | None]:
    if keep is None:
        return functional.avg_pool2d(error, 2), None
    share = functional.avg_pool2d(keep, 2)
    pooled = functional.avg_pool2d(error * keep, 2) / share.masked_fill(share == 0, 1.0)
    return pooled, share


def _gradient_difference(error: Float[Tensor, "n 3 h w"], keep: Float[Tensor, "n 1 h w"] | None) -> Float[Tensor, ""]:
    rows, columns = error.diff(dim=-2).abs(), error.diff(dim=-1).abs()
    if keep is not None:
        rows = rows * (keep[..., 1:, :] * keep[..., :-1, :])
        columns = columns * (keep[..., :, 1:] * keep[..., :, :-1])
    return 0.5 * (rows.mean() + columns.mean())


class VGGPerceptual(PerceptualLoss):
    """The paper's perceptual loss (docs/method.md#perceptual-loss).

    Mean absolute differences of the image on the 255 scale and of five VGG-19 feature maps, each over its divisor, the
    sum over 255. With a gate each term is multiplied by 1 − gate, area-pooled to the term's size, before its mean.
    Feature maps see their neighbourhood: near a gate's edge an excluded pixel still takes part in kept features.
    """

    def __init__(self, features: VGG19Features, digest: str) -> None:
        super().__init__(f"vgg19:{digest[:8]}")
        self.features = features

    def forward(
        self,
        prediction: Float[Tensor, "n 3 h w"],
        truth: Float[Tensor, "n 3 h w"],
        gate: Float[Tensor, "n 1 h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss; images need sides of at least 16 pixels."""
        with torch.no_grad():
            true_maps = [truth * 255.0, *self.features(truth)]
        maps = [prediction * 255.0, *self.features(prediction)]
        keep = None if gate is None else 1.0 - gate.float()
        total = prediction.new_zeros((), dtype=torch.float32)
        for ours, true, divisor in zip(maps, true_maps, VGG_DIVISORS, strict=True):
            error = (ours.float() - true.float()).abs()
            if keep is not None:
                error = error * functional.interpolate(keep, size=error.shape[-2:], mode="area")
            total = total + error.mean() / divisor
        return total / 255.0


def build_perceptual(config: PerceptualConfig, device: torch.device | str = "cpu") -> PerceptualLoss:
    """The perceptual loss of a configuration, on `device`, in evaluation mode and without parameters.

    Raises:
        ValueError: `perceptual.weights` is missing or no VGG-19 file.
    """
    loss: PerceptualLoss
    if config.kind == "vgg19":
        assert config.weights is not None  # the section's validator
        loss = VGGPerceptual(*load_vgg19(config.weights))
    elif config.kind == "pyramid":
        loss = PyramidPerceptual(config.levels)
    else:
        loss = NoPerceptual()
    return loss.to(device).eval()
