"""Statistics of every frame and window of a cache: PSNR, coverage, disagreement, and IoU with true masks."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from wildrayzer.evaluation.metrics.masks import BATCH, score_frames, true_masks
from wildrayzer.images import UNKNOWN
from wildrayzer.pseudo_masks.cache.statistics import enlarge, map_disagreement, refinement_disagreement
from wildrayzer.tools.inspect.files import CacheFiles

Values = Float[np.ndarray, " f"]

SORTINGS = {
    "window": "order of the list",
    "psnr": "lowest PSNR first",
    "coverage": "highest coverage first",
    "maps": "maps disagree most",
    "masks": "masks disagree most",
    "iou": "lowest IoU with the truth first",
}
"""Orders of windows, by the mean over each window's targets."""
LOWEST_FIRST = ("window", "psnr", "iou")
"""Orders in which low values come first."""


@dataclass(frozen=True)
class FrameStatistics:
    """One value per computed frame, in the order of the store; NaN if it is unknown."""

    frame: Int[np.ndarray, " f"]
    """Global frame numbers."""
    window: Int[np.ndarray, " f"]
    """Number of the frame's window."""
    psnr: Values
    """PSNR of the prediction in dB."""
    patch: Values
    """Share of the frame that the patch mask marks."""
    pixel: Values
    """Share of the frame that the refined mask marks."""
    maps: Values
    """Disagreement of the maps: 1 − their correlation over the patches; 0 = equal, 1 = unrelated, 2 = opposite."""
    masks: Values
    """Disagreement of the masks: 1 − IoU of patch mask and refined mask; 0 if both are empty."""
    iou: Values
    """IoU of the final mask with the true mask; NaN if the true mask is empty."""
    true: Values
    """Share of the known pixels that the true mask marks."""
    finite: np.ndarray
    """Whether both maps and the PSNR are finite everywhere."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def coverage(self) -> Values:
        """Share that the final mask marks: the refined mask, or the patch mask if none is refined yet."""
        return self.patch if np.isnan(self.pixel).all() else self.pixel

    def of_key(self, key: str) -> Values:
        """Values that an order of `SORTINGS` goes by."""
        return self.window.astype(float) if key == "window" else np.asarray(getattr(self, key))


@dataclass(frozen=True)
class WindowRows:
    """A window and its rows in the statistics."""

    number: int
    rows: Int[np.ndarray, " t"]


def measure(files: CacheFiles) -> FrameStatistics:
    """Statistics of every computed frame.

    Parts store them, so no maps and masks are read, but for the comparison with true masks, and for caches of earlier
    versions. Those are read a few hundred frames at a time.

    Raises:
        ValueError: no frame of the cache is computed.
    """
    frames = np.flatnonzero(files.maps.window >= 0)
    if not len(frames):
        raise ValueError(f"{files.maps.path} has no computed frame; run the stage residuals on longer clips")
    columns = dict.fromkeys(("patch", "pixel", "masks", "iou", "true"), np.full(len(frames), np.nan))
    columns["psnr"] = files.maps.psnr[frames].astype(float)
    columns |= _stored(files, frames) or _in_batches(_measured, files, frames)
    if files.store and (files.store.has_masks or files.store.attributes.get("role") == "static"):
        columns |= _in_batches(_compared, files, frames)
    finite = np.isfinite(columns["psnr"]) & np.isfinite(columns["maps"])
    return FrameStatistics(frame=frames, window=files.maps.window[frames], finite=finite, **columns)


def _stored(files: CacheFiles, frames: Int[np.ndarray, " f"]) -> dict[str, np.ndarray]:
    """Statistics that the parts store; empty where a group is of an earlier version, which stored none."""
    groups = (files.maps, files.patches, files.pixels)
    if not all(group.has_statistics for group in groups if group):
        return {}
    found = {"maps": files.maps.all("disagreement")}
    if files.patches:
        found["patch"] = files.patches.all("coverage")
    if files.pixels:
        found |= {"pixel": files.pixels.all("coverage"), "masks": files.pixels.all("disagreement")}
    return {name: values[frames].astype(float) for name, values in found.items()}


def _in_batches(
    measure_frames: Callable[[CacheFiles, slice, np.ndarray], dict[str, np.ndarray]],
    files: CacheFiles,
    frames: Int[np.ndarray, " f"],
) -> dict[str, np.ndarray]:
    """Columns of a function of a range of frames, and which of them are wanted."""
    batches = []
    for start in range(0, files.maps.num_frames, BATCH):
        inside = frames[(frames >= start) & (frames < start + BATCH)]
        if len(inside):
            where = slice(start, min(start + BATCH, files.maps.num_frames))
            batches.append(measure_frames(files, where, inside - start))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _measured(files: CacheFiles, where: slice, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What parts store as statistics, from maps and masks."""
    d_dino, d_ssim = (files.maps.span(name, where.start, where.stop)[rows] for name in ("d_dino", "d_ssim"))
    values = {"maps": map_disagreement(d_dino, d_ssim)}
    if files.patches:
        patch = files.patches.span("mask", where.start, where.stop)[rows]
        values["patch"] = (patch == 1).mean((1, 2))
        if files.pixels:
            pixel = files.pixels.span("mask", where.start, where.stop)[rows]
            values["pixel"] = (pixel == 1).mean((1, 2))
            values["masks"] = refinement_disagreement(patch, pixel)
    return values


