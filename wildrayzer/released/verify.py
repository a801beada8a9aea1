"""Comparing a released checkpoint, run by this code, with arrays that were recorded elsewhere."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.io.arrays import read_npz
from wildrayzer.models import ViewSynthesis, WildRayZer
from wildrayzer.released.convert import map_released
from wildrayzer.released.sizes import CameraAttention, Canonical

logger = logging.getLogger(__name__)

_CAMERA_ARRAYS = ("c2w", "fxfycxcy", "fov")
_GIVEN_CAMERA_ARRAYS = ("c2w_normalised",)
_MASK_ARRAYS = ("input_mask_logits", "target_mask_logits", "input_patch_mask")


@dataclass(frozen=True)
class Difference:
    """How far an array is from the expected one."""

    name: str
    largest: float
    """Largest absolute difference; NaN where exactly one side is NaN."""
    mean: float
    """Mean absolute difference."""

    def within(self, tolerance: float) -> bool:
        """Whether no value is further off than the tolerance."""
        return self.largest <= tolerance


def verify_released(
    path: str | Path,
    *,
    images: str | Path,
    expected: str | Path,
    inputs: int,
    canonical: Canonical = "first",
    mask_threshold: float | None = None,
    backbone: str | Path | None = None,
    cameras: str | Path | None = None,
    camera_attention: CameraAttention | None = None,
    image_size: int | None = None,
) -> list[Difference]:
    """Run a released checkpoint on given images and compare with expected arrays, in float32 on the CPU.

    Args:
        path: the release's file.
        images: NPZ with `images` [B, V, 3, H, W] in [0, 1], inputs first.
        expected: NPZ with any of `c2w` [B, V, 4, 4], `fxfycxcy` [B·V, 4], `fov` [B, 1] in radians, `c2w_normalised`
            [B, V, 4, 4] (LVSM, whose cameras are given), `render` [B, T, 3, H, W], `render_input`
            [B, K, 3, H, W], `input_mask_logits` [B·K, 1, H, W], `target_mask_logits` [B·T, 1, H, W] and
            `input_patch_mask` [B·K, 1, h, w] (1 = replaced by the noise token).
        inputs: how many of the views are inputs.
        canonical: view whose camera is the origin.
        mask_threshold: motion probability above which a token is replaced; null takes the released 0.1.
        backbone: local Hugging Face folder of the DINOv3 model; needed for everything but cameras where the
            checkpoint has a motion head with features.
        cameras: NPZ with `c2w` [B, V, 4, 4], camera-to-world in OpenCV axes, in any frame and scale, and `fxfycxcy`
            [B, V, 4] in pixels; for LVSM, which needs them.
        camera_attention: of Open-RayZer's camera encoder; see `infer_config`.
        image_size: side of the images in pixels, if it is to be checked; it is read off the images.

    Raises:
        ValueError: unreadable files, arrays of wrong name, type or shape, or a missing backbone or cameras.
    """
    if mask_threshold is not None and not 0 < mask_threshold < 1:
        raise ValueError(f"mask threshold {mask_threshold}: choose a probability between 0 and 1")
    views = _read_images(images)
    wanted = read_arrays(expected)
    if unknown := sorted(set(wanted) - set(_ARRAYS)):
        raise ValueError(f"{expected}: unknown arrays {', '.join(unknown)}; known are {', '.join(_ARRAYS)}")
    if not wanted:
        raise ValueError(f"{expected}: no arrays to compare with; known are {', '.join(_ARRAYS)}")
    if not 1 <= inputs < views.shape[1]:
        raise ValueError(f"inputs = {inputs}, but {images} holds {views.shape[1]} views; leave at least one target")

    if image_size is not None and image_size != views.shape[-1]:
        raise ValueError(f"--image-size {image_size}, but {images} holds images of {views.shape[-1]} pixels; drop it")

    mapped = map_released(
        path,
        image_size=views.shape[-1],
        canonical=canonical,
        mask_threshold=mask_threshold,
        camera_attention=camera_attention,
    )
    for line in mapped.warnings:
        logger.warning("%s: %s", path, line)
    given = _given_cameras(mapped.config.cameras == "given", path, cameras, views)
    if unfit := sorted(set(wanted) & set(_GIVEN_CAMERA_ARRAYS if given is None else _CAMERA_ARRAYS)):
        kind = "are given" if given is not None else "are predicted"
        raise ValueError(f"{expected}: holds {', '.join(unfit)}, but the cameras of {path} {kind}")
    with torch.device("meta"):
        model = WildRayZer(mapped.config)
    model.load_state_dict(mapped.tensors, assign=True)
    if model.motion_head is None and (absent := sorted(set(wanted) & set(_MASK_ARRAYS))):
        raise ValueError(f"{expected}: holds {', '.join(absent)}, but {path} has no motion head")
    # cameras do not depend on motion, and can be compared without a backbone
    motion = model.motion_head is not None and not set(wanted) <= set(_CAMERA_ARRAYS)
    features = _features(views, model, backbone) if motion else None
    with torch.no_grad():
        result = model(
            views, inputs, features=features, motion=motion, render_inputs="render_input" in wanted, cameras=given
        )
    return [_compare(name, _ARRAYS[name](result, inputs, model), value, expected) for name, value in wanted.items()]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, as numbers; pickled objects are refused.

    Raises:
        ValueError: no such file, no NPZ, or an array that holds no real numbers.
    """
    arrays = read_npz(path)
    for name, value in arrays.items():
        if value.dtype.kind not in "fiub":
            raise ValueError(f"{path}: {name} holds {value.dtype}, not real numbers")
    return arrays


