"""The motion head: where a view shows something that moves (docs/network.md#motion-head)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.models.rotary import rotary_positions
from wildrayzer.models.transformer import build_stack, initialise

_STAGE_GROUPS = (32, 32, 16, 8)
"""GroupNorm groups of the released upsampling stages; their greatest common divisor with the channels is used."""


def _group_norm(channels: int, groups: int = 32) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, groups), channels)


def _projection(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inside, bias=False), nn.Linear(inside, outside))


class UpsamplingStage(nn.Module):
    """Twice the resolution, half the channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.narrow = nn.Conv2d(channels, half, 1)
        self.refine = nn.Sequential(
            _group_norm(half), nn.GELU(), nn.Conv2d(half, half, 3, padding=1), _group_norm(half), nn.GELU()
        )
        self.smooth = nn.Sequential(nn.Conv2d(half, half, 3, padding=1), _group_norm(half, groups), nn.GELU())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e y x"]:
        """Bilinear ×2, channels halved, refined."""
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.smooth(self.refine(self.narrow(x)))


class MaskDecoder(nn.Module):
    """Tokens on the patch grid to logits at image resolution.

    floor(log2 patch) doublings; where the patch size is no power of two a bilinear resize to the image size follows.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.image_size, self.grid = config.image_size, config.grid
        channels = config.width // 2
        self.read = _projection(config.width, config.width)
        self.entry = nn.Sequential(
            nn.Conv2d(config.width, channels, 3, padding=1),
            _group_norm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.stages = nn.ModuleList()
        for stage in range(math.floor(math.log2(config.patch_size))):
            self.stages.append(UpsamplingStage(channels, _STAGE_GROUPS[min(stage, len(_STAGE_GROUPS) - 1)]))
            channels = max(1, channels // 2)
        self.logit = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, 1, 1))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b 1 h w"]:
        """Logits of square images from the tokens of their patch grids."""
        x = self.entry(self.read(tokens).transpose(1, 2).unflatten(-1, (self.grid, self.grid)))
        for stage in self.stages:
            x = stage(x)
        logits = self.logit(x)
        if logits.shape[-1] != self.image_size:
            logits = functional.interpolate(logits, size=(self.image_size,) * 2, mode="bilinear", align_corners=False)
        return logits


TYPICAL_RESIDUALS = (0.05, 0.25, 0.15)
"""Scale of the leave-one-out maps (L1, 1 − SSIM, feature dissimilarity) over whole data sets: constants, so that the
maps of a view in which nothing moves stay small."""


class ResidualEncoder(nn.Module):
    """Leave-one-out maps to tokens, each from its patch and the eight around it."""

    typical: Tensor

    def __init__(self, width: int, maps: int) -> None:
        super().__init__()
        self.register_buffer("typical", torch.tensor(TYPICAL_RESIDUALS[:maps]).view(-1, 1, 1), persistent=False)
        self.layers = nn.Sequential(
            nn.Conv2d(maps, width, 3, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, maps: Float[Tensor, "n c g g2"]) -> Float[Tensor, "n p d"]:
        """Tokens in row-major order."""
        return self.layers(maps / self.typical).flatten(2).transpose(1, 2)


class TransformerHead(nn.Module):
    """The published head: backbone features, image and ray tokens of views to motion logits (1 = transient).

    With `cross_residual` (ours) leave-one-out maps of the views enter as well.
    """

    def __init__(self, config: ModelConfig, options: MotionHeadConfig) -> None:
        super().__init__()
        width = config.width
        self.grid, self.cross_view, self.feature_width = config.grid, options.cross_view, options.feature_width
        self.features = _projection(options.feature_width, width) if options.use_features else None
        self.tokens = _projection(width, width) if options.use_tokens else None
        self.rays = _projection(width, width) if options.use_tokens else None
        self.residuals: ResidualEncoder | None = None
        self.residual_skip: nn.Linear | None = None
        if options.cross_residual:
            self.residuals = ResidualEncoder(width, options.residual_maps)
            self.residual_skip = nn.Linear(width, width)
        sources = 2 * options.use_tokens + options.use_features + options.cross_residual
        self.fuse = nn.Sequential(*_projection(sources * width, width), nn.GELU(), nn.Linear(width, width))
        self.rotary = rotary_positions(config, options.head_width)
        self.blocks = build_stack(options.blocks, config, options.head_width)
        self.decoder = MaskDecoder(config)
        added = (self.residuals, self.residual_skip)
        for part in (self.features, self.tokens, self.rays, self.fuse, self.decoder, *added):
            if part is not None:
                initialise(part, config.init_std)

    def forward(
        self,
        features: Float[Tensor, "b v fh fw c"] | None,
        tokens: Float[Tensor, "b v n d"],
        ray_tokens: Float[Tensor, "b v n d"],
        residuals: Float[Tensor, "b v r g g2"] | None = None,
    ) -> Float[Tensor, "b v 1 h w"]:
        """Motion logits of each view, from its own tokens and maps unless `cross_view` is set.

        With `cross_view` the transformer attends jointly over the views of this call. Differs from the paper.

        Raises:
            ValueError: features missing, or of another width than configured; leave-one-out maps missing.
        """
        sources = []
        if self.features is not None:
            sources.append(self.features(_on_grid(features, self.grid, self.feature_width)))
        if self.tokens is not None and self.rays is not None:
            sources += [self.tokens(tokens), self.rays(ray_tokens)]
        maps = self._residual_tokens(residuals)
        if maps is not None:
            sources.append(maps)
        x = self.fuse(torch.cat(sources, dim=-1))
        batch, views, patches = x.shape[:3]
        angles = None if self.rotary is None else self.rotary(0, views if self.cross_view else 1)
        x = self.blocks(x.flatten(1, 2) if self.cross_view else x.flatten(0, 1), angles=angles)
        x = x.reshape(batch * views, patches, -1)
        if maps is not None and self.residual_skip is not None:
            # Past the transformer once more, close to the output, where the maps need not compete with appearance.
            x = x + self.residual_skip(maps).flatten(0, 1)
        return self.decoder(x).float().unflatten(0, (batch, views))

    def _residual_tokens(self, maps: Float[Tensor, "b v r g g2"] | None) -> Float[Tensor, "b v n d"] | None:
        if self.residuals is None:
            return None
        maps = _present(maps)
        return self.residuals(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])


class ConvolutionalHead(nn.Module):
    """A small head for few training clips (ours): convolutions on the patch grid, one logit per patch.

    A patch's logit depends on the patches within `blocks` of it, so that there is little that the head could learn by
    heart. Logits between patch centres are interpolated.

    What enters is standardised by constants of the training set, one mean and one deviation per channel. They are not
    those of a view: maps of a view in which nothing moves stay small.
    """

    input_mean: Tensor
    input_std: Tensor
    standardised: Tensor

    def __init__(self, config: ModelConfig, options: MotionHeadConfig) -> None:
        super().__init__()
        width, channels = config.width, options.channels_in(config.width)
        self.image_size, self.grid, self.feature_width = config.image_size, config.grid, options.feature_width
        self.use_features, self.use_tokens = options.use_features, options.use_tokens
        self.maps = options.residual_maps
        std = torch.ones(channels)
        std[channels - self.maps :] = torch.tensor(TYPICAL_RESIDUALS[: self.maps])
        self.register_buffer("input_mean", torch.zeros(channels))
        self.register_buffer("input_std", std)
        self.register_buffer("standardised", torch.tensor(False))
        self.register_load_state_dict_pre_hook(_keep_initial_constants)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 1), nn.GELU()]
        for _ in range(options.blocks):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GELU()]
        # Initialised as PyTorch does: the head has no skip connections.
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))

    def inputs(
        self,
        features: Float[Tensor, "b v fh fw c"] | None,
        tokens: Float[Tensor, "b v n d"],
        ray_tokens: Float[Tensor, "b v n d"],
        residuals: Float[Tensor, "b v r g g2"] | None = None,
    ) -> Float[Tensor, "m e g g2"]:
        """What enters, on the patch grids of all views, not yet standardised.

        Raises:
            ValueError: features missing, or of another width than configured; leave-one-out maps missing.
        """
        sources = [_on_grid(features, self.grid, self.feature_width)] if self.use_features else []
        if self.use_tokens:
            sources += [tokens, ray_tokens]
        channels = [source.flatten(0, 1).transpose(1, 2).unflatten(-1, (self.grid,) * 2) for source in sources]
        if self.maps:
            channels.append(_present(residuals).flatten(0, 1))
        return torch.cat(channels, dim=1)

    def standardise(self, mean: Float[Tensor, " c"], std: Float[Tensor, " c"]) -> None:
        """Fix the constants; a channel that never changes keeps its scale."""
        self.input_mean.copy_(mean)
        self.input_std.copy_(torch.where(std > 0, std, self.input_std))
        self.standardised.fill_(True)

    def forward(
        self,
        features: Float[Tensor, "b v fh fw c"] | None,
        tokens: Float[Tensor, "b v n d"],
        ray_tokens: Float[Tensor, "b v n d"],
        residuals: Float[Tensor, "b v r g g2"] | None = None,
    ) -> Float[Tensor, "b v 1 h w"]:
        """Motion logits of each view, from its own patches and maps.

        Raises:
            ValueError: as `inputs`.
        """
        x = self.inputs(features, tokens, ray_tokens, residuals)
        x = (x - self.input_mean[:, None, None]) / self.input_std[:, None, None]
        logits = self.layers(x).float()
        logits = functional.interpolate(logits, size=(self.image_size,) * 2, mode="bilinear", align_corners=False)
        return logits.unflatten(0, tokens.shape[:2])


def _keep_initial_constants(head: ConvolutionalHead, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Heads of earlier versions have no constants; the initial ones change nothing for them."""
    for name, buffer in head.named_buffers(recurse=False):
        state.setdefault(prefix + name, buffer)


