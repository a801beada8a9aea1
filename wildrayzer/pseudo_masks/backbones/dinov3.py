"""DINOv3 ViT patch features through transformers (docs/method.md#residual-maps)."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.io.digests import digest_json
from wildrayzer.io.validated import read_validated
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.pseudo_masks.backbones.vit import ViTBackbone, dtype_of
from wildrayzer.pseudo_masks.backbones.weights import files_digest, locate

_MODEL_TYPE = "dinov3_vit"
_WANTED = (
    "a folder with config.json and model.safetensors of a DINOv3 ViT, a hub id such as "
    "facebook/dinov3-vitl16-pretrain-lvd1689m"
)


class DINOv3(ViTBackbone):
    """A DINOv3 ViT of transformers."""

    def __init__(self, config: FeaturesConfig, *, patch_size: int, device: str | torch.device) -> None:
        """Load the weights.

        Raises:
            ValueError: `features.weights` names a missing folder, another kind of model, or an unreachable hub id.
        """
        folder, revision = locate(config, wanted=_WANTED)
        _check_kind(folder, config.weights)
        ensure_torchvision()
        from transformers import DINOv3ViTModel

        model = _load(DINOv3ViTModel, folder, dtype_of(config), config.weights)
        files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
        super().__init__(
            model,
            config,
            patch_size=patch_size,
            device=device,
            own_patch=int(model.config.patch_size),
            width=int(model.config.hidden_size),
            revision=revision,
            digest=digest_json([files_digest(files), revision, config.precision]),
        )
        self._extra_tokens = 1 + int(model.config.num_register_tokens)

    def _patch_tokens(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t c"]:
        hidden: Tensor = self._model(pixel_values=images).last_hidden_state
        return hidden[:, self._extra_tokens :]


def _check_kind(folder: Path, weights: str) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"features.weights = {weights!r}: {folder} has no config.json; name a DINOv3 ViT folder")
    config = read_validated(folder / "config.json", dict, fix="download the weights again")
    kind = config.get("model_type")
    if kind != _MODEL_TYPE:
        fix = "set features.backbone: timm" if "architecture" in config else "name a DINOv3 ViT"
        raise ValueError(f"features.weights = {weights!r}: model_type is {kind!r}, not {_MODEL_TYPE!r}; {fix}")
    if not sorted(folder.glob("*.safetensors")):
        raise ValueError(f"features.weights = {weights!r}: {folder} has no *.safetensors; the download is incomplete")


def _load(kind: Any, folder: Path, dtype: torch.dtype, weights: str) -> Any:
    """The model from a local folder; refuses weights that do not fit its config.json."""
    try:
        model, report = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True, local_files_only=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"features.weights = {weights!r}: the weights in {folder} cannot be loaded: {error}; download them again"
        ) from None
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"features.weights = {weights!r}: {len(missing)} weights are missing, the first is {missing[0]}; "
            "download them again"
        )
    return model
