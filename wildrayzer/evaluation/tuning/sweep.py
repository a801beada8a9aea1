"""Score option sets of voting and refinement over caches: no renderer, no features, no GPU."""

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.evaluation.metrics.masks import score_frames, true_masks
from wildrayzer.evaluation.tuning.options import OptionSet
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.pseudo_masks.patch_masks import calibrate_on, check_thresholds, vote_frames
from wildrayzer.pseudo_masks.refinement import refine_frames, upsample

METRICS = ("iou", "recall", "precision", "coverage")
_FRAMES_AT_ONCE = 64

Row = dict[str, Any]
"""Metrics of one option set on one split: `set`, `split`, `masks` (`patch` or `pixel`), the swept options, `frames`,
the means of `METRICS` over frames (NaN where a metric has no value) and `empty`, the share of empty masks."""


@dataclass(frozen=True)
class TuningSplit:
    """One cache to sweep over."""

    name: str
    residuals: Path
    store: Path
    calibration: tuple[Path, ...] = ()
    """Residuals of the static calibration splits, from which every set gets thresholds of the absolute test."""
    thresholds: Path | None = None
    """Thresholds to use where no calibration residuals are named; they must fit the options."""


def check_split(split: TuningSplit) -> None:
    """Open everything once, so that damage is reported before the work starts.

    Raises:
        ValueError: a part is missing, damaged or made from something else.
    """
    _open(split)
    for path in split.calibration:
        ResidualMaps(path)


def sweep_digest(splits: Sequence[TuningSplit], sets: Sequence[OptionSet], *, limit: int | None, refine: bool) -> str:
    """Digest of everything that decides the rows of `tune`."""
    data = [
        [
            split.name,
            FrameStore(split.store).digest,
            *(ResidualMaps(path).digest for path in (split.residuals, *split.calibration)),
            split.thresholds and digest_file(split.thresholds),
        ]
        for split in splits
    ]
    options = [[one.values, one.pseudo_masks.model_dump(), one.refine.model_dump()] for one in sets]
    return digest_json([data, options, limit, refine])


def tune(
    splits: Sequence[TuningSplit],
    sets: Sequence[OptionSet],
    *,
    limit: int | None = None,
    refine: bool = True,
    workers: int = 1,
) -> Iterator[list[Row]]:
    """Rows of every (option set, split), sets in order, all splits of a set together.

    Args:
        splits: caches with their frame stores.
        sets: of `option_sets`.
        limit: clips of each split that are used, evenly spread; all by default.
        refine: also make and score pixel masks.
        workers: processes; the metrics do not depend on how many.

    Raises:
        ValueError: see `check_split`; also thresholds that are missing or do not fit the options.
    """
    for split in splits:
        check_split(split)
    work = functools.partial(_score_set, splits=tuple(splits), limit=limit, refine=refine)
    if workers <= 1:
        yield from map(work, sets)
        return
    # Started afresh rather than forked: threads of torch and OpenCV do not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(work, sets)


def _score_set(option_set: OptionSet, *, splits: tuple[TuningSplit, ...], limit: int | None, refine: bool) -> list[Row]:
    rows = []
    for split in splits:
        for masks, metrics in _score(split, option_set, limit, refine).items():
            rows.append({"set": option_set.number, "split": split.name, "masks": masks, **option_set.values, **metrics})
    return rows


def _score(split: TuningSplit, option_set: OptionSet, limit: int | None, refine: bool) -> dict[str, Row]:
    maps, store = _open(split)
    window = _chosen(maps, limit)
    frames = np.flatnonzero(window >= 0)
    coarse, _ = vote_frames(maps, option_set.pseudo_masks, _thresholds(split, option_set.pseudo_masks), window=window)
    batches = np.split(frames, range(_FRAMES_AT_ONCE, len(frames), _FRAMES_AT_ONCE))
    scored: dict[str, list[dict[str, Float[np.ndarray, " n"]]]] = {"patch": []}
    for batch in batches:
        enlarged = np.stack([upsample(coarse[frame], store.image_size, store.image_size) for frame in batch])
        scored["patch"].append(_scores(enlarged, store, batch))
    if refine:
        jobs = ((coarse[batch], store.read(batch), batch.tolist()) for batch in batches)
        fine = refine_frames(jobs, option_set.refine)
        scored["pixel"] = [_scores(masks, store, batch) for masks, batch in zip(fine, batches, strict=True)]
    return {name: _means(parts) for name, parts in scored.items()}


@functools.cache
def _open(split: TuningSplit) -> tuple[ResidualMaps, FrameStore]:
    store = FrameStore(split.store, preload_mb=PRELOAD_MB)
    maps = ResidualMaps(split.residuals, expect={"store": store.digest})
    if not (maps.window >= 0).any():
        raise ValueError(f"{split.residuals} has no computed frame; there is nothing to tune on")
    maps.preload()
    return maps, store


def _chosen(maps: ResidualMaps, limit: int | None) -> Int[np.ndarray, " f"]:
    """Windows of the frames of at most `limit` clips, evenly spread; −1 for all other frames."""
    if limit is None:
        return maps.window
    scene = np.searchsorted(maps.offsets, np.arange(maps.num_frames), side="right") - 1
    usable = np.unique(scene[maps.window >= 0])
    places = np.linspace(0, len(usable) - 1, min(limit, len(usable))).round().astype(int)
    return np.where(np.isin(scene, usable[places]), maps.window, -1)


def _thresholds(split: TuningSplit, config: PseudoMasksConfig) -> AbsoluteThresholds | None:
    if config.absolute_test == "off":
        return None
    maps, _ = _open(split)
    if split.calibration:
        thresholds, path = calibrate_on(split.calibration, config), split.calibration[0]
    elif split.thresholds is not None:
        thresholds, path = AbsoluteThresholds.load(split.thresholds), split.thresholds
    else:
        raise ValueError(
            f"pseudo_masks.absolute_test: {config.absolute_test} needs residuals of a calibration split for "
            f"{split.name}; name them, or set absolute_test: off"
        )
    check_thresholds(thresholds, config, maps, path)
    return thresholds


def _scores(
    masks: UInt8[np.ndarray, "n h w"], store: FrameStore, frames: Int[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    if store.has_masks or store.attributes.get("role") == "static":
        columns = score_frames(masks, true_masks(store, frames))
    else:
        columns = {name: np.full(len(masks), np.nan) for name in METRICS}
        columns["coverage"] = masks.mean((1, 2))
    return {**columns, "empty": np.logical_not(masks.any((1, 2))).astype(np.float64)}


def _means(parts: Sequence[dict[str, Float[np.ndarray, " n"]]]) -> Row:
    columns = {name: np.concatenate([part[name] for part in parts]) for name in (*METRICS, "empty")}
    finite = {name: values[np.isfinite(values)] for name, values in columns.items()}
    means = {name: float(values.mean()) if len(values) else float("nan") for name, values in finite.items()}
    return {"frames": len(columns["empty"]), **means}