MotionHead = TransformerHead | ConvolutionalHead


def build_motion_head(config: ModelConfig, options: MotionHeadConfig) -> MotionHead:
    """The motion head that `model.motion_head.kind` names."""
    return (ConvolutionalHead if options.kind == "convolutional" else TransformerHead)(config, options)


def _present(maps: Float[Tensor, "b v r g g2"] | None) -> Float[Tensor, "b v r g g2"]:
    if maps is None:
        raise ValueError(
            "the motion head compares each input with what the other inputs predict "
            "(model.motion_head.cross_residual); pass these maps"
        )
    return maps


def _on_grid(features: Float[Tensor, "b v fh fw c"] | None, grid: int, width: int) -> Float[Tensor, "b v n c"]:
    """Features resampled to the patch grid, in row-major order."""
    if features is None:
        raise ValueError(
            "the motion head needs backbone features; pass features, or set model.motion_head.use_features: false"
        )
    if features.shape[-1] != width:
        raise ValueError(
            f"features are {features.shape[-1]} wide, but model.motion_head.feature_width = {width}; "
            "set it to the width of the feature backbone"
        )
    if features.shape[2:4] != (grid, grid):
        flat = features.flatten(0, 1).permute(0, 3, 1, 2)
        flat = functional.interpolate(flat, size=(grid, grid), mode="bilinear", align_corners=False)
        features = flat.permute(0, 2, 3, 1).unflatten(0, features.shape[:2])
    return features.flatten(2, 3)