def _read_images(path: str | Path) -> Float[Tensor, "b v 3 h w"]:
    arrays = read_arrays(path)
    if "images" not in arrays:
        raise ValueError(f"{path}: no array 'images'; it holds {', '.join(sorted(arrays)) or 'nothing'}")
    images = arrays["images"]
    shape = list(images.shape)
    if images.ndim != 5 or shape[2] != 3 or shape[3] != shape[4] or not images.size:
        raise ValueError(f"{path}: images has shape {shape}; expected [B, V, 3, H, W] with H = W")
    if images.dtype.kind != "f":
        raise ValueError(f"{path}: images holds {images.dtype}; expected floating point in [0, 1]")
    if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"{path}: images has values outside [0, 1]; divide 8-bit images by 255")
    return torch.from_numpy(images.astype(np.float32))


def _given_cameras(
    needed: bool, checkpoint: str | Path, path: str | Path | None, images: Float[Tensor, "b v 3 h w"]
) -> Cameras | None:
    """The cameras of an NPZ file, with intrinsics normalised by the image size; None where none are needed."""
    if path is None:
        if needed:
            raise ValueError(f"{checkpoint}: LVSM takes the cameras of all views; name an NPZ file with --cameras")
        return None
    if not needed:
        raise ValueError(f"{checkpoint} predicts its cameras; drop --cameras {path}")
    arrays, batch, size = read_arrays(path), images.shape[:2], images.shape[-1]
    for name, shape in {"c2w": (*batch, 4, 4), "fxfycxcy": (*batch, 4)}.items():
        if name not in arrays:
            raise ValueError(f"{path}: no array {name!r}; it holds {', '.join(sorted(arrays)) or 'nothing'}")
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {list(arrays[name].shape)}, expected {list(shape)}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name} has values that are not finite")
    c2w, intrinsics = (torch.from_numpy(arrays[name].astype(np.float32)) for name in ("c2w", "fxfycxcy"))
    rotation = c2w[..., :3, :3]
    if not torch.allclose(rotation @ rotation.transpose(-1, -2), torch.eye(3).expand_as(rotation), atol=1e-3):
        raise ValueError(f"{path}: c2w holds matrices that are no rigid motion; give camera-to-world, unscaled")
    if not (intrinsics[..., :2] > 0).all():
        raise ValueError(f"{path}: fxfycxcy has a focal length that is not positive; give pixels")
    return Cameras(c2w=c2w, intrinsics=intrinsics / size)


def _features(
    images: Float[Tensor, "b v 3 h w"], model: WildRayZer, backbone: str | Path | None
) -> Float[Tensor, "b v fh fw c"] | None:
    options = model.config.motion_head
    if options is None or not options.use_features:
        return None
    if backbone is None:
        raise ValueError(
            "the checkpoint's motion head needs DINOv3 features; name a local Hugging Face folder with --backbone, or "
            "expect cameras alone"
        )
    from wildrayzer.pseudo_masks.backbones.build import build_backbone

    if not Path(backbone).is_dir():
        raise ValueError(f"{backbone}: no such folder; --backbone takes a local Hugging Face folder")
    section = FeaturesConfig(weights=str(backbone), precision="float32")
    extract = build_backbone(section, patch_size=model.config.patch_size, device="cpu")
    return extract(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def _intrinsics(result: ViewSynthesis, inputs: int, model: WildRayZer) -> Tensor:
    return result.cameras.intrinsics.flatten(0, 1)


def _logits(part: Callable[[int], slice]) -> Callable[[ViewSynthesis, int, WildRayZer], Tensor]:
    def pick(result: ViewSynthesis, inputs: int, model: WildRayZer) -> Tensor:
        assert result.motion_logits is not None
        return result.motion_logits[:, part(inputs)].flatten(0, 1)

    return pick


def _patch_mask(result: ViewSynthesis, inputs: int, model: WildRayZer) -> Tensor:
    assert result.token_mask is not None
    grid = model.config.grid
    return result.token_mask.flatten(0, 1).unflatten(-1, (1, grid, grid)).float()


def _inputs_again(result: ViewSynthesis, inputs: int, model: WildRayZer) -> Tensor:
    assert result.render_inputs is not None
    return result.render_inputs


_ARRAYS: Mapping[str, Callable[[ViewSynthesis, int, WildRayZer], Tensor]] = {
    "c2w": lambda result, inputs, model: result.cameras.c2w,
    "fxfycxcy": _intrinsics,
    "render": lambda result, inputs, model: result.render,
    "render_input": _inputs_again,
    "input_mask_logits": _logits(lambda inputs: slice(None, inputs)),
    "target_mask_logits": _logits(lambda inputs: slice(inputs, None)),
    "input_patch_mask": _patch_mask,
    "c2w_normalised": lambda result, inputs, model: result.cameras.c2w,
    "fov": lambda result, inputs, model: result.cameras.field_of_view()[:, :1],
}


def _compare(name: str, found: Tensor, expected: np.ndarray, path: str | Path) -> Difference:
    if tuple(found.shape) != expected.shape:
        raise ValueError(f"{path}: {name} has shape {list(expected.shape)}, expected {list(found.shape)}")
    mine, theirs = found.double().numpy(), expected.astype(np.float64)
    difference = np.abs(mine - theirs)
    difference[(mine == theirs) | (np.isnan(mine) & np.isnan(theirs))] = 0
    return Difference(name=name, largest=float(difference.max()), mean=float(difference.mean()))
