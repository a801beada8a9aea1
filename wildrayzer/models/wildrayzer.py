"""The one model of all stages: cameras, static renderer and motion head."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.geometry.cameras import Cameras, normalise_poses
from wildrayzer.models.attention import Kernel, resolve_kernel
from wildrayzer.models.camera_encoder import JointCameraEncoder
from wildrayzer.models.camera_head import CameraHead, Pi3Head
from wildrayzer.models.matching import PairwiseCameraEncoder
from wildrayzer.models.motion_head import build_motion_head
from wildrayzer.models.scene import CrossDecoder, Decoder, SceneEncoder
from wildrayzer.models.tokens import ImageTokenizer, RayTokenizer

Compare = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Views, the same views rendered from others, and features of the views, to leave-one-out maps
(`wildrayzer.pseudo_masks.cross_residuals`)."""


@dataclass(frozen=True)
class ViewSynthesis:
    """What one pass gives. Views are ordered inputs first (`k`), then targets (`t`); `v` = k + t."""

    cameras: Cameras
    """All views; camera-to-world, OpenCV axes."""
    render: Float[Tensor, "b t 3 h w"]
    """Target views in [0, 1]."""
    render_inputs: Float[Tensor, "b k 3 h w"] | None = None
    """Input views rendered again."""
    motion_logits: Float[Tensor, "b m 1 h w"] | None = None
    """Motion logits of all views, or of the inputs with `gate_only`; positive = transient."""
    token_mask: Bool[Tensor, "b k n"] | None = None
    """Input tokens that the noise token replaced (1 = transient)."""


