"""DINOv3 and DINOv2 ViT patch features through timm.

timm publishes the weights on the hub under the licences of their authors, and without a gate.
"""

import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.io.digests import digest_json
from wildrayzer.io.validated import read_validated
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.pseudo_masks.backbones.vit import ViTBackbone, dtype_of
from wildrayzer.pseudo_masks.backbones.weights import files_digest, locate

_WANTED = (
    "a name of timm such as vit_small_patch16_dinov3.lvd1689m or vit_base_patch14_reg4_dinov2.lvd142m, a folder with "
    "config.json and model.safetensors of such a repository, a safetensors file with such a name"
)
_ARCHITECTURE = re.compile(r"vit_\w+_dinov[23]\w*")
_WEIGHTS = "model.safetensors"


class TimmViT(ViTBackbone):
    """A DINOv3 or DINOv2 ViT of timm.

    The learned positions of DINOv2 are resampled (bicubic, antialiased) to the grid of the images.
    """

    def __init__(self, config: FeaturesConfig, *, patch_size: int, device: str | torch.device) -> None:
        """Load the weights.

        Raises:
            ValueError: `features.weights` names nothing that is there, an unreachable repository, another architecture,
                or weights that do not fit it.
        """
        path, revision = locate(config, wanted=_WANTED)
        file, about = _file_and_architecture(path, config.weights)
        model = _load(file, about, dtype_of(config), config.weights)
        expected: Any = model
        super().__init__(
            model,
            config,
            patch_size=patch_size,
            device=device,
            own_patch=int(expected.patch_embed.patch_size[0]),
            width=int(expected.embed_dim),
            revision=revision,
            digest=digest_json(["timm", about, files_digest([file]), revision, config.precision]),
            mean=expected.pretrained_cfg["mean"],
            std=expected.pretrained_cfg["std"],
        )
        self._extra_tokens = int(expected.num_prefix_tokens)

    def _patch_tokens(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t c"]:
        tokens: Tensor = self._model.forward_features(images)  # type: ignore[operator]
        return tokens[:, self._extra_tokens :]


def _file_and_architecture(path: Path, weights: str) -> tuple[Path, dict[str, Any]]:
    """The safetensors file, and what to build: `architecture` and its `model_args`, as in a config.json of timm."""
    if path.is_file():
        about: dict[str, Any] = {"architecture": path.name.split(".")[0]}
    elif not (path / "config.json").is_file():
        raise ValueError(f"features.weights = {weights!r}: {path} has no config.json; name {_WANTED}")
    else:
        stored = read_validated(path / "config.json", dict, fix="download the weights again")
        about = {"architecture": stored.get("architecture"), "model_args": stored.get("model_args") or {}}
        path = path / _WEIGHTS
    architecture = about["architecture"]
    if not (isinstance(architecture, str) and _ARCHITECTURE.fullmatch(architecture)):
        raise ValueError(
            f"features.weights = {weights!r}: its architecture is {architecture!r}, which is no DINOv3 or DINOv2 ViT "
            f"of timm; name {_WANTED}"
        )
    if not path.is_file():
        pickles = sorted(file.name for file in path.parent.glob("*.bin"))
        found = f"only {', '.join(pickles)}, pickles that are not opened" if pickles else "the download is incomplete"
        raise ValueError(f"features.weights = {weights!r}: {path} is missing ({found}); take {_WEIGHTS} of the hub")
    return path, about


def _load(file: Path, about: dict[str, Any], dtype: torch.dtype, weights: str) -> nn.Module:
    """The model with the weights of a file; refuses those that do not fit."""
    ensure_torchvision()
    import timm

    # Images have sizes of their own, and there is no classifier.
    options = {**about.get("model_args", {}), "num_classes": 0, "dynamic_img_size": True}
    try:
        with torch.device("meta"):  # no random numbers for weights that are replaced
            model: nn.Module = timm.create_model(about["architecture"], pretrained=False, **options)
        model.to_empty(device="cpu")
        for module in model.modules():  # what is in no file, such as the frequencies of rotary positions
            initialise = getattr(module, "init_non_persistent_buffers", None)
            if initialise is not None:
                initialise()
        with safe_open(file, "pt") as stored:
            model.load_state_dict({key: stored.get_tensor(key).to(dtype) for key in stored.keys()}, assign=True)  # noqa: SIM118
    except (RuntimeError, TypeError, SafetensorError) as error:
        lack = " ".join(str(error).split("\n\t")[:2])  # torch lists every weight that does not fit
        raise ValueError(
            f"features.weights = {weights!r}: {file} does not hold the weights of timm's {about['architecture']} "
            f"({lack}); download it again, or update timm"
        ) from None
    return model.to(dtype)  # and the buffers; timm keeps the frequencies in float32
