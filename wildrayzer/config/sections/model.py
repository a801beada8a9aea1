"""The network: sizes, published variants, and the named deviations for small-scale training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import PAPER, RELEASE, SUPPLEMENT_A, Paper, Rounding, Section
from wildrayzer.config.effects import deviations

_SIZE = Paper(SUPPLEMENT_A, listed=False)
_CHOICE = Paper(PAPER)


class MotionHeadConfig(Section):
    """The motion head (docs/network.md#motion-head): one view in, motion logits out."""

    affects = "result"

    blocks: Annotated[int, Paper(RELEASE, listed=False)] = Field(4, ge=1)
    """Transformer blocks of the motion head."""
    head_width: int | None = Field(None, ge=4)
    """Width of the motion head's attention heads; null takes `model.head_width`. The release has 12 heads of 64."""
    use_features: Annotated[bool, _CHOICE] = True
    """Feed backbone features to the head; the paper's ablation switches this off."""
    feature_width: Annotated[int, Paper(RELEASE, listed=False)] = Field(4096, ge=1)
    """Width of the backbone features; 4096 for DINOv3 ViT-7B/16, 1024 for ViT-L/16."""
    cross_view: Annotated[bool, _CHOICE] = False
    """Let the head's transformer attend across all input views (ours; the paper works per view)."""
    threshold: Annotated[float, Paper(RELEASE, listed=False)] = Field(0.1, gt=0.0, lt=1.0)
    """An input token is replaced by the noise token where the mean motion probability of its patch exceeds this."""


class ModelConfig(Section):
    """The one model of all stages. Defaults are the paper's sizes."""

    affects = "result"

    image_size: Annotated[int, _SIZE] = Field(256, ge=8)
    """Side of the square images, in pixels."""
    patch_size: Annotated[int, _SIZE] = Field(16, ge=1)
    """Side of a patch, in pixels; divides `image_size`."""
    width: Annotated[int, _SIZE] = Field(768, ge=8)
    """Token width d."""
    head_width: Annotated[int, _SIZE] = Field(64, ge=4)
    """Width of an attention head; divides `width`."""
    camera_blocks: Annotated[int, _SIZE] = Field(12, ge=1)
    """Transformer blocks of the camera encoder."""
    scene_blocks: Annotated[int, _SIZE] = Field(8, ge=1)
    """Transformer blocks of the scene encoder."""
    decoder_blocks: Annotated[int, _SIZE] = Field(12, ge=1)
    """Transformer blocks of the decoder."""
    scene_tokens: Annotated[int, _SIZE] = Field(768, ge=1)
    """Length of the latent scene code; the paper's ablation also runs 3072."""
    pose: Annotated[Literal["6d", "quaternion"], _SIZE] = "6d"
    """Rotation representation of the pose head."""
    canonical_view: Annotated[Literal["first", "middle"], Paper(RELEASE, listed=False)] = "first"
    """View whose camera is the origin: the first, or number V // 2."""
    view_type_embedding: Annotated[bool, Paper(SUPPLEMENT_A, True, listed=False)] = False
    """Add a learned embedding that tells input views from target views (the paper's; the release has none)."""
    attention: Rounding[Literal["auto", "sdpa", "xformers"]] = "sdpa"
    """Attention kernel; `xformers` falls back to `sdpa` with a logged reason when its probe fails, `auto` tries it."""
    checkpoint_every: Rounding[int] = Field(0, ge=0)
    """Recompute every n-th block in the backward pass to save memory; 0 keeps all activations, 1 recomputes all."""
    motion_head: MotionHeadConfig | None = MotionHeadConfig()
    """The motion head; null builds the static renderer alone (RayZer)."""

    camera_encoder: Annotated[Literal["joint", "pairwise"], _CHOICE] = "joint"
    """`joint`: one pass over all views (paper). `pairwise`: canonical view with one other view at a time.
    Differs from the paper; see docs/deviations.md."""
    view_embedding: Annotated[Literal["number", "type"], _CHOICE] = "number"
    """What tells views apart in the camera encoder: the view's number (paper), or only whether it is the canonical
    view (`type`), which removes the shortcut of reading a view's place off its number. Differs from the paper."""
    matching_init: Annotated[bool, _CHOICE] = False
    """Start the first camera block as a content matcher: queries and keys compare patches of the two views, values
    read their position. Needs `camera_encoder: pairwise`. Initialisation only. Differs from the paper."""
    ray_encoding: Annotated[Literal["raw", "fourier"], _CHOICE] = "raw"
    """`raw`: the 6 Plücker channels of every pixel (paper). `fourier`: `ray_samples`² rays a patch with
    `ray_octaves` sine and cosine octaves. Differs from the paper."""
    ray_octaves: int = Field(4, ge=1)
    """Octaves of the Fourier ray code."""
    ray_samples: int = Field(2, ge=1)
    """Rays along the side of a patch in the Fourier ray code."""
    decoder_context: Annotated[Literal["scene", "scene_and_inputs"], _CHOICE] = "scene"
    """What the decoder sees beside its own tokens: scene tokens alone (paper), or input-image tokens as well.
    Differs from the paper."""
    decoder_attention: Annotated[Literal["self", "cross"], _CHOICE] = "self"
    """`self`: target and context tokens share full blocks (paper). `cross`: target tokens attend to themselves and to
    a fixed context, at a fraction of the cost. Differs from the paper."""
    token_fusion: Annotated[Literal["mlp", "linear"], _CHOICE] = "mlp"
    """How the image and ray token of an input patch become one: `mlp`, normalised before two layers (paper), or
    `linear`, one layer normalised after it, which learns faster at small sizes. Differs from the paper."""
    focal: Annotated[Literal["predicted", "shared"], _CHOICE] = "predicted"
    """`predicted` per scene from the canonical view (paper), or one `shared` learned number. Differs from the paper."""
    init_std: float = Field(0.02, gt=0.0)
    """Standard deviation of the initial weights; block l of a stack uses init_std / sqrt(2(l + 1))."""

    @model_validator(mode="after")
    def _sizes_divide(self) -> "ModelConfig":
        if self.image_size % self.patch_size:
            raise ValueError(
                f"model.patch_size = {self.patch_size} does not divide model.image_size = {self.image_size}; "
                "choose a patch size that divides the image size"
            )
        if self.width % self.head_width:
            raise ValueError(
                f"model.head_width = {self.head_width} does not divide model.width = {self.width}; "
                "choose a head width that divides the width"
            )
        if self.width % 8:
            raise ValueError(f"model.width = {self.width} is no multiple of 8, which the position code needs")
        if self.ray_encoding == "fourier" and self.patch_size % self.ray_samples:
            raise ValueError(
                f"model.ray_samples = {self.ray_samples} does not divide model.patch_size = {self.patch_size}"
            )
        if self.matching_init and self.camera_encoder != "pairwise":
            raise ValueError("model.matching_init needs model.camera_encoder: pairwise; set one or drop the other")
        if self.camera_encoder == "pairwise" and self.view_embedding != "type":
            raise ValueError("model.camera_encoder: pairwise sees two views at a time; set model.view_embedding: type")
        if self.camera_encoder == "pairwise" and self.canonical_view != "first":
            raise ValueError("model.camera_encoder: pairwise needs model.canonical_view: first")
        return self

    @property
    def grid(self) -> int:
        """Patches along a side of the image."""
        return self.image_size // self.patch_size

    @property
    def deviations(self) -> tuple[str, ...]:
        """Names and values of the options in use that differ from the paper."""
        return deviations(self, "model.")