def _compared(files: CacheFiles, where: slice, rows: np.ndarray) -> dict[str, np.ndarray]:
    """True masks, and the final masks compared with them."""
    assert files.store is not None
    truth = true_masks(files.store, where.start + rows)
    known = (truth != UNKNOWN).sum((1, 2))
    values = {"true": np.where(known > 0, (truth == 1).sum((1, 2)) / np.maximum(known, 1), np.nan)}
    final = files.pixels or files.patches
    if final is not None:
        masks = final.span("mask", where.start, where.stop)[rows]
        values["iou"] = score_frames(enlarge(masks, truth.shape[-1]), truth)["iou"]
    return values


def windows_of(statistics: FrameStatistics) -> list[WindowRows]:
    """Windows in the order of their numbers, each with its rows in the order of the frames."""
    order = np.argsort(statistics.window, kind="stable")
    numbers, starts = np.unique(statistics.window[order], return_index=True)
    return [WindowRows(int(number), rows) for number, rows in zip(numbers, np.split(order, starts[1:]), strict=True)]


def mean(values: np.ndarray) -> float:
    """Mean of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def window_mean(values: np.ndarray, window: WindowRows) -> float:
    """Mean over a window's targets, rounded so that page and command find the same ties."""
    return round(mean(values[window.rows]), 6)


def ordered(statistics: FrameStatistics, windows: list[WindowRows], by: str) -> list[WindowRows]:
    """Windows in an order of `SORTINGS`; windows without a value come last, equal ones by number."""
    values = statistics.of_key(by)
    sign = 1 if by in LOWEST_FIRST else -1

    def rank(window: WindowRows) -> tuple[bool, float, int]:
        value = window_mean(values, window)
        unknown = math.isnan(value)
        return unknown, 0.0 if unknown else sign * value, window.number

    return sorted(windows, key=rank)


def choose(
    files: CacheFiles,
    statistics: FrameStatistics,
    *,
    scenes: list[str],
    worst: int | None,
    by: str,
    most: int,
) -> list[WindowRows]:
    """The windows that a gallery shows, by number.

    Args:
        files: the cache.
        statistics: of all of its frames.
        scenes: names, or parts of names, of the clips to show; none means all.
        worst: number of windows to show, the first in the order of `by`.
        by: a key of `SORTINGS`.
        most: number of windows to show, evenly spread, if neither of the two is given; 0 = all.

    Raises:
        ValueError: no clip of the cache has such a name, or there are no values to order by.
    """
    windows = windows_of(statistics)
    if by != "window" and np.isnan(statistics.of_key(by)).all():
        raise ValueError(f"--by {by}: the cache has no such value for any frame; choose another order")
    if scenes:
        for name in scenes:
            if not any(name in scene for scene in files.maps.scenes):
                raise ValueError(
                    f"--scene {name}: no clip of {files.maps.path} has this in its name; the clips are "
                    f"{files.maps.scenes[0]} to {files.maps.scenes[-1]}"
                )
        scene = np.searchsorted(files.maps.offsets, statistics.frame, side="right") - 1
        wanted = np.array([any(name in one for name in scenes) for one in files.maps.scenes])
        windows = [window for window in windows if wanted[scene[window.rows[0]]]]
    if worst is not None:
        windows = ordered(statistics, windows, by)[:worst]
    elif most and not scenes and len(windows) > most:
        windows = [windows[len(windows) * number // most] for number in range(most)]
    return sorted(windows, key=lambda window: window.number)
