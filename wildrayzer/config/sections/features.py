"""Feature backbone and perceptual loss: the two places where pretrained weights enter."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import SUPPLEMENT_A, FilePath, Paper, Rounding, Section


def is_hub_id(weights: str) -> bool:
    """Whether weights are named by OWNER/NAME on the hub rather than by a path."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", weights) is not None and not weights.startswith("resources/")


def is_timm_name(weights: str) -> bool:
    """Whether weights are named as timm names a DINOv3 or DINOv2 ViT: `vit_SIZE_patchN_dinovN`, `.` and what it saw."""
    return re.fullmatch(r"vit_\w+_dinov[23]\w*\.\w+", weights) is not None


class FeaturesConfig(Section):
    """Dense patch features for residuals, clustering and the motion head."""

    affects = "result"

    backbone: Annotated[Literal["dinov3", "timm", "descriptor"], Paper(SUPPLEMENT_A)] = "dinov3"
    """`dinov3`: a DINOv3 ViT through transformers. `timm`: a DINOv3 or DINOv2 ViT through timm; these weights have no
    gate on the hub. `descriptor`: Lab statistics and oriented gradients, for machines without weights; not DINOv3, and
    named as what it is in every manifest and table."""
    weights: FilePath = "facebook/dinov3-vit7b16-pretrain-lvd1689m"
    """For `dinov3`: local Hugging Face folder or hub id. For `timm`: name, such as `vit_small_patch16_dinov3.lvd1689m`,
    hub id, local folder of a timm repository, or local safetensors file whose name is a timm name. Unused by
    `descriptor`. A folder that is a place in the table of sources is fetched by a job when it is missing; a name or hub
    id is loaded by the jobs that use it."""
    revision: str | None = None
    """Pinned revision of a name or hub id; null takes the hub's default and records what it was."""
    batch: Rounding[int] = Field(32, ge=1)
    """Images in one pass of the backbone; fewer on a CPU, as many as its caches hold."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Arithmetic of the backbone; features come out in float32."""

    @property
    def name(self) -> str:
        """The backbone as manifests and tables name it: `dinov3:WEIGHTS`, `timm:WEIGHTS` or `descriptor`."""
        return f"{self.backbone}:{self.weights}" if self.has_weights else self.backbone

    @property
    def has_weights(self) -> bool:
        """Whether the backbone is a network with pretrained weights."""
        return self.backbone != "descriptor"

    @property
    def repository(self) -> str | None:
        """Repository of the hub that holds the weights; None where a path names them, or where there are none."""
        if not self.has_weights or self.weights.endswith(".safetensors"):
            return None
        if self.backbone == "timm" and is_timm_name(self.weights):
            return f"timm/{self.weights}"
        return self.weights if is_hub_id(self.weights) else None

    @property
    def path(self) -> str | None:
        """Folder or file of the weights; None where the hub holds them, or where there are none."""
        return self.weights if self.has_weights and self.repository is None else None


class PerceptualConfig(Section):
    """Perceptual loss of the training stages."""

    affects = "result"

    kind: Annotated[Literal["vgg19", "pyramid", "none"], Paper(SUPPLEMENT_A)] = "vgg19"
    """`vgg19`: the paper's, needs `weights`. `pyramid`: documented substitute without weights, mean absolute difference
    of image gradients over an average-pooled pyramid; named as what it is in manifests."""
    weights: FilePath | None = "resources/weights/imagenet-vgg-verydeep-19.mat"
    """MatConvNet VGG-19 file (MD5 106118b7cf60435e6d8e04f6a6dc3657) for `vgg19`."""
    weight: Annotated[float, Paper(SUPPLEMENT_A, listed=False)] = Field(0.2, ge=0.0)
    """Weight of the perceptual term beside the MSE."""
    levels: int = Field(3, ge=1)
    """Pyramid levels of the substitute."""

    @model_validator(mode="after")
    def _weights_named(self) -> "PerceptualConfig":
        if self.kind == "vgg19" and not self.weights:
            raise ValueError("perceptual.kind: vgg19 needs perceptual.weights; name the file or set kind: pyramid")
        return self
