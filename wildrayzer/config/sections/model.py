"""The network: sizes, published variants, and the named deviations for small-scale training."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import PAPER, RELEASE, SUPPLEMENT_A, FilePath, Paper, Rounding, Section
from wildrayzer.config.effects import deviations

_SIZE = Paper(SUPPLEMENT_A, listed=False)
_CHOICE = Paper(PAPER)

_LVSM: dict[str, Any] = {
    "cameras": "given",
    "camera_blocks": 0,
    "patch_positions": "none",
    "view_embedding": "none",
    "token_fusion": "pixel",
    "motion_head": None,
}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "wildrayzer": {},
    "lvsm": _LVSM | {"decoder_context": "scene"},
    "lvsm_decoder_only": _LVSM | {"decoder_context": "scene_and_inputs", "scene_blocks": 0, "scene_tokens": 0},
}
"""Options that each `model.kind` sets, and that cannot be set otherwise."""


class MotionHeadConfig(Section):
    """The motion head (docs/network.md#motion-head): one view in, motion logits out."""

    affects = "result"

    kind: Annotated[Literal["transformer", "convolutional"], _CHOICE] = "transformer"
    """`transformer` is the published head; `convolutional` (ours) is a small one for few training clips: convolutions
    on the patch grid and one logit per patch."""
    blocks: Annotated[int, Paper(RELEASE, listed=False)] = Field(4, ge=1)
    """Transformer blocks of the motion head, or its 3 × 3 convolutions."""
    head_width: int | None = Field(None, ge=4)
    """Width of the motion head's attention heads; null takes `model.head_width`. The release has 12 heads of 64."""
    use_features: Annotated[bool, _CHOICE] = True
    """Feed backbone features to the head; the paper's ablation switches this off."""
    use_tokens: Annotated[bool, _CHOICE] = True
    """Feed the renderer's image and ray tokens to the head. With few training clips it learns them by heart."""
    feature_width: Annotated[int, Paper(RELEASE, listed=False)] = Field(4096, ge=1)
    """Width of the backbone features; 4096 for DINOv3 ViT-7B/16, 1024 for ViT-L/16."""
    cross_view: Annotated[bool, _CHOICE] = False
    """Let the head's transformer attend across all input views (ours; the paper works per view)."""
    cross_residual: Annotated[bool, _CHOICE] = False
    """Show the head how badly the other input views predict each view: L1, 1 − SSIM and feature dissimilarity on the
    patch grid. Needs two inputs or more. Differs from the paper, whose head cannot know whether something moves."""
    ssim_size: int = Field(11, ge=3)
    """Side of the SSIM window of `cross_residual`, in pixels; odd, at most the image side."""
    threshold: Annotated[float, Paper(RELEASE, listed=False)] = Field(0.1, gt=0.0, lt=1.0)
    """An input token is replaced by the noise token where the mean motion probability of its patch exceeds this."""

    @property
    def residual_maps(self) -> int:
        """Leave-one-out maps that enter: L1, 1 − SSIM and, with features, their dissimilarity; 0 without them."""
        return (2 + self.use_features) * self.cross_residual

    def channels_in(self, width: int) -> int:
        """Channels of a patch that enter the convolutional head of a network of this width."""
        return self.feature_width * self.use_features + 2 * width * self.use_tokens + self.residual_maps


class DinoTokenizerConfig(Section):
    """The ViT of `image_tokenizer: dinov3`; sizes are those of ViT-B/16 and must be those of its weights."""

    affects = "result"

    weights: FilePath | None = None
    """Local Hugging Face folder of a DINOv3 ViT, whose weights the tokenizer starts with."""
    trained: bool = False
    """Train the ViT with the renderer (as Open-RayZer intends); else it stays as it is."""
    width: int = Field(768, ge=4)
    """Width of the ViT's tokens; a linear map follows where it is not `model.width`."""
    hidden_width: int = Field(3072, ge=4)
    """Inner width of its perceptrons."""
    blocks: int = Field(12, ge=1)
    """Its transformer blocks."""
    heads: int = Field(12, ge=1)
    """Its attention heads."""
    register_tokens: int = Field(4, ge=0)
    """Its register tokens, which are dropped with the class token."""
    patch_size: int = Field(16, ge=1)
    """Side of its patches in pixels; images are resized so that both grids agree."""
    gated_mlp: bool = False
    """Whether its perceptrons are gated, as in ViT-7B/16."""


class ModelConfig(Section):
    """The one model of all stages. Defaults are the paper's sizes."""

    affects = "result"

    kind: Annotated[Literal["wildrayzer", "lvsm", "lvsm_decoder_only"], Paper(PAPER, listed=False)] = "wildrayzer"
    """`wildrayzer`: cameras are learned (WildRayZer, RayZer, Open-RayZer). `lvsm`, `lvsm_decoder_only`: the baseline
    with given cameras; they set the options that they need, such as `cameras: given`."""
    image_size: Annotated[int, _SIZE] = Field(256, ge=8)
    """Side of the square images, in pixels."""
    patch_size: Annotated[int, _SIZE] = Field(16, ge=1)
    """Side of a patch, in pixels; divides `image_size`."""
    width: Annotated[int, _SIZE] = Field(768, ge=8)
    """Token width d."""
    head_width: Annotated[int, _SIZE] = Field(64, ge=4)
    """Width of an attention head; divides `width`."""
    camera_blocks: Annotated[int, _SIZE] = Field(12, ge=0)
    """Transformer blocks of the camera encoder; unused with `cameras: given`, 0 there only."""
    scene_blocks: Annotated[int, _SIZE] = Field(8, ge=0)
    """Transformer blocks of the scene encoder; 0 hands the fused input tokens to the decoder as they are."""
    decoder_blocks: Annotated[int, _SIZE] = Field(12, ge=1)
    """Transformer blocks of the decoder."""
    scene_tokens: Annotated[int, _SIZE] = Field(768, ge=0)
    """Length of the latent scene code; the paper's ablation also runs 3072. 0 needs `decoder_context:
    scene_and_inputs`."""
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

    cameras: Annotated[Literal["predicted", "given"], _CHOICE] = "predicted"
    """`predicted` from the images (paper), or `given` with the frames and normalised for each sample as in LVSM; the
    network then has no camera encoder. Differs from the paper."""
    camera_encoder: Annotated[Literal["joint", "pairwise"], _CHOICE] = "joint"
    """`joint`: one pass over all views (paper). `pairwise`: canonical view with one other view at a time.
    Differs from the paper; see docs/deviations.md."""
    camera_attention: Annotated[Literal["joint", "alternating", "per_view"], _CHOICE] = "joint"
    """Blocks of the joint camera encoder: each over the tokens of all views (`joint`, paper), or in turn over all views
    and over each view by itself (`alternating`, Open-RayZer). `per_view` estimates every camera from its own view
    only; it exists for checkpoints of Open-RayZer without alternation. Differs from the paper."""
    camera_head: Annotated[Literal["relative", "pi3"], _CHOICE] = "relative"
    """`relative`: pose of each camera token relative to the canonical view, and one focal length (paper). `pi3`: from
    the mean image token of each view, a rotation by singular value decomposition and a translation in a free frame,
    and one field of view per scene (Open-RayZer). Differs from the paper."""
    image_tokenizer: Annotated[Literal["linear", "dinov3"], _CHOICE] = "linear"
    """Image patches to tokens: one bias-free `linear` map (paper), or the patch tokens of a `dinov3` ViT (Open-RayZer).
    Pixel fusion tokenizes the colours once more. Differs from the paper."""
    dinov3: DinoTokenizerConfig = DinoTokenizerConfig()
    """The ViT of `image_tokenizer: dinov3`."""
    image_range: Annotated[Literal["signed", "unit"], _CHOICE] = "signed"
    """Range of the pixel values that are tokenized: [-1, 1] (`signed`, paper) or [0, 1] (`unit`, Open-RayZer).
    Differs from the paper."""
    patch_positions: Annotated[Literal["sincos", "rope2d", "none"], _CHOICE] = "sincos"
    """How tokens carry the place of their patch: a learned map of sinusoids added to image tokens (`sincos`, paper),
    rotary position embedding of queries and keys in all stacks (`rope2d`, Open-RayZer), or not at all (`none`,
    LVSM), where only rays tell it. Differs from the paper."""
    rope_base: float = Field(100.0, gt=1.0)
    """Base of the frequencies of `patch_positions: rope2d`; 100 in Open-RayZer."""
    view_embedding: Annotated[Literal["number", "type", "none"], _CHOICE] = "number"
    """What tells views apart in the camera encoder: the view's number (paper), only whether it is the canonical
    view (`type`), which removes the shortcut of reading a view's place off its number, or nothing (`none`,
    Open-RayZer). Differs from the paper."""
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
    token_fusion: Annotated[Literal["mlp", "linear", "pixel", "residual"], _CHOICE] = "mlp"
    """How the image and the rays of an input patch become one token: `mlp`, normalised before two layers (paper);
    `linear`, one layer normalised after it, which learns faster at small sizes; `pixel`, one bias-free layer on the
    colours and rays of all pixels (Open-RayZer, LVSM); `residual`, three layers beside the mean of both tokens
    (`feature_fuse` of Open-RayZer). Differs from the paper."""
    encoder_norm: Annotated[bool, _CHOICE] = False
    """LayerNorm on the tokens that enter the camera encoder and the scene encoder (Open-RayZer), as on those that enter
    the decoder. Differs from the paper."""
    output_norm: Annotated[Literal["learned", "plain"], _CHOICE] = "learned"
    """LayerNorm before pixels: with a learned weight (paper), or without any parameter (`plain`, Open-RayZer).
    Differs from the paper."""
    qk_norm_eps: Annotated[float, Paper(RELEASE, listed=False)] = Field(1e-5, gt=0.0)
    """Epsilon of the RMS norm of queries and keys; 1e-3 in Open-RayZer without `rope2d`."""
    focal: Annotated[Literal["predicted", "shared"], _CHOICE] = "predicted"
    """`predicted` per scene from the canonical view (paper), or one `shared` learned number. Differs from the paper."""
    init_std: float = Field(0.02, gt=0.0)
    """Standard deviation of the initial weights; block l of a stack uses init_std / sqrt(2(l + 1))."""

    @model_validator(mode="before")
    @classmethod
    def _options_of_the_kind(cls, values: Any) -> Any:
        """Fill in what `kind` sets."""
        kind = values.get("kind", "wildrayzer") if isinstance(values, dict) else None
        return {**KINDS[kind], **values} if isinstance(kind, str) and kind in KINDS else values

    @model_validator(mode="after")
    def _kind_holds(self) -> "ModelConfig":
        for name, value in KINDS[self.kind].items():
            if getattr(self, name) != value:
                shown = "null" if value is None else value
                raise ValueError(f"model.kind: {self.kind} needs model.{name}: {shown}; drop the line model.{name}")
        return self

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
        coded = self.patch_positions == "sincos" or self.view_embedding == "number" or self.camera_encoder == "pairwise"
        if self.width % 8 and coded:
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

    @model_validator(mode="after")
    def _head_sees_something(self) -> "ModelConfig":
        head = self.motion_head
        if head is not None and not (head.use_tokens or head.use_features or head.cross_residual):
            raise ValueError(
                "model.motion_head: use_tokens, use_features and cross_residual are all off, so that the head sees "
                "nothing; switch one on"
            )
        if head is not None and head.kind == "convolutional":
            for name in ("cross_view", "head_width"):
                if getattr(head, name):
                    raise ValueError(
                        f"model.motion_head.{name}: {getattr(head, name)} needs attention, which "
                        "model.motion_head.kind: convolutional does not have; drop one of them"
                    )
        return self

    @model_validator(mode="after")
    def _window_fits(self) -> "ModelConfig":
        head = self.motion_head
        if head is not None and head.cross_residual and (head.ssim_size % 2 == 0 or head.ssim_size > self.image_size):
            raise ValueError(
                f"model.motion_head.ssim_size = {head.ssim_size}: choose an odd number up to model.image_size = "
                f"{self.image_size}"
            )
        return self

    @model_validator(mode="after")
    def _options_agree(self) -> "ModelConfig":
        if self.camera_encoder == "pairwise":
            for name in ("camera_attention", "camera_head"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"model.{name}: {getattr(self, name)} needs the tokens of all views, but "
                        "model.camera_encoder: pairwise sees two views at a time; set model.camera_encoder: joint"
                    )
        if self.camera_head == "pi3" and self.view_embedding == "type":
            raise ValueError(
                "model.camera_head: pi3 has no canonical view, which model.view_embedding: type marks; "
                "set model.view_embedding: none"
            )
        if self.patch_positions == "rope2d" and (self.head_width % 4 or self._motion_head_width % 4):
            raise ValueError(
                f"model.patch_positions: rope2d rotates channels in two halves of pairs, but a head has "
                f"{self.head_width} (motion head {self._motion_head_width}) channels; choose multiples of 4"
            )
        if self.image_tokenizer == "dinov3" and not self.tokenizes_images:
            raise ValueError(
                "model.image_tokenizer: dinov3 is not used by this network, whose fusion reads pixels and whose "
                "cameras come from elsewhere; set model.image_tokenizer: linear"
            )
        if self.camera_blocks == 0 and self.cameras == "predicted":
            raise ValueError("model.camera_blocks = 0, but model.cameras: predicted needs at least 1")
        if self.cameras == "given" and self.matching_init:
            raise ValueError("model.matching_init starts the camera encoder, which model.cameras: given leaves out")
        if self.decoder_context == "scene":
            for name in ("scene_tokens", "scene_blocks"):
                if getattr(self, name) == 0:
                    raise ValueError(
                        f"model.{name} = 0 leaves model.decoder_context: scene without content; choose at least 1, or "
                        "set model.decoder_context: scene_and_inputs"
                    )
        return self

    @property
    def _motion_head_width(self) -> int:
        return (self.motion_head and self.motion_head.head_width) or self.head_width

    @property
    def tokenizes_images(self) -> bool:
        """Whether image tokens are used: by a joint camera encoder, by the fusion of tokens, or by the motion head."""
        joint = self.cameras == "predicted" and self.camera_encoder == "joint"
        return joint or self.token_fusion != "pixel" or self.motion_head is not None

    @property
    def renderer_row(self) -> str:
        """Row of the view-synthesis tables that the pretrained renderer is."""
        if self.kind != "wildrayzer":
            return "lvsm"
        return "given_cameras" if self.cameras == "given" else "static"

    @property
    def grid(self) -> int:
        """Patches along a side of the image."""
        return self.image_size // self.patch_size

    @property
    def deviations(self) -> tuple[str, ...]:
        """Names and values of the options in use that differ from the paper."""
        return deviations(self, "model.")
