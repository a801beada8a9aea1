"""Names of the weights: ours on the left, the release's on the right (docs/network.md#checkpoint-keys)."""

import re

PARTS = {
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
"""Beginnings of names."""

BLOCK = {
    "attention.to_qkv": "attn.to_qkv",
    "attention.q_norm": "attn.q_norm",
    "attention.k_norm": "attn.k_norm",
    "attention.out": "attn.fc",
    "mlp": "mlp.mlp",
}
"""Names within a transformer block, where they differ."""

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

_STAGE_NAME = re.compile(r"motion_head\.decoder\.stages\.(\d+)\.(\w+)\.(.+)")
_BLOCK_NAME = re.compile(r"(.*\.blocks)\.(\d+)\.(.+)")


def released_name(name: str) -> str:
    """The release's name of one of our weights.

    Raises:
        ValueError: a weight that the release does not have.
    """
    if match := _STAGE_NAME.fullmatch(name):
        stage, part, rest = match.groups()
        return f"motion_mask_predictor.{STAGE[part].format(int(stage) + 2)}.{rest}"
    if (match := _BLOCK_NAME.fullmatch(name)) and match[1] in PARTS:
        return f"{PARTS[match[1]]}.{match[2]}.{_rename(match[3], BLOCK) or match[3]}"
    if renamed := _rename(name, PARTS):
        return renamed
    raise ValueError(f"the release has no counterpart of the weight {name}")


def _rename(name: str, table: dict[str, str]) -> str | None:
    """Replace the beginning of a dotted name; None where no entry of the table fits."""
    for ours, theirs in table.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return None
