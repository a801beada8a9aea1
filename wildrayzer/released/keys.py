"""Names of the weights: ours on the left, those of each release on the right (docs/network.md#checkpoint-keys)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = {
    "attention.to_qkv": "attn.to_qkv",
    "attention.q_norm": "attn.q_norm",
    "attention.k_norm": "attn.k_norm",
    "attention.out": "attn.fc",
    "mlp": "mlp.mlp",
}
"""Names within a transformer block, where they differ."""

ROTARY_BLOCK = BLOCK | {"attention.to_qkv": "attn.qkv", "attention.out": "attn.proj"}
"""The same in Open-RayZer's blocks with rotary positions."""

STAGE = {"narrow": "up{}.conv_up", "refine": "up{}.refine", "smooth": "scale{}_refine"}
"""Names within an upsampling stage of the motion head; the release counts stages from 2."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CONSTANTS = {
    "motion_mask_predictor.dino_norm_mean": IMAGENET_MEAN,
    "motion_mask_predictor.dino_norm_std": IMAGENET_STD,
}
"""Buffers of the release's motion head, shape [1, 3, 1, 1]. Here the feature backbone normalises images itself."""

IGNORED_PREFIXES = ("loss_computer.",)
"""Weights of the release's perceptual loss, which some checkpoints carry."""

PIXEL_FUSION = ("scene_encoder.fuse.projection.weight", "input_rays.projection.weight")
"""Our two maps of pixel fusion, of colours and of rays. The releases have one map of both, pixel by pixel."""

_STAGE_NAME = re.compile(r"motion_head\.decoder\.stages\.(\d+)\.(\w+)\.(.+)")
_BLOCK_NAME = re.compile(r"(.*\.blocks)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Names:
    """The naming of one release.

    Args:
        parts: beginnings of names.
        block: names within a transformer block.
        pixel_fusion: the release's one map of pixel fusion, where it has that.
    """

    parts: Mapping[str, str]
    block: Mapping[str, str] = field(default_factory=lambda: BLOCK)
    pixel_fusion: str | None = None

    def released(self, name: str) -> str:
        """The release's name of one of our weights; the two of `PIXEL_FUSION` have the same.

        Raises:
            ValueError: a weight that the release does not have.
        """
        if self.pixel_fusion is not None and name in PIXEL_FUSION:
            return self.pixel_fusion
        if match := _STAGE_NAME.fullmatch(name):
            stage, part, rest = match.groups()
            return f"motion_mask_predictor.{STAGE[part].format(int(stage) + 2)}.{rest}"
        if (match := _BLOCK_NAME.fullmatch(name)) and match[1] in self.parts:
            return f"{self.parts[match[1]]}.{match[2]}.{_rename(match[3], self.block) or match[3]}"
        if renamed := _rename(name, self.parts):
            return renamed
        raise ValueError(f"the release has no counterpart of the weight {name}")


WILDRAYZER = Names(
    {
        "image_tokenizer.projection": "image_tokenizer.1",
        "image_tokenizer.position": "pe_embedder",
        "camera_encoder.code": "cam_code",
        "camera_encoder.view.map": "temporal_pe_embedder",
        "camera_encoder.blocks": "transformer_encoder",
        "camera_head.relative": "pose_predictor.rel_head",
        "camera_head.focal.layers": "pose_predictor.canonical_k_head",
        "input_rays.projection": "target_pose_tokenizer.1",
        "target_rays.projection": "target_pose_tokenizer2.1",
        "scene_encoder.code": "scene_code",
        "scene_encoder.noise_token": "noise_token",
        "scene_encoder.fuse": "mlp_fuse",
        "scene_encoder.blocks": "transformer_encoder_geom",
        "decoder.norm": "decoder_ln",
        "decoder.blocks": "transformer_decoder",
        "decoder.to_pixels": "image_token_decoder",
        "motion_head.features": "motion_mask_predictor.dino_proj",
        "motion_head.tokens": "motion_mask_predictor.token_proj",
        "motion_head.rays": "motion_mask_predictor.pose_proj",
        "motion_head.fuse": "motion_mask_predictor.fusion_mlp",
        "motion_head.blocks": "motion_mask_predictor.motion_transformer",
        "motion_head.decoder.read": "motion_mask_predictor.dpt_readout",
        "motion_head.decoder.entry": "motion_mask_predictor.scale1_refine",
        "motion_head.decoder.logit": "motion_mask_predictor.head",
    }
)
"""WildRayZer and RayZer."""

_OPEN_RAYZER_PARTS = {
    "image_tokenizer.projection": "image_tokenizer.1",
    "camera_encoder.norm": "estimator_layernorm",
    "camera_encoder.blocks": "estimator_blocks",
    **{
        f"camera_head.refine.{block}.{2 * layer}": f"pose_wrapper.res_conv.{block}.res_conv{layer + 1}"
        for block in range(2)
        for layer in range(3)
    },
    "camera_head.pose": "pose_wrapper.more_mlps",
    "camera_head.translation": "pose_wrapper.fc_t",
    "camera_head.rotation": "pose_wrapper.fc_rot",
    "camera_head.view": "pose_wrapper.fov_mlp",
    "camera_head.field_of_view": "pose_wrapper.fov_head",
    "input_rays.projection": "pose_tokenizer.1",
    "target_rays.projection": "target_pose_tokenizer.1",
    "scene_encoder.code": "latent_scene_tokens",
    "scene_encoder.fuse.image_norm": "encoder_fuse.ln_a",
    "scene_encoder.fuse.ray_norm": "encoder_fuse.ln_b",
    **{f"scene_encoder.fuse.layers.{2 * layer}": f"encoder_fuse.net.{3 * layer}" for layer in range(3)},
    "scene_encoder.norm": "encoder_layernorm",
    "scene_encoder.blocks": "encoder_blocks",
    "decoder.norm": "decoder_layernorm",
    "decoder.blocks": "decoder_blocks",
    "decoder.to_pixels": "image_unpatchifier",
}

_LVSM_PARTS = {
    "target_rays.projection": "target_pose_tokenizer.1",
    "scene_encoder.code": "n_light_field_latent",
    "scene_encoder.blocks": "transformer_encoder",
    "decoder.to_pixels": "image_token_decoder",
}
LVSM = Names(
    _LVSM_PARTS | {"decoder.norm": "transformer_input_layernorm_decoder", "decoder.blocks": "transformer_decoder"},
    pixel_fusion="image_tokenizer.1.weight",
)
"""LVSM with encoder and decoder."""
LVSM_DECODER_ONLY = Names(
    _LVSM_PARTS | {"decoder.norm": "transformer_input_layernorm", "decoder.blocks": "transformer_blocks"},
    pixel_fusion="image_tokenizer.1.weight",
)
"""Decoder-only LVSM."""


def open_rayzer(*, rotary: bool, pixel_fusion: bool) -> Names:
    """Open-RayZer's names, whose blocks and fusion are named by the options in use."""
    return Names(
        _OPEN_RAYZER_PARTS,
        block=ROTARY_BLOCK if rotary else BLOCK,
        pixel_fusion="encoder_tokenizer.1.weight" if pixel_fusion else None,
    )


def released_name(name: str) -> str:
    """WildRayZer's released name of one of our weights.

    Raises:
        ValueError: a weight that the release does not have.
    """
    return WILDRAYZER.released(name)


def _rename(name: str, table: Mapping[str, str]) -> str | None:
    """Replace the beginning of a dotted name; None where no entry of the table fits."""
    for ours, theirs in table.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return None
