"""The licence of the weights that a run takes without having agreed to anything on the way."""

from pathlib import Path

from pydantic import BaseModel

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.io.validated import read_validated
from wildrayzer.models.torchvision_guard import ensure_torchvision

_TITLES = {
    "dinov3-license": "DINOv3 License (https://ai.meta.com/resources/models-and-libraries/dinov3-license/)",
    "apache-2.0": "Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0)",
}
"""Licences by the word that timm's registry and the hub have for them."""


def backbone_licence(features: FeaturesConfig, *, root: Path = Path()) -> str | None:
    """Name and text of the licence of timm's weights, which the hub gives to everybody; None for other backbones.

    The text is that of the file `LICENSE*` beside the weights. Where they are not there yet, it is named with its
    address.

    Args:
        features: the `features` section.
        root: working directory of the run.
    """
    if features.backbone != "timm":
        return None
    lines = [f"Licence of features.weights = {features.weights}: {_title(features, root)}"]
    file = _licence_file(features, root)
    if file is not None:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
        return "\n".join([*lines, f"Text, from {file}:", "", *(f"  {line}".rstrip() for line in text.splitlines())])
    if features.repository is not None:
        lines.append(f"Text: https://huggingface.co/{features.repository}, and LICENSE.md beside downloaded weights")
    return "\n".join([*lines, "Whoever uses the weights accepts it; there is no gate that would ask."])


class _Pretrained(BaseModel):
    license: str | None = None


class _TimmConfig(BaseModel):
    """What of a config.json of timm states the licence."""

    pretrained_cfg: _Pretrained | None = None


def _title(features: FeaturesConfig, root: Path) -> str:
    """The licence that a config.json of timm states, or that timm's registry has for the name."""
    if features.path is not None and (config := root / features.path / "config.json").is_file():
        stated = read_validated(config, _TimmConfig, fix="download the weights again").pretrained_cfg
        word = stated.license if stated else None
    else:
        ensure_torchvision()
        from timm.models import get_pretrained_cfg

        known = get_pretrained_cfg(Path(features.weights).name.removesuffix(".safetensors"))
        word = known.license if known else None
    return _TITLES.get(word or "", word or "not stated; see where the weights come from")


def _licence_file(features: FeaturesConfig, root: Path) -> Path | None:
    """`LICENSE*` beside local weights, or in the hub's cache."""
    if features.path is not None:
        place = root / features.path
        return next(iter(sorted((place if place.is_dir() else place.parent).glob("LICENSE*"))), None)
    from huggingface_hub import try_to_load_from_cache

    assert features.repository is not None
    found = try_to_load_from_cache(features.repository, "LICENSE.md", revision=features.revision)
    return Path(found) if isinstance(found, str) else None
