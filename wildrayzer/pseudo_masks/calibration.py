"""The absolute test: evidence of motion against thresholds calibrated on static clips (docs/method.md#calibration).

Differs from the paper, whose voting is rank-based and marks about as many patches where nothing moves as where
something does.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.io.provenance import digest_json, read_json, write_json
from wildrayzer.pseudo_masks.fusion import dino_weight

_LEAST_SCALE = 1e-6
_FOUR_NEIGHBOURS = np.array([[[0] * 3] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0] * 3] * 3])
"""Neighbours within a frame; frames do not touch."""
_WEIGHTING_OPTIONS = ("weighting", "dino_weight", "dino_weight_low", "dino_weight_high", "psnr_low", "psnr_high")


@dataclass(frozen=True)
class AbsoluteThresholds:
    """What static clips say about evidence where nothing moves.

    The evidence of a patch is w · D_dino / s_dino + (1 − w) · D_ssim / s_ssim, raw dissimilarities and not z-scores,
    with w of `dino_weight` and the mean static dissimilarities s as units: 1 is a usual patch of a static clip.
    """

    scale_dino: float
    """s_dino: mean D_dino of static patches."""
    scale_ssim: float
    """s_ssim: mean D_ssim of static patches."""
    patch: float
    """(1 − rate) quantile of the evidence of static patches."""
    cluster: float
    """The same after each patch took the mean evidence of its cluster in its frame."""
    region: float
    """(1 − region rate) quantile of the evidence of static patches: the lower threshold of `region`."""
    false_positive_rate: float
    """The rate: share of static patches over `patch`, and over `cluster`."""
    region_rate: float
    """Share of static patches over `region`."""
    patches: int
    """Static patches seen."""
    weighting: dict[str, Any]
    """Options of `dino_weight` that the evidence was weighted with."""
    made_from: dict[str, str] = dataclasses.field(default_factory=dict)
    """Digests of the renderer, the backbone and the residual options that made the static maps."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for all of it."""
        return digest_json(dataclasses.asdict(self))

    def save(self, path: str | Path) -> None:
        """Write JSON atomically."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "AbsoluteThresholds":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds something else.
            FileNotFoundError: there is no such file.
        """
        raw = read_json(path)
        fields = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(raw, dict) or set(raw) != fields:
            raise ValueError(f"{path}: no thresholds of the absolute test; delete it and run the stage again")
        return cls(**raw)

    def check(self, config: PseudoMasksConfig) -> None:
        """Refuse thresholds calibrated for other options.

        Raises:
            ValueError: the false-positive rate or the weighting differs; names which.
        """
        if self.false_positive_rate != config.false_positive_rate:
            raise ValueError(
                f"thresholds are calibrated to a false-positive rate of {self.false_positive_rate}, but "
                f"pseudo_masks.false_positive_rate = {config.false_positive_rate}; calibrate again"
            )
        if config.absolute_test == "region" and self.region_rate != config.region_rate:
            raise ValueError(
                f"thresholds are calibrated to a region rate of {self.region_rate}, but pseudo_masks.region_rate = "
                f"{config.region_rate}; calibrate again"
            )
        for name, value in _weighting(config).items():
            if self.weighting.get(name) != value:
                raise ValueError(
                    f"thresholds are calibrated with pseudo_masks.{name} = {self.weighting.get(name)}, but it is now "
                    f"{value}; calibrate again"
                )


