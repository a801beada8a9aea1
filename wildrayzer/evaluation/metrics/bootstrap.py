"""Confidence intervals by resampling scenes: frames of a scene are not independent, scenes are."""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

MIN_SCENES = 20
"""Scenes below which an interval decides nothing. Percentile intervals are too narrow for few scenes: where there is no
difference at all, about half of them leave out 0 with 2 scenes, and more than 5% with 20. With 20 scenes none of five
distributions is above 10%, twice the nominal rate (`benchmarks/interval_coverage.py`)."""


@dataclass(frozen=True)
class Interval:
    """A mean over frames with its 95% interval over scenes. One scene has a mean and no interval: NaN."""

    mean: float
    """Mean over all finite frames; NaN where there is none."""
    low: float
    """2.5% quantile of the resampled means."""
    high: float
    """97.5% quantile of the resampled means."""
    error: float
    """Standard error: standard deviation of the resampled means."""
    scenes: int
    """Scenes with a finite frame."""
    frames: int
    """Finite frames."""
    skipped: int
    """Frames left out (`enters_mean`)."""


def enters_mean(values: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which values enter a mean, of whatever metric: the finite ones. The others are left out and counted.

    NaN stands for a region without pixels, +inf for the PSNR of a picture that equals its truth. The release bounds the
    squared error by 1e-8 from below, so that such a picture has 80 dB: a bound and no measurement, and one clip whose
    camera stands still would move a row's mean by tenths of a dB.
    """
    return np.isfinite(values)


def bootstrap_mean(values: pd.Series, scenes: pd.Series, *, resamples: int, seed: int) -> Interval:
    """Mean over frames, and a percentile interval from resampling whole scenes.

    Args:
        values: one value per frame; those that enter no mean (`enters_mean`) are skipped and counted.
        scenes: the scene of each frame.
        resamples: bootstrap draws.
        seed: same seed, same interval.
    """
    sums, counts, skipped = _by_scene(values, scenes)
    if not len(sums):
        return Interval(np.nan, np.nan, np.nan, np.nan, 0, 0, skipped)
    means = _means(_draws(len(sums), resamples, seed), sums, counts)
    return _interval(sums.sum() / counts.sum(), means, len(sums), int(counts.sum()), skipped)


def paired_difference(first: pd.DataFrame, second: pd.DataFrame, *, resamples: int, seed: int) -> Interval:
    """Mean of `first − second` over the frames both have, and its interval over scenes.

    Args:
        first: columns `scene`, `frame`, `value`, one row per frame.
        second: the same; frames that only one of the two has are left out (the caller says how many scenes differ).
    """
    joined = first.merge(second, on=["scene", "frame"], suffixes=("_first", "_second"), validate="one_to_one")
    difference = joined["value_first"] - joined["value_second"]
    return bootstrap_mean(difference, joined["scene"], resamples=resamples, seed=seed)


def unpaired_difference(first: pd.DataFrame, second: pd.DataFrame, *, resamples: int, seed: int) -> Interval:
    """Difference of two means over different frames, each resampled over its own scenes; more careful than pairing.

    Args:
        first: columns `scene` and `value`, one row per frame.
        second: the same. `scenes` and `frames` of the result count the smaller side; 0 if one is empty.
    """
    sides = [_by_scene(side["value"], side["scene"]) for side in (first, second)]
    skipped = sum(side[2] for side in sides)
    if not all(len(sums) for sums, _, _ in sides):
        return Interval(np.nan, np.nan, np.nan, np.nan, 0, 0, skipped)
    rng = np.random.default_rng(seed)
    means = [_means(_draw(rng, len(sums), resamples), sums, counts) for sums, counts, _ in sides]
    mean = [sums.sum() / counts.sum() for sums, counts, _ in sides]
    scenes, frames = min(len(sums) for sums, _, _ in sides), min(int(counts.sum()) for _, counts, _ in sides)
    return _interval(mean[0] - mean[1], means[0] - means[1], scenes, frames, skipped)


def _by_scene(values: pd.Series, scenes: pd.Series) -> tuple[np.ndarray, np.ndarray, int]:
    """Sum and number of the finite values of each scene, and how many values are not finite."""
    finite = enters_mean(values.to_numpy(float))
    groups = values[finite].groupby(scenes[finite].to_numpy(), sort=True)
    return groups.sum().to_numpy(float), groups.count().to_numpy(float), int((~finite).sum())


def _draw(rng: np.random.Generator, scenes: int, resamples: int) -> np.ndarray:
    """How often each scene comes in each draw of as many scenes with replacement, [resamples scenes]."""
    return rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples).astype(np.float64)


@functools.lru_cache(maxsize=4)
def _draws(scenes: int, resamples: int, seed: int) -> np.ndarray:
    """The draws of a seed; hundreds of rows of a table have as many scenes."""
    return _draw(np.random.default_rng(seed), scenes, resamples)


def _means(draws: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the frames of each draw."""
    return (draws @ sums) / (draws @ counts)


def _interval(mean: float, means: np.ndarray, scenes: int, frames: int, skipped: int) -> Interval:
    if scenes < 2:
        return Interval(float(mean), np.nan, np.nan, np.nan, scenes, frames, skipped)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(mean), float(low), float(high), float(means.std()), scenes, frames, skipped)
