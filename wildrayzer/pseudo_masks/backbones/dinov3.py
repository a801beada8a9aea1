"""DINOv3 ViT patch features through transformers (docs/method.md#residual-maps)."""

import logging
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.io.files import read_json
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.pseudo_masks.backbones.interface import check_images

logger = logging.getLogger(__name__)

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_MODEL_TYPE = "dinov3_vit"
# Most pixels in one pass on a CPU (8 images of 256 px): with more, activations do not fit into its caches.
_CPU_PIXELS = 1 << 19


class DINOv3:
    """Patch tokens of the last layer (after the final norm) of a frozen DINOv3 ViT, without class and register tokens.

    Always in eval mode: in train mode its rotary positions are rescaled at random. If the backbone's patch differs from
    the renderer's, images are resized (bicubic, antialiased) so that the two grids agree.
    """

    centre = False
    anchor = 0.0

    def __init__(self, config: FeaturesConfig, *, patch_size: int, device: str | torch.device) -> None:
        """Load the weights.

        Raises:
            ValueError: `features.weights` names a missing folder, another kind of model, or an unreachable hub id.
        """
        folder, revision = _locate(config)
        _check_kind(folder, config.weights)
        ensure_torchvision()
        from transformers import DINOv3ViTModel

        self._dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        model = _load(DINOv3ViTModel, folder, self._dtype, config.weights)
        self._model = model.to(device).eval().requires_grad_(False)
        self.patch_size = patch_size
        self.batch = config.batch
        self.width = int(model.config.hidden_size)
        self.name = f"dinov3:{config.weights}"
        self.revision = revision
        self._own_patch = int(model.config.patch_size)
        self._extra_tokens = 1 + int(model.config.num_register_tokens)
        self.digest = digest_json([_weights_digest(folder), revision, config.precision])
        self._mean = torch.tensor(_IMAGENET_MEAN, device=device)[:, None, None]
        self._std = torch.tensor(_IMAGENET_STD, device=device)[:, None, None]
        logger.info("backbone %s, revision %s, width %d, patch %d", self.name, revision, self.width, self._own_patch)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n fh fw c"]:
        """Features of RGB images in [0, 1]: float32, not L2-normalised.

        Raises:
            ValueError: the image does not divide into patches.
        """
        check_images(images, self.patch_size)
        rows, columns = (side // self.patch_size for side in images.shape[-2:])
        batch = self.batch
        if images.device.type == "cpu":
            batch = min(batch, max(1, _CPU_PIXELS // (images.shape[-2] * images.shape[-1])))
        parts = [self._forward(part, rows, columns) for part in images.split(batch)] if len(images) else []
        return torch.cat(parts) if parts else images.new_zeros(0, rows, columns, self.width)

    def _forward(self, images: Float[Tensor, "n 3 h w"], rows: int, columns: int) -> Float[Tensor, "n fh fw c"]:
        if self._own_patch != self.patch_size:
            size = (rows * self._own_patch, columns * self._own_patch)
            images = functional.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(
                0, 1
            )
        normalised = ((images - self._mean) / self._std).to(self._dtype)
        tokens = self._model(pixel_values=normalised).last_hidden_state[:, self._extra_tokens :]
        return tokens.float().unflatten(1, (rows, columns))


def _locate(config: FeaturesConfig) -> tuple[Path, str]:
    """Folder of the weights and the name of their revision; a hub id is downloaded unless it is in the local cache."""
    weights = config.weights
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder, config.revision or "local"
    if folder.is_absolute() or weights.startswith((".", "~")) or weights.count("/") != 1:
        raise ValueError(
            f"features.weights = {weights!r}: no such folder; name a folder with config.json and model.safetensors of "
            "a DINOv3 ViT, a hub id such as facebook/dinov3-vitl16-pretrain-lvd1689m, or set "
            "features.backbone: descriptor"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(weights, revision=config.revision, allow_patterns=["*.json", "*.safetensors"])
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"features.weights = {weights!r} (revision {config.revision or 'default'}) is not a local folder and "
            f"cannot be downloaded from the hub ({type(error).__name__}: {str(error).strip().splitlines()[0]}); accept "
            "its licence and log in, or name a local folder, or set features.backbone: descriptor"
        ) from None
    # The hub's cache names the folder of a snapshot by its commit.
    return Path(snapshot), Path(snapshot).name


def _check_kind(folder: Path, weights: str) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"features.weights = {weights!r}: {folder} has no config.json; name a DINOv3 ViT folder")
    kind = read_json(folder / "config.json").get("model_type")
    if kind != _MODEL_TYPE:
        raise ValueError(
            f"features.weights = {weights!r}: model_type is {kind!r}, not {_MODEL_TYPE!r}; name a DINOv3 ViT"
        )
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


def _weights_digest(folder: Path) -> str:
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return digest_json([[path.name, digest_file(path)] for path in files])
