"""Dense patch features, which residual maps, clustering and the motion head share (docs/method.md#residual-maps)."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@runtime_checkable
class FeatureBackbone(Protocol):
    """A frozen network or formula that gives features of images on the renderer's patch grid."""

    name: str
    """Name in manifests and tables: `dinov3:WEIGHTS`, `timm:WEIGHTS` or `descriptor`."""
    width: int
    """Number of channels c of a feature."""
    digest: str
    """16 hexadecimal digits, of weights, revision, arithmetic and code."""
    centre: bool
    """Whether features are meaningful only relative to the mean over the window's targets: `feature_dissimilarity` and
    the clustering then subtract it first. False for ViTs (paper), True for the descriptor."""
    anchor: float
    """Value of a constant channel that is appended to the (centred) features before directions are compared. Without
    it, the direction of a patch close to the window's mean is noise. 0 for ViTs (paper): no channel."""

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n fh fw c"]:
        """Features of RGB images in [0, 1]: float32, no gradient, not L2-normalised; fh = h / patch_size."""
        ...


def check_images(images: Float[Tensor, "n 3 h w"], patch_size: int) -> None:
    """Check that images divide into patches.

    Raises:
        ValueError: height or width is not a multiple of the patch.
    """
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"images of {height}×{width} pixels do not divide into patches of model.patch_size = {patch_size}; "
            "choose an image size that is a multiple of it"
        )


def anchored(features: Float[Tensor, "*b c"], anchor: float) -> Float[Tensor, "*b d"]:
    """Features with a constant channel of value `anchor` appended; unchanged if it is 0."""
    return functional.pad(features, (0, 1), value=anchor) if anchor else features
