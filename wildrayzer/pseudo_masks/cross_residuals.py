"""How badly the other input views predict a view: the leave-one-out maps that the motion head can take.

Source: docs/network.md#leave-one-out-residuals (ours; the paper's head sees one view).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.images.ssim import ssim_map
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.pseudo_masks.residual_maps import feature_dissimilarity, pool_to_patches


@dataclass(frozen=True)
class CrossResiduals:
    """Compares views with their renderings from other views, on the patch grid g × g.

    Args:
        options: of the motion head.
        patch_size: in pixels.
        backbone: its features are compared as well; None leaves them out, as `use_features: false` does.
    """

    options: MotionHeadConfig
    patch_size: int
    backbone: FeatureBackbone | None = None

    @torch.no_grad()
    def __call__(
        self,
        recorded: Float[Tensor, "b v 3 h w"],
        rendered: Float[Tensor, "b v 3 h w"],
        features: Float[Tensor, "b v g g2 e"] | None = None,
    ) -> Float[Tensor, "b v c g g2"]:
        """The maps of every view, each independent of the other views of the call.

        Args:
            recorded: views in [0, 1].
            rendered: the same views, rendered from other views, in [0, 1].
            features: of the recorded views.

        Returns:
            L1 in [0, 1], 1 − SSIM in [0, 2] and, with a backbone, feature dissimilarity in [0, 2].
        """
        views, shape = recorded.flatten(0, 1).float(), recorded.shape[:2]
        predictions = rendered.flatten(0, 1).float()
        error = (views - predictions).abs().mean(dim=1)
        similarity = ssim_map(views, predictions, size=self.options.ssim_size)
        maps = [pool_to_patches(error, self.patch_size), pool_to_patches(1 - similarity, self.patch_size)]
        if self.backbone is not None:
            own = self.backbone(views) if features is None else features.flatten(0, 1)
            other = self.backbone(predictions)
            # As a window of one frame each: what a view's maps are does not depend on which views are beside it.
            pair = (values.flatten(1, 2)[:, None] for values in (own, other))
            compared = feature_dissimilarity(*pair, centre=self.backbone.centre, anchor=self.backbone.anchor)
            maps.append(compared[:, 0].view_as(maps[0]))
        return torch.stack(maps, dim=1).unflatten(0, shape)


def cross_residuals_of(config: ModelConfig, backbone: FeatureBackbone | None) -> CrossResiduals | None:
    """What compares views for a network's motion head; None for a head without `cross_residual`, or none at all."""
    head = config.motion_head
    if head is None or not head.cross_residual:
        return None
    return CrossResiduals(head, config.patch_size, backbone if head.use_features else None)