class WildRayZer(nn.Module):
    """The network of docs/network.md, with the named deviations of `ModelConfig` as options.

    Open-RayZer's network and LVSM's two, whose cameras are given, are sets of such options.

    All methods take views in batches, `b` samples of `v` views, on a patch grid of n = (image_size / patch_size)²
    tokens in row-major order. Images are float in [0, 1], masks 1 = transient.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        pairwise, predicted = config.camera_encoder == "pairwise", config.cameras == "predicted"
        self.image_tokenizer = ImageTokenizer(config) if config.tokenizes_images else None
        self.camera_encoder: nn.Module | None = None
        self.camera_head: nn.Module | None = None
        if predicted:
            self.camera_encoder = PairwiseCameraEncoder(config) if pairwise else JointCameraEncoder(config)
            self.camera_head = Pi3Head(config) if config.camera_head == "pi3" else CameraHead(config)
        self.input_rays = RayTokenizer(config)
        self.target_rays = RayTokenizer(config)
        self.scene_encoder = SceneEncoder(config)
        self.decoder = CrossDecoder(config) if config.decoder_attention == "cross" else Decoder(config)
        role = torch.randn(2, config.width) * config.init_std
        self.role_embedding = nn.Parameter(role) if config.view_type_embedding else None
        self.motion_head = None if config.motion_head is None else build_motion_head(config, config.motion_head)

    def attention_kernel_in(self, dtype: torch.dtype | None) -> Kernel:
        """Name of the attention kernel on the device of the weights in a dtype; None takes that of the weights."""
        weight = next(self.parameters())
        return resolve_kernel(self.config.attention, weight.device, dtype or weight.dtype, self.config.head_width)

    def tokenize(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v n d"]:
        """Image tokens with their position code (docs/network.md#image-tokens).

        They have no channels (`d` = 0) where no part of the network takes them.

        Raises:
            ValueError: images of another size than configured.
        """
        size = self.config.image_size
        if images.shape[-2:] != (size, size):
            raise ValueError(
                f"images are {images.shape[-2]} × {images.shape[-1]} pixels, but model.image_size = {size}; resize them"
            )
        if self.image_tokenizer is None:
            return images.new_zeros(*images.shape[:2], self.config.grid**2, 0)
        return self.image_tokenizer(images)

    def predict_cameras(
        self,
        images: Float[Tensor, "b v 3 h w"],
        tokens: Float[Tensor, "b v n d"],
        *,
        num_inputs: int | None = None,
    ) -> Cameras:
        """Cameras of all views, in float32, relative to the canonical view (docs/network.md#camera-head).

        With `camera_head: pi3` the frame is free.

        Args:
            images: in [0, 1].
            tokens: their tokens from `tokenize`; the pairwise encoder makes its own.
            num_inputs: how many views are inputs; needed with `view_type_embedding` alone.

        Raises:
            ValueError: fewer than two views, `num_inputs` missing where it is needed, or a network with given cameras.
        """
        if self.camera_encoder is None or self.camera_head is None:
            raise ValueError("model.cameras: given, so the network predicts none; pass the cameras of all views")
        views = images.shape[1]
        if views < 2:
            raise ValueError(f"cameras are relative to each other and need at least 2 views, got {views}")
        return self.camera_head(*self.camera_encoder(images, tokens, self._roles(views, num_inputs)))

    def ray_tokens(self, cameras: Cameras, *, for_targets: bool) -> Float[Tensor, "b v n d"]:
        """Ray tokens of the decoder's tokenizer (`for_targets`) or the scene encoder's (docs/network.md#rays)."""
        return (self.target_rays if for_targets else self.input_rays)(cameras)

    def encode_scene(
        self,
        images_in: Float[Tensor, "b k 3 h w"],
        tokens_in: Float[Tensor, "b k n e"],
        ray_tokens_in: Float[Tensor, "b k n d"],
        token_mask: Bool[Tensor, "b k n"] | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Context for the decoder from the input views (docs/network.md#scene-encoder).

        The noise token replaces masked tokens.
        """
        return self.scene_encoder(images_in, tokens_in, ray_tokens_in, token_mask)

    def decode(
        self, context: Float[Tensor, "b m d"], target_ray_tokens: Float[Tensor, "b t n d"]
    ) -> Float[Tensor, "b t 3 h w"]:
        """Renderings in [0, 1], one per set of ray tokens, independent of each other (docs/network.md#decoder)."""
        return self.decoder(context, target_ray_tokens)

    @torch.no_grad()
    def leave_one_out(
        self,
        images: Float[Tensor, "b v 3 h w"],
        tokens: Float[Tensor, "b v n e"],
        cameras: Cameras,
        num_inputs: int,
        *,
        views: int,
    ) -> Float[Tensor, "b m 3 h w"]:
        """The first `views` views, each rendered without itself (docs/network.md#leave-one-out-residuals).

        An input is rendered from the other inputs. A target is rendered from all inputs but one, number j modulo K for
        target j of K inputs, so that the maps of targets, which train the head, are like those of inputs.

        Raises:
            ValueError: fewer than two inputs.
        """
        if num_inputs < 2:
            raise ValueError(
                "model.motion_head.cross_residual predicts each input from the other inputs and needs at least 2 input "
                f"views, got {num_inputs}; give more views, or use a checkpoint without this option"
            )
        rays_in = self.ray_tokens(cameras.select(slice(None, num_inputs)), for_targets=False)
        rays_out = self.ray_tokens(cameras.select(slice(None, views)), for_targets=True)
        left_out = [view if view < num_inputs else (view - num_inputs) % num_inputs for view in range(views)]
        rendered = images.new_empty(images.shape[0], views, *images.shape[2:])
        for view in range(num_inputs):
            others = [other for other in range(num_inputs) if other != view]
            seen = [number for number, out in enumerate(left_out) if out == view]
            context = self.encode_scene(images[:, others], tokens[:, others], rays_in[:, others])
            rendered[:, seen] = self.decode(context, rays_out[:, seen]).to(rendered.dtype)
        return rendered

    def motion_logits(
        self,
        features: Float[Tensor, "b v fh fw c"] | None,
        tokens: Float[Tensor, "b v n e"],
        ray_tokens: Float[Tensor, "b v n d"],
        residuals: Float[Tensor, "b v r g g2"] | None = None,
    ) -> Float[Tensor, "b v 1 h w"]:
        """Motion logits, positive = transient (docs/network.md#motion-head).

        Raises:
            ValueError: the model has no motion head, or features or leave-one-out maps are missing or of the wrong
                width.
        """
        if self.motion_head is None:
            raise ValueError("motion asked for, but model.motion_head is null: this model has no motion head")
        return self.motion_head(features, tokens, ray_tokens, residuals)

    def cross_residuals(
        self,
        images: Float[Tensor, "b v 3 h w"],
        tokens: Float[Tensor, "b v n e"],
        cameras: Cameras,
        num_inputs: int,
        *,
        views: int,
        features: Float[Tensor, "b m fh fw c"] | None,
        compare: Compare | None,
    ) -> Float[Tensor, "b s r g g2"] | None:
        """Leave-one-out maps of the first `views` views for the motion head; None for a head that takes none.

        Raises:
            ValueError: the head needs them and there is no `compare`, or fewer than two inputs.
        """
        if self.config.motion_head is None or not self.config.motion_head.cross_residual:
            return None
        if compare is None:
            raise ValueError("the motion head takes leave-one-out residuals; pass compare, from CrossResiduals")
        rendered = self.leave_one_out(images, tokens, cameras, num_inputs, views=views)
        return compare(images[:, :views], rendered, None if features is None else features[:, :views])

    def token_mask_from_probability(
        self, probability: Float[Tensor, "b v 1 h w"], threshold: float | None = None
    ) -> Bool[Tensor, "b v n"]:
        """Tokens whose mean motion probability exceeds `threshold`, by default `motion_head.threshold`; 1 = transient.

        Source: docs/network.md#token-gate.

        Raises:
            ValueError: the model has no motion head.
        """
        if self.config.motion_head is None:
            raise ValueError("a token mask needs model.motion_head.threshold, but model.motion_head is null")
        mean = functional.avg_pool2d(probability.flatten(0, 1), self.config.patch_size)
        limit = self.config.motion_head.threshold if threshold is None else threshold
        return (mean > limit).flatten(1).unflatten(0, probability.shape[:2])

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        num_inputs: int,
        *,
        features: Float[Tensor, "b m fh fw c"] | None = None,
        motion: bool = False,
        gate_only: bool = False,
        token_mask: Bool[Tensor, "b k n"] | None = None,
        extra_token_mask: Bool[Tensor, "b k n"] | None = None,
        render_inputs: bool = False,
        cameras: Cameras | None = None,
        normalised: bool = False,
        compare: Compare | None = None,
    ) -> ViewSynthesis:
        """Cameras of all views and renderings of the target views.

        Args:
            images: in [0, 1], inputs first, then targets.
            num_inputs: how many of the views are inputs; at least 1, and at least one view must be left as a target.
            features: backbone features of all views, or of the inputs with `gate_only`, for the motion head.
            motion: predict motion logits of all views; without `token_mask` they gate the inputs, detached.
            gate_only: predict the logits of the inputs alone, for the gate; they carry no gradient to the renderer.
            token_mask: gate for the input tokens (1 = transient), in place of the predicted one.
            extra_token_mask: tokens to replace on top of the gate (masked reconstruction).
            render_inputs: render the input views as well.
            cameras: cameras of all views to use in place of the predicted ones. With `cameras: given` they are needed,
                in any frame and scale: they are normalised over the views of each sample.
            normalised: given cameras are normalised already, over views of which not all are among the images.
            compare: makes leave-one-out maps; needed for the motion of a head with `cross_residual`.

        Raises:
            ValueError: impossible `num_inputs`, wrong image size, or something asked of a missing motion head.
        """
        views = images.shape[1]
        if not 1 <= num_inputs < views:
            raise ValueError(
                f"num_inputs = {num_inputs} of {views} views; at least one input and one target are needed"
            )
        tokens = self.tokenize(images)
        if cameras is None:
            cameras = self.predict_cameras(images, tokens, num_inputs=num_inputs)
        elif self.config.cameras == "given" and not normalised:
            cameras = Cameras(c2w=normalise_poses(cameras.c2w), intrinsics=cameras.intrinsics)
        inputs, targets = slice(None, num_inputs), slice(num_inputs, None)
        rays_in = self.ray_tokens(cameras.select(inputs), for_targets=False)
        rays_out = self.ray_tokens(cameras if render_inputs else cameras.select(targets), for_targets=True)

        logits = None
        if motion:
            seen = tokens.detach() if gate_only else tokens
            parts = (
                [(inputs, rays_in.detach())]
                if gate_only
                else [(inputs, rays_in), (targets, rays_out[:, num_inputs - views :])]
            )
            maps = self.cross_residuals(
                images, tokens, cameras, num_inputs,
                views=num_inputs if gate_only else views, features=features, compare=compare,
            )  # fmt: skip
            logits = torch.cat(
                [
                    self.motion_logits(
                        None if features is None else features[:, part],
                        seen[:, part],
                        rays,
                        None if maps is None else maps[:, part],
                    )
                    for part, rays in parts
                ],
                dim=1,
            )
            if token_mask is None:
                token_mask = self.token_mask_from_probability(logits[:, inputs].detach().sigmoid())

        if extra_token_mask is not None:
            token_mask = extra_token_mask if token_mask is None else token_mask | extra_token_mask
        context = self.encode_scene(images[:, inputs], tokens[:, inputs], rays_in, token_mask)
        rendered = self.decode(context, rays_out)
        return ViewSynthesis(
            cameras=cameras,
            render=rendered[:, num_inputs - views :],
            render_inputs=rendered[:, inputs] if render_inputs else None,
            motion_logits=logits,
            token_mask=token_mask,
        )

    def renderer_parameters(self) -> Iterator[nn.Parameter]:
        """Everything but the motion head, in a fixed order."""
        return (value for name, value in self.named_parameters() if not name.startswith("motion_head."))

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the renderer that no stage trains: those of a frozen image tokenizer."""
        return iter(()) if self.image_tokenizer is None else self.image_tokenizer.frozen_parameters()

    def motion_head_parameters(self) -> Iterator[nn.Parameter]:
        """The motion head alone, in a fixed order."""
        return (value for name, value in self.named_parameters() if name.startswith("motion_head."))

    def _roles(self, views: int, num_inputs: int | None) -> Float[Tensor, "v d"] | None:
        """Embedding of input or target view (the paper's view-type embedding)."""
        if self.role_embedding is None:
            return None
        if num_inputs is None:
            raise ValueError("model.view_type_embedding is on: pass num_inputs, which says which views are inputs")
        number = torch.arange(views, device=self.role_embedding.device)
        return self.role_embedding[(number >= num_inputs).long()]
