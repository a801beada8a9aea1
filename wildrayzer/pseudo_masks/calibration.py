"""The absolute test: motion scores against thresholds calibrated on static clips (docs/method.md#calibration).

Differs from the paper, whose voting is rank-based and marks about as many patches where nothing moves as where
something does.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import read_json, write_json
from wildrayzer.io.validated import validated
from wildrayzer.pseudo_masks.fusion import dino_weight

_LEAST_SCALE = 1e-6
_FOUR_NEIGHBOURS = np.array([[[0] * 3] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0] * 3] * 3])
"""Neighbours within a frame; patches of different frames are never connected."""
_WEIGHTING_OPTIONS = ("weighting", "dino_weight", "dino_weight_low", "dino_weight_high", "psnr_low", "psnr_high")


@dataclass(frozen=True)
class AbsoluteThresholds:
    """Thresholds of the motion score, from static clips.

    The motion score of a patch is w · D_dino / s_dino + (1 − w) · D_ssim / s_ssim: raw dissimilarities, not z-scores.
    The weight w is that of `dino_weight`, the units s are the mean dissimilarities of static patches. So 1 is an
    average patch of a static clip.
    """

    scale_dino: float
    """s_dino: mean D_dino of static patches."""
    scale_ssim: float
    """s_ssim: mean D_ssim of static patches."""
    patch: float
    """(1 − `false_positive_rate`) quantile of the motion scores of static patches."""
    cluster: float
    """The same quantile of the mean motion scores of clusters (see `cluster_means`)."""
    region: float
    """(1 − `region_rate`) quantile of the motion scores of static patches: the lower threshold of the test `region`."""
    false_positive_rate: float
    """Share of static patches over `patch`, and over `cluster`."""
    region_rate: float
    """Share of static patches over `region`."""
    patches: int
    """Number of static patches."""
    weighting: dict[str, Any]
    """Options of `dino_weight` that the motion scores were made with."""
    made_from: dict[str, str] = dataclasses.field(default_factory=dict)
    """Digests of the renderer, the backbone, the residual options and the code that made the static maps."""
    parts: list[str] = dataclasses.field(default_factory=list)
    """Keys of the parts of residual maps that the thresholds were calibrated on; empty in files of earlier versions."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits, of all fields but `parts`: masks depend on the thresholds, whatever gave them."""
        fields = dataclasses.asdict(self)
        del fields["parts"]
        return digest_json(fields)

    def save(self, path: str | Path) -> None:
        """Write JSON atomically."""
        write_json(path, dataclasses.asdict(self), checksum=True)

    @classmethod
    def load(cls, path: str | Path) -> "AbsoluteThresholds":
        """Read what `save` wrote.

        Raises:
            ValueError: the file contains something else.
            FileNotFoundError: there is no such file.
        """
        raw = read_json(path)
        fix = "delete the file and calibrate again"
        if not isinstance(raw, dict) or set(raw) | {"parts"} != {field.name for field in dataclasses.fields(cls)}:
            raise ValueError(f"{path}: these are no thresholds of the absolute test; {fix}")
        return validated(raw, cls, source=path, fix=fix)

    def check(self, config: PseudoMasksConfig) -> None:
        """Refuse thresholds that were calibrated for other options.

        Raises:
            ValueError: the false-positive rate, the region rate or the weighting differs; the message names it.
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
    parts: Sequence[str] = (),
) -> AbsoluteThresholds:
    """Thresholds that the configured share of static patches exceeds.

    Thresholds are quantiles, so that a few outliers change nothing.

    Args:
        d_dino: feature dissimilarity of frames in which nothing moves, in [0, 2].
        d_ssim: their SSIM dissimilarity, in [0, 2].
        psnr: PSNR of their predictions in dB.
        clusters: their cluster numbers.
        config: the `pseudo_masks` section.
        made_from: digests to record in the thresholds.
        parts: keys of the parts of residual maps, to record in the thresholds.

    Raises:
        ValueError: maps that are not finite, or too few patches for the rate.
    """
    patches = d_dino.size
    if patches * config.false_positive_rate < 1:
        raise ValueError(
            f"{patches} static patches are too few for a false-positive rate of {config.false_positive_rate}; add "
            "clips to the calibration split or raise pseudo_masks.false_positive_rate"
        )
    if not (np.isfinite(d_dino).all() and np.isfinite(d_ssim).all() and np.isfinite(psnr).all()):
        raise ValueError("calibration maps contain NaN or infinity; run the residuals of the calibration split again")
    # Units first: the mean of each map over all static patches. Feature and SSIM dissimilarity become comparable.
    scale_dino = max(float(d_dino.mean(dtype=np.float64)), _LEAST_SCALE)
    scale_ssim = max(float(d_ssim.mean(dtype=np.float64)), _LEAST_SCALE)
    # Scores [f, g, g] of single patches. The thresholds are their quantiles, and one quantile of the cluster means.
    scores = _weighted(d_dino, d_ssim, psnr, config, scale_dino, scale_ssim)
    quantile = 1 - config.false_positive_rate
    return AbsoluteThresholds(
        scale_dino=scale_dino,
        scale_ssim=scale_ssim,
        patch=float(np.quantile(scores, quantile)),
        cluster=float(np.quantile(cluster_means(scores, clusters), quantile)),
        region=float(np.quantile(scores, 1 - config.region_rate)),
        false_positive_rate=config.false_positive_rate,
        region_rate=config.region_rate,
        patches=patches,
        weighting=_weighting(config),
        made_from=dict(made_from or {}),
        parts=list(parts),
    )


def motion_score(
    d_dino: Float[np.ndarray, "f g g2"],
    d_ssim: Float[np.ndarray, "f g g2"],
    psnr: Float[np.ndarray, " f"],
    config: PseudoMasksConfig,
    thresholds: AbsoluteThresholds,
) -> Float[np.ndarray, "f g g2"]:
    """Motion score of every patch in units of static clips (1 = an average static patch), see `AbsoluteThresholds`."""
    return _weighted(d_dino, d_ssim, psnr, config, thresholds.scale_dino, thresholds.scale_ssim)


def apply_threshold(
    scores: Float[np.ndarray, "f g g2"],
    clusters: UInt8[np.ndarray, "f g g2"],
    voted: Bool[np.ndarray, "f g g2"],
    config: PseudoMasksConfig,
    thresholds: AbsoluteThresholds,
) -> Bool[np.ndarray, "f g g2"]:
    """Voted patches whose motion score is strictly over the threshold; with `absolute_test: off`, all of them.

    Args:
        scores: of `motion_score`.
        clusters: cluster numbers.
        voted: patches that voting marks.
        config: `absolute_test` is `patch` (each patch by itself), `cluster` (the mean over a cluster's patches in a
            frame) or `region` (hysteresis as in Canny's edge detector: voted patches over the lower threshold, in
            4-connected regions that contain a patch over the upper one).
        thresholds: of `calibrate`.

    Raises:
        ValueError: the thresholds were calibrated for other options.
    """
    if config.absolute_test == "off":
        return voted
    thresholds.check(config)
    if config.absolute_test == "patch":
        return voted & (scores > thresholds.patch)
    if config.absolute_test == "cluster":
        return voted & (cluster_means(scores, clusters) > thresholds.cluster)
    # Label all frames at once: `regions` [f, g, g] holds a region's number, or 0 under the lower threshold.
    regions, _ = ndimage.label(voted & (scores > thresholds.region), structure=_FOUR_NEIGHBOURS)
    # Keep the whole of every region that has one patch over the upper threshold.
    kept = np.unique(regions[(regions > 0) & (scores > thresholds.patch)])
    return np.isin(regions, kept)


def cluster_means(
    values: Float[np.ndarray, "f g g2"], clusters: UInt8[np.ndarray, "f g g2"]
) -> Float[np.ndarray, "f g g2"]:
    """Every patch replaced by the mean over the patches of its frame with its cluster number."""
    # One key per (frame, cluster): a label fits into a byte. Sums and counts per key then need no loop over frames.
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
