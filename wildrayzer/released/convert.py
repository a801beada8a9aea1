"""Released checkpoints to ours and back."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wildrayzer.checkpoint import load_tensors, model_digest, read_manifest, write_checkpoint
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.io.digests import digest_file
from wildrayzer.io.files import replacing
from wildrayzer.models import WildRayZer
from wildrayzer.models.attention import resolve_kernel
from wildrayzer.released.keys import CONSTANTS, released_name
from wildrayzer.released.reader import read_released
from wildrayzer.released.sizes import Canonical, infer_config

logger = logging.getLogger(__name__)

_RELEASED_MOTION_HEADS = 12


@dataclass(frozen=True)
class MappedCheckpoint:
    """A released checkpoint under our names."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    """By our names; memory-mapped where the file already holds float32."""
    ignored: tuple[str, ...]
    """What the file holds beside the weights."""
    assumed: tuple[str, ...]
    """What the weights do not tell."""


def map_released(
    path: str | Path,
    *,
    image_size: int,
    canonical: Canonical = "first",
    mask_threshold: float | None = None,
) -> MappedCheckpoint:
    """Read a released checkpoint, infer its configuration and give its weights our names.

    Raises:
        ValueError: an unreadable file, unknown or missing weights, or wrong shapes; the message names them.
    """
    released = read_released(path)
    try:
        config = infer_config(
            released.tensors, image_size=image_size, canonical=canonical, mask_threshold=mask_threshold
        )
        tensors = _renamed(released.tensors, config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    assumed = [f"image size {image_size}", f"canonical view {canonical}"]
    if config.motion_head is not None:
        assumed.append(f"mask threshold {config.motion_head.threshold}")
    if converted := sorted({str(value.dtype) for value in released.tensors.values()} - {"torch.float32"}):
        assumed.append(f"weights in {', '.join(converted)} converted to torch.float32")
    return MappedCheckpoint(config=config, tensors=tensors, ignored=released.ignored, assumed=tuple(assumed))


def import_released(
    path: str | Path,
    out: str | Path,
    *,
    inputs: int = 2,
    targets: int = 6,
    image_size: int = 256,
    canonical: Canonical = "first",
) -> MappedCheckpoint:
    """Write a released checkpoint as one of ours. On an error nothing is written.

    Args:
        path: the release's file.
        out: checkpoint folder to write.
        inputs: number of input views the checkpoint was trained for, for the manifest.
        targets: number of target views of its training samples, for the manifest: all views enter the camera encoder
            by number, so that rendering keeps to as many.
        image_size: side of the square images in pixels, which the weights do not tell.
        canonical: view whose camera is the origin, which the weights do not tell.

    Raises:
        ValueError: as `map_released`, or an impossible number of views.
    """
    if inputs < 1 or targets < 1:
        raise ValueError(f"inputs = {inputs}, targets = {targets}: a checkpoint has at least one view of each")
    mapped = map_released(path, image_size=image_size, canonical=canonical)
    kernel = resolve_kernel(mapped.config.attention, torch.device("cpu"), torch.float32, mapped.config.head_width)
    write_checkpoint(
        out,
        mapped.tensors,
        stage="released",
        step=0,
        inputs=(inputs,),
        targets=targets,
        model=mapped.config,
        attention_kernel=kernel,
        config_digest=model_digest(mapped.config),
        source={
            "file": Path(path).name,
            "digest": digest_file(path),
            "ignored": list(mapped.ignored),
            "assumed": [*mapped.assumed, f"{inputs} input views", f"{targets} target views"],
        },
    )
    return mapped


def export_released(directory: str | Path, out: str | Path) -> int:
    """Write one of our checkpoints as the release's loader takes it, `{"model": state dict}`; returns the tensor count.

    Raises:
        ValueError: no readable checkpoint, or a network that the release cannot express.
    """
    config = read_manifest(directory).model
    if faults := _inexpressible(config):
        raise ValueError(f"{directory}: the release has no counterpart of {', '.join(faults)}; it cannot be exported")
    state = {released_name(name): value for name, value in load_tensors(directory).items()}
    if config.motion_head is not None:
        state |= {name: torch.tensor(values).view(1, 3, 1, 1) for name, values in CONSTANTS.items()}
    # A file that is opened here: torch would write the temporary name into it.
    with replacing(out) as temporary, temporary.open("wb") as stream:
        torch.save({"model": state}, stream)
    return len(state)


def _renamed(released: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Weights under our names, after names and shapes have been compared with what the network has."""
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in WildRayZer(config).state_dict().items()}
    names = {released_name(name): name for name in expected}
    shapes = {theirs: expected[ours] for theirs, ours in names.items()}
    if config.motion_head is not None:
        shapes |= dict.fromkeys(CONSTANTS, (1, 3, 1, 1))
    faults = [f"missing weight {name}" for name in shapes if name not in released]
    faults += [f"unknown weight {name}" for name in released if name not in shapes]
    faults += [
        f"{name}: shape {list(released[name].shape)}, expected {list(shape)}"
        for name, shape in shapes.items()
        if name in released and tuple(released[name].shape) != shape
    ]
    if faults:
        shown = faults[:20] + ([f"and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise ValueError("the weights do not fit the network:\n  " + "\n  ".join(shown))
    if config.motion_head is not None:
        _check_constants(released)
    return _separate({ours: released[theirs].detach().float() for theirs, ours in names.items()})


def _check_constants(released: Mapping[str, Tensor]) -> None:
    for name, values in CONSTANTS.items():
        found = released[name].float().flatten()
        if not torch.allclose(found, torch.tensor(values), atol=1e-6):
            raise ValueError(
                f"{name} = {[round(value, 6) for value in found.tolist()]}, expected ImageNet's {list(values)}; "
                "features of a backbone that is normalised otherwise cannot be reproduced"
            )


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Dense tensors that share no memory, as safetensors wants them; nothing is copied where that is so already."""
    seen: set[int] = set()
    for name, value in tensors.items():
        storage = value.untyped_storage()
        if storage.nbytes() != value.nbytes or storage.data_ptr() in seen or not value.is_contiguous():
            tensors[name] = value.clone(memory_format=torch.contiguous_format)
        seen.add(storage.data_ptr())
    return tensors


def _inexpressible(config: ModelConfig) -> list[str]:
    faults = list(config.deviations)
    if config.view_type_embedding:
        faults.append("model.view_type_embedding: True")
    if config.motion_head is not None:
        heads = config.width / (config.motion_head.head_width or config.head_width)
        if heads != _RELEASED_MOTION_HEADS:
            faults.append(f"a motion head with {heads:g} attention heads (it has {_RELEASED_MOTION_HEADS})")
        if config.patch_size != 16:
            faults.append(f"a motion head with model.patch_size: {config.patch_size} (it has 16)")
    return faults