def calibrate(
    d_dino: Float[np.ndarray, "f g g2"],
    d_ssim: Float[np.ndarray, "f g g2"],
    psnr: Float[np.ndarray, " f"],
    clusters: UInt8[np.ndarray, "f g g2"],
    config: PseudoMasksConfig,
    *,
    made_from: Mapping[str, str] | None = None,
) -> AbsoluteThresholds:
    """Thresholds that the given share of patches of static clips passes; quantiles, so that outliers do not count.

    Args:
        d_dino: feature dissimilarity of frames in which nothing moves.
        d_ssim: their SSIM dissimilarity.
        psnr: their rendering PSNR in dB.
        clusters: their cluster numbers.
        config: the `pseudo_masks` section.
        made_from: digests to record in the thresholds.

    Raises:
        ValueError: no frames, maps that are not finite, or too few patches for the rate.
    """
    patches = d_dino.size
    if patches * config.false_positive_rate < 1:
        raise ValueError(
            f"{patches} static patches cannot tell a false-positive rate of {config.false_positive_rate}; add clips to "
            "the calibration split or raise pseudo_masks.false_positive_rate"
        )
    if not (np.isfinite(d_dino).all() and np.isfinite(d_ssim).all() and np.isfinite(psnr).all()):
        raise ValueError("calibration maps hold NaN or infinity; run the residuals of the calibration split again")
    scale_dino = max(float(d_dino.mean(dtype=np.float64)), _LEAST_SCALE)
    scale_ssim = max(float(d_ssim.mean(dtype=np.float64)), _LEAST_SCALE)
    values = _weighted(d_dino, d_ssim, psnr, config, scale_dino, scale_ssim)
    quantile = 1 - config.false_positive_rate
    return AbsoluteThresholds(
        scale_dino=scale_dino,
        scale_ssim=scale_ssim,
        patch=float(np.quantile(values, quantile)),
        cluster=float(np.quantile(cluster_means(values, clusters), quantile)),
        region=float(np.quantile(values, 1 - config.region_rate)),
        false_positive_rate=config.false_positive_rate,
        region_rate=config.region_rate,
        patches=patches,
        weighting=_weighting(config),
        made_from=dict(made_from or {}),
    )


def evidence(
    d_dino: Float[np.ndarray, "f g g2"],
    d_ssim: Float[np.ndarray, "f g g2"],
    psnr: Float[np.ndarray, " f"],
    config: PseudoMasksConfig,
    thresholds: AbsoluteThresholds,
) -> Float[np.ndarray, "f g g2"]:
    """Evidence of motion of every patch in units of static clips, see `AbsoluteThresholds`."""
    return _weighted(d_dino, d_ssim, psnr, config, thresholds.scale_dino, thresholds.scale_ssim)


def passes(
    values: Float[np.ndarray, "f g g2"],
    clusters: UInt8[np.ndarray, "f g g2"],
    voted: Bool[np.ndarray, "f g g2"],
    config: PseudoMasksConfig,
    thresholds: AbsoluteThresholds,
) -> Bool[np.ndarray, "f g g2"]:
    """Voted patches that the absolute test lets pass: strictly over the threshold; `off` lets all pass.

    Args:
        values: of `evidence`.
        clusters: cluster numbers.
        voted: patches that voting marks.
        config: `absolute_test` chooses between `patch`, `cluster` (a cluster's patches in one frame together) and
            `region` (two thresholds, as Canny's hysteresis has them: voted patches over the lower one, in
            4-connected regions of a frame that have a patch over the upper one).
        thresholds: of `calibrate`.

    Raises:
        ValueError: the thresholds were calibrated for other options.
    """
    if config.absolute_test == "off":
        return voted
    thresholds.check(config)
    if config.absolute_test == "patch":
        return voted & (values > thresholds.patch)
    if config.absolute_test == "cluster":
        return voted & (cluster_means(values, clusters) > thresholds.cluster)
    regions, _ = ndimage.label(voted & (values > thresholds.region), structure=_FOUR_NEIGHBOURS)
    sure = np.unique(regions[(regions > 0) & (values > thresholds.patch)])
    return np.isin(regions, sure)


def cluster_means(
    values: Float[np.ndarray, "f g g2"], clusters: UInt8[np.ndarray, "f g g2"]
) -> Float[np.ndarray, "f g g2"]:
    """Every patch replaced by the mean over the patches of its frame with its cluster number."""
    keys = (np.arange(len(values))[:, None, None] * 256 + clusters.astype(np.int64)).ravel()
    sums = np.bincount(keys, weights=values.ravel(), minlength=1)
    sizes = np.bincount(keys, minlength=1)
    return (sums[keys] / sizes[keys]).reshape(values.shape)


def _weighted(
    d_dino: Float[np.ndarray, "f g g2"],
    d_ssim: Float[np.ndarray, "f g g2"],
    psnr: Float[np.ndarray, " f"],
    config: PseudoMasksConfig,
    scale_dino: float,
    scale_ssim: float,
) -> Float[np.ndarray, "f g g2"]:
    weight = dino_weight(psnr, config)[:, None, None]
    return weight * (d_dino.astype(np.float64) / scale_dino) + (1 - weight) * (d_ssim.astype(np.float64) / scale_ssim)


def _weighting(config: PseudoMasksConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _WEIGHTING_OPTIONS}
