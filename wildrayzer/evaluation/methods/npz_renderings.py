"""Finished renderings of any origin in NPZ files, scored against the truth by region."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.evaluation.metrics.bootstrap import enters_mean
from wildrayzer.evaluation.metrics.image import masked_ssim
from wildrayzer.evaluation.metrics.lpips import NO_WEIGHTS, MaskedLPIPS
from wildrayzer.evaluation.metrics.view_synthesis import IMAGE_DEFINITIONS, image_metrics
from wildrayzer.images import UNKNOWN
from wildrayzer.images.ssim import WINDOW
from wildrayzer.io.arrays import read_npz

REGIONS = ("full", "static", "transient")
BATCH = 8
TOLERANCE = 1e-6


def regions_of(mask: Float[Tensor, "n 1 h w"]) -> dict[str, Float[Tensor, "n 1 h w"]]:
    """Regions to score, 1 = counted, of masks with 1 = transient and NaN = unknown, which only the full frame has."""
    known = ~mask.isnan()
    static, transient = torch.where(known, 1.0 - mask, 0.0), torch.where(known, mask, 0.0)
    return {"full": torch.ones_like(mask), "static": static, "transient": transient}


def score_renderings(
    truth: Float[Tensor, "n 3 h w"],
    prediction: Float[Tensor, "n 3 h w"],
    mask: Float[Tensor, "n 1 h w"],
    *,
    lpips: MaskedLPIPS | None = None,
) -> dict[str, Any]:
    """Scores as a JSON-like value: per image, mean and number of empty regions, with the definitions used.

    `mask` is 1 = transient, NaN = unknown. What `enters_mean` leaves out is counted as `empty_masks` and
    `equal_images`; a mean over nothing is NaN. The valid-window SSIM is left out for images smaller than its window.
    """
    names = [name for name in IMAGE_DEFINITIONS if lpips is not None or not name.startswith("lpips")]
    if min(truth.shape[-2:]) < WINDOW:
        names.remove("ssim_valid")
    per_image: dict[str, dict[str, list[float]]] = {region: {name: [] for name in names} for region in REGIONS}
    for start in range(0, len(truth), BATCH):
        part = slice(start, start + BATCH)
        regions = regions_of(mask[part])
        scores = image_metrics(prediction[part], truth[part], regions, lpips=lpips)
        for region, weight in regions.items():
            if "ssim_valid" in names:
                scores[region]["ssim_valid"] = masked_ssim(prediction[part], truth[part], weight, padding=False)
            for name in names:
                per_image[region][name] += scores[region][name].tolist()
    return {
        "images": len(truth),
        "definitions": {name: IMAGE_DEFINITIONS[name] for name in names},
        "lpips": "scored" if lpips else NO_WEIGHTS,
        "mean": {region: {name: _mean(v) for name, v in values.items()} for region, values in per_image.items()},
        "empty_masks": {region: int(np.isnan(values["psnr"]).sum()) for region, values in per_image.items()},
        "equal_images": {region: int(np.isinf(values["psnr"]).sum()) for region, values in per_image.items()},
        "per_image": per_image,
    }


def _mean(values: list[float]) -> float:
    array = np.array(values, float)
    known = array[enters_mean(array)]
    return float(known.mean()) if len(known) else float("nan")


def read_images(path: str | Path) -> Float[Tensor, "n 3 h w"]:
    """Array `images [n 3 h w]` of an NPZ file, floating point in [0, 1].

    Raises:
        ValueError: unreadable file, missing array, wrong type, shape or range, NaN; names the file and the fix.
    """
    array = _read_array(path, "images")
    if array.dtype.kind != "f":
        raise ValueError(f"{path}: images are {array.dtype}; store floating point values in [0, 1] (divide by 255)")
    if array.ndim != 4 or array.shape[1] != 3 or not array.size:
        raise ValueError(f"{path}: images have shape {array.shape}; expected [N, 3, H, W]")
    return torch.from_numpy(_in_range(array, path, "images"))


def read_mask(path: str | Path) -> Float[Tensor, "n 1 h w"]:
    """Array `mask [n 1 h w]` of an NPZ file: bool, integers or floating point in [0, 1], 1 = transient.

    Integers may also be coded as in our stores: 255 beside 1 is unknown, and NaN is returned for it.

    Raises:
        ValueError: as `read_images`.
    """
    array = _read_array(path, "mask")
    if array.dtype.kind not in "fbiu":
        raise ValueError(f"{path}: mask is {array.dtype}; store bool, integers or floating point, 1 = transient")
    if array.ndim != 4 or array.shape[1] != 1 or not array.size:
        raise ValueError(f"{path}: mask has shape {array.shape}; expected [N, 1, H, W]")
    if array.dtype.kind not in "iu":
        return torch.from_numpy(_in_range(array, path, "mask"))
    values = set(np.unique(array).tolist())
    if not values <= {0, 1, UNKNOWN} or (UNKNOWN in values and 1 not in values):
        some = sorted(values)[:5]
        raise ValueError(f"{path}: mask holds {some}; store 0 = static, 1 = transient, and 255 = unknown beside these")
    unknown = array == UNKNOWN
    return torch.from_numpy(np.where(unknown, np.float32("nan"), array.astype(np.float32)))


def check_sizes(truth: Float[Tensor, "..."], prediction: Float[Tensor, "..."], mask: Float[Tensor, "..."]) -> None:
    """Refuse renderings or masks whose number or size differs from the truth.

    Raises:
        ValueError: names the shapes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)}, truth {tuple(truth.shape)}; "
            "render the same frames at the same size, in the same order"
        )
    if mask.shape != (len(truth), 1, *truth.shape[-2:]):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, expected {(len(truth), 1, *truth.shape[-2:])} to fit the truth; "
            "give one mask per image, of the image's size"
        )


def _read_array(path: str | Path, name: str) -> np.ndarray:
    arrays = read_npz(path)
    if name not in arrays:
        raise ValueError(f"{path}: holds {sorted(arrays)} and no array {name!r}")
    return arrays[name]


def _in_range(array: np.ndarray, path: str | Path, name: str) -> np.ndarray:
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"{path}: {name} has {bad} values that are NaN or infinite; write finite values")
    low, high = float(values.min()), float(values.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise ValueError(f"{path}: {name} spans [{low:g}, {high:g}]; scale to [0, 1]")
    return values
