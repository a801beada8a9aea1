"""Released checkpoints to ours and back."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wildrayzer.checkpoint import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    load_tensors,
    model_digest,
    read_manifest,
    write_checkpoint,
)
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.io.digests import digest_file
from wildrayzer.io.files import replacing
from wildrayzer.io.outputs import check_outputs
from wildrayzer.models import WildRayZer
from wildrayzer.models.attention import resolve_kernel
from wildrayzer.released.keys import CONSTANTS
from wildrayzer.released.naming import config_faults, join_weights, names_of, split_weights
from wildrayzer.released.reader import digest_released, read_released
from wildrayzer.released.sizes import CameraAttention, Canonical, infer_config, release_of

logger = logging.getLogger(__name__)

_PER_VIEW_WARNING = (
    "camera attention per_view: every camera is estimated from its own view only, as Open-RayZer computes without "
    "alternation; train with model.camera_attention: alternating or joint"
)


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
    warnings: tuple[str, ...] = ()
    """What a user of the network should know."""


def map_released(
    path: str | Path,
    *,
    image_size: int,
    canonical: Canonical = "first",
    mask_threshold: float | None = None,
    camera_attention: CameraAttention | None = None,
) -> MappedCheckpoint:
    """Read a released checkpoint, infer its kind and configuration and give its weights our names.

    Arguments as in `infer_config`.

    Raises:
        ValueError: an unreadable file, unknown or missing weights, or wrong shapes; the message names them.
    """
    released = read_released(path)
    try:
        config = infer_config(
            released.tensors,
            image_size=image_size,
            canonical=canonical,
            mask_threshold=mask_threshold,
            camera_attention=camera_attention,
        )
        tensors = _renamed(released.tensors, config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    assumed = [f"image size {image_size}"]
    release = release_of(released.tensors)
    if release == "wildrayzer":
        assumed.append(f"canonical view {canonical}")
    if release == "open_rayzer":
        assumed.append(f"camera attention {config.camera_attention}")
        if config.patch_positions == "rope2d":
            assumed.append(f"rope base {config.rope_base:g}")
    if config.motion_head is not None:
        assumed.append(f"mask threshold {config.motion_head.threshold}")
    if converted := sorted({str(value.dtype) for value in released.tensors.values()} - {"torch.float32"}):
        assumed.append(f"weights in {', '.join(converted)} converted to torch.float32")
    return MappedCheckpoint(
        config=config,
        tensors=tensors,
        ignored=released.ignored,
        assumed=tuple(assumed),
        warnings=(_PER_VIEW_WARNING,) if config.camera_attention == "per_view" else (),
    )


def import_released(
    path: str | Path,
    out: str | Path,
    *,
    inputs: int = 2,
    targets: int = 6,
    image_size: int = 256,
    canonical: Canonical = "first",
    camera_attention: CameraAttention | None = None,
    overwrite: bool = False,
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
        camera_attention: of Open-RayZer's camera encoder, which the weights do not tell; see `infer_config`.
        overwrite: replace whatever `out` holds; otherwise only an import of the same file with the same options.

    Raises:
        ValueError: as `map_released`, an impossible number of views, or `out` holds something else.
    """
    if inputs < 1 or targets < 1:
        raise ValueError(f"inputs = {inputs}, targets = {targets}: a checkpoint has at least one view of each")
    mapped = map_released(path, image_size=image_size, canonical=canonical, camera_attention=camera_attention)
    digest = digest_released(path)
    written = _imported(out)
    same = written == (digest, mapped.config, (inputs,), targets)
    check_outputs([Path(out, MANIFEST_NAME), Path(out, WEIGHTS_NAME)], same=same, overwrite=overwrite)
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
            "digest": digest,
            "ignored": list(mapped.ignored),
            "assumed": [*mapped.assumed, f"{inputs} input views", f"{targets} target views"],
        },
    )
    return mapped


def _imported(out: str | Path) -> tuple[str, ModelConfig, tuple[int, ...], int | None] | None:
    """Digest of the file, network and numbers of views of an import that lies in a folder; None if there is none."""
    try:
        manifest = read_manifest(out)
    except ValueError:
        return None
    if manifest.stage != "released" or "digest" not in manifest.source:
        return None
    return manifest.source["digest"], manifest.model, manifest.inputs, manifest.targets


def export_released(directory: str | Path, out: str | Path, *, overwrite: bool = False) -> int:
    """Write one of our checkpoints as the loader of its release takes it, `{"model": state dict}`.

    Args:
        directory: the checkpoint.
        out: file to write.
        overwrite: replace whatever `out` is; otherwise only a file of the same content.

    Returns:
        The number of tensors.

    Raises:
        ValueError: no readable checkpoint, a network that the release cannot express, or `out` is something else.
    """
    config = read_manifest(directory).model
    if faults := config_faults(config):
        raise ValueError(f"{directory}: the release has no counterpart of {', '.join(faults)}; it cannot be exported")
    state = join_weights(load_tensors(directory), names_of(config))
    if config.motion_head is not None:
        state |= {name: torch.tensor(values).view(1, 3, 1, 1) for name, values in CONSTANTS.items()}
    # A file that is opened here: torch would write the temporary name into it.
    with replacing(out) as temporary, temporary.open("wb") as stream:
        torch.save({"model": state}, stream)
        stream.flush()
        same = Path(out).is_file() and digest_file(out) == digest_file(temporary)
        check_outputs([Path(out)], same=same, overwrite=overwrite)
    return len(state)


def _renamed(released: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Weights under our names, after names and shapes have been compared with what the network has."""
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in WildRayZer(config).state_dict().items()}
    names = names_of(config)
    shapes: dict[str, tuple[int, ...]] = {}
    for ours, shape in expected.items():
        theirs = names.released(ours)
        # the two maps of pixel fusion are one there, and lie side by side
        shapes[theirs] = shape if theirs not in shapes else (shape[0], shape[1] + shapes[theirs][1])
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
    return _separate(split_weights(released, list(expected), names))


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
