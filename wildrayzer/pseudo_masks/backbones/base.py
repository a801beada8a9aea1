"""Dense patch features, which residual maps, clustering and the motion head share (docs/method.md#residual-maps)."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@runtime_checkable
class FeatureBackbone(Protocol):
    """A frozen map from images to patch features on the renderer's patch grid."""

    name: str
    """What it is, for manifests and tables: `dinov3:WEIGHTS` or `descriptor`."""
    width: int
    """Channels c of a feature."""
    digest: str
    """16 hexadecimal digits that stand for weights, revision, arithmetic and code of the features."""
    centre: bool
    """Whether features mean something only relative to the window's mean: `feature_dissimilarity` and the clustering
    subtract the mean over the window's targets first. False for DINOv3 (paper), True for the descriptor."""
    anchor: float
    """Length of a constant channel put beside the (centred) features before directions are compared. Without one, a
    patch close to the window's mean has a direction made of noise. 0 for DINOv3 (paper): no channel."""

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n fh fw c"]:
        """Features of RGB images in [0, 1]: float32, no gradient, not L2-normalised; fh = h / patch_size."""
        ...


def check_images(images: Float[Tensor, "n 3 h w"], patch_size: int) -> None:
    """Refuse images that do not divide into patches.

    Raises:
        ValueError: height or width is no multiple of the patch.
    """
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"images of {height}×{width} pixels do not divide into patches of model.patch_size = {patch_size}; "
            "choose an image size that is a multiple of it"
        )


def anchored(features: Float[Tensor, "*b c"], anchor: float) -> Float[Tensor, "*b d"]:
    """Features with a constant channel of length `anchor` beside them; as they are where it is 0."""
    return functional.pad(features, (0, 1), value=anchor) if anchor else features
