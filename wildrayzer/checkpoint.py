"""Checkpoints: a folder with the weights (`model.safetensors`) and what they are (`manifest.json`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wildrayzer.config.base import Record
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.io.files import read_json, replacing, write_json
from wildrayzer.io.provenance import code_versions
from wildrayzer.io.validated import validated
from wildrayzer.models import WildRayZer

FORMAT_VERSION = 1
WEIGHTS_NAME = "model.safetensors"
MANIFEST_NAME = "manifest.json"
_FIX = "write the checkpoint again"


class CheckpointManifest(Record):
    """What a checkpoint's weights are and where they come from."""

    format_version: int = FORMAT_VERSION
    """Layout of the folder."""
    stage: str
    """Training stage that wrote it, or `released`."""
    step: int
    """Optimiser steps of that stage."""
    inputs: tuple[int, ...]
    """Numbers of input views it is meant for."""
    targets: int | None
    """Target views of a training sample; null in imports of earlier versions, where it is not known."""
    model: ModelConfig
    """The network."""
    attention_kernel: str
    """Attention kernel that the weights were trained with, or would run with where nothing was trained."""
    config_digest: str
    """Digest of the configuration that made them."""
    parent: str | None = None
    """Weights digest of the checkpoint that training started from."""
    weights_digest: str
    """Digest of model.safetensors."""
    source: dict[str, Any] = Field(default_factory=dict)
    """Where imported weights come from."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Anything else the writer had to say."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of code and interpreter."""

    @property
    def only_embedded(self) -> bool:
        """Whether its stage was trained on nothing but clips of the embedded data set, as far as the manifest says."""
        data = self.extra.get("data") or []
        return bool(data) and all(one.get("layout") == "embedded" for one in data)


def save_checkpoint(
    directory: str | Path,
    model: WildRayZer,
    *,
    stage: str,
    step: int,
    inputs: int | Sequence[int],
    targets: int | None,
    config_digest: str,
    parent: str | None = None,
    extra: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model's weights and manifest; each file is written beside its place and renamed into it.

    Args:
        directory: made when missing; files of an earlier checkpoint in it are replaced.
        model: its state dict is written as it is, from whatever device.
        stage: name of the training stage.
        step: optimiser steps done.
        inputs: number, or numbers, of input views the model was trained on.
        targets: target views of a training sample.
        config_digest: digest of the configuration sections that made the weights.
        parent: `weights_digest` of the checkpoint that training started from.
        extra: JSON-like values for the manifest's `extra`.
        dtype: what attention was trained in, under autocast; None takes that of the weights.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    write_checkpoint(
        directory,
        tensors,
        stage=stage,
        step=step,
        inputs=(inputs,) if isinstance(inputs, int) else tuple(inputs),
        targets=targets,
        model=model.config,
        attention_kernel=model.attention_kernel_in(dtype),
        config_digest=config_digest,
        parent=parent,
        extra=dict(extra or {}),
    )


def write_checkpoint(directory: str | Path, tensors: dict[str, Tensor], **manifest: Any) -> None:
    """Write named tensors and the fields of their manifest; digest and versions are filled in.

    Tensors are streamed to the file and not copied, so that memory-mapped ones stay on disk.
    """
    directory = Path(directory)
    with replacing(directory / WEIGHTS_NAME) as temporary:
        save_file(tensors, temporary)
        written = CheckpointManifest(
            weights_digest=digest_file(temporary), versions=dict(code_versions()), **manifest
        ).model_dump(mode="json")
    # a kill between the two renames leaves a manifest whose digest does not fit: readers refuse it
    write_json(directory / MANIFEST_NAME, written, checksum=True)


def read_manifest(directory: str | Path) -> CheckpointManifest:
    """What a checkpoint is, without reading its weights.

    Raises:
        ValueError: no checkpoint there, another format version, or a damaged manifest.
    """
    path = Path(directory) / MANIFEST_NAME
    if not path.is_file():
        raise ValueError(f"{directory}: no checkpoint here, {MANIFEST_NAME} is missing; name a checkpoint folder")
    raw = read_json(path, fix=_FIX)
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(f"{path}: format version {version!r}, this version reads {FORMAT_VERSION}; {_FIX}")
    return validated(raw, CheckpointManifest, source=path, fix=_FIX)


def check_weights(directory: str | Path) -> Path:
    """The weights file of a checkpoint, after its digest has been compared with the manifest's.

    Raises:
        ValueError: as `read_manifest`, or missing, damaged or exchanged weights.
    """
    manifest = read_manifest(directory)
    path = Path(directory) / WEIGHTS_NAME
    if not path.is_file():
        raise ValueError(f"{directory}: {WEIGHTS_NAME} is missing beside its manifest; write the checkpoint again")
    found = digest_file(path)
    if found != manifest.weights_digest:
        raise ValueError(
            f"{path}: digest {found}, but the manifest says {manifest.weights_digest}; the weights are damaged or "
            "belong to another checkpoint, write it again"
        )
    return path


def load_tensors(directory: str | Path, *, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """A checkpoint's weights by name, after their digest has been compared with the manifest's.

    Raises:
        ValueError: as `read_manifest`, or missing, damaged or exchanged weights.
    """
    path = check_weights(directory)
    try:
        return dict(load_file(path, device=str(device)))
    except SafetensorError as error:
        raise ValueError(f"{path}: not readable as safetensors: {error}") from None


def load_checkpoint(
    directory: str | Path, *, device: str | torch.device = "cpu"
) -> tuple[WildRayZer, CheckpointManifest]:
    """The model of a checkpoint on `device`, and its manifest. Draws nothing from the random state.

    Raises:
        ValueError: as `load_tensors`, or weights that do not fit the manifest's model.
    """
    manifest = read_manifest(directory)
    tensors = load_tensors(directory, device=device)
    _check_size(directory, manifest.model, tensors)
    with torch.random.fork_rng(devices=()), _Undrawn():
        model = WildRayZer(manifest.model)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{directory}: the weights do not fit the manifest's model: {error}") from None
    return model.to(device), manifest


def _check_size(directory: str | Path, model: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a manifest whose network is larger than the weights by far, before memory is taken for it."""
    held = sum(value.numel() for value in tensors.values())
    blocks = model.camera_blocks + model.scene_blocks + model.decoder_blocks
    least = model.width * (model.width * max(blocks, 1) + model.scene_tokens)  # a block maps to a width more than once
    if least > held:
        raise ValueError(
            f"{directory}: the weights do not fit the manifest's model: they hold {held} numbers, a network of width "
            f"{model.width} with {blocks} blocks has more than {least}"
        )


class _Undrawn(TorchFunctionMode):
    """Leaves initial weights undrawn. The meta device would too, but doing so imports torch's compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def model_digest(config: ModelConfig) -> str:
    """Digest of the network's section, for checkpoints that no run configuration made."""
    return digest_json(config.model_dump(mode="json"))
