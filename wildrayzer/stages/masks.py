"""Jobs of stage 2 between residuals and refinement, from cached maps only: thresholds and voting.

Sources: docs/method.md#calibration, docs/method.md#voting.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.io.provenance import digest_json, write_json
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.pseudo_masks.patch_masks import SAME_ORIGIN, calibrate_on, check_thresholds, vote_frames
from wildrayzer.stages.join_residuals import mean_or_none

VOTING_VERSION = 1
"""Raised when a change of code changes patch masks."""


def calibrate_threshold(
    residuals_paths: Sequence[str | Path], *, config: PseudoMasksConfig, out_path: str | Path
) -> None:
    """Thresholds of the absolute test from the residuals of the static calibration splits, as JSON.

    Raises:
        ValueError: residuals of different origin, or see `calibrate`.
    """
    calibrate_on(residuals_paths, config).save(out_path)


def vote_masks(
    *,
    residuals_path: str | Path,
    config: PseudoMasksConfig,
    out_path: str | Path,
    thresholds_path: str | Path | None = None,
) -> None:
    """Patch masks of every computed frame, from the cached maps alone; a summary goes beside them as JSON.

    Args:
        residuals_path: joined residuals of the split.
        config: the `pseudo_masks` section.
        out_path: of `patch_masks.zarr`.
        thresholds_path: of `calibrate_threshold`; needed with `absolute_test` other than `off`.

    Raises:
        ValueError: broken residuals, or thresholds missing, of other options or of another renderer.
    """
    maps = ResidualMaps(residuals_path)
    thresholds = _thresholds(thresholds_path, config, maps)
    masks, voted = vote_frames(maps, config, thresholds)
    digests = {
        "residuals": maps.digest,
        **{name: maps.digests[name] for name in ("store", *SAME_ORIGIN[:2])},
        "thresholds": thresholds.digest if thresholds else "none",
        "options": digest_json(config.model_dump(mode="json")),
        "voting": str(VOTING_VERSION),
    }
    with CacheWriter(
        out_path,
        "patch_masks",
        frames=maps.num_frames,
        sizes=maps.sizes,
        digests=digests,
        scenes=maps.scenes,
        offsets=maps.offsets,
        about={**maps.about, "pseudo_masks": config.model_dump(mode="json")},
    ) as writer:
        writer.append(mask=masks)
    computed = masks[maps.window >= 0]
    extra = {"coverage_of_voting_alone": voted / max(1, computed.size), "absolute_test": config.absolute_test}
    _write_mask_summary(out_path, computed, {**extra, "mean_psnr": mean_or_none(maps.psnr[maps.window >= 0])}, digests)


def _thresholds(path: str | Path | None, config: PseudoMasksConfig, maps: ResidualMaps) -> AbsoluteThresholds | None:
    if config.absolute_test == "off":
        return None
    if path is None:
        raise ValueError(
            f"pseudo_masks.absolute_test: {config.absolute_test} needs thresholds from a calibration split; make them "
            "or set absolute_test: off"
        )
    thresholds = AbsoluteThresholds.load(path)
    check_thresholds(thresholds, config, maps, path)
    return thresholds


def _write_mask_summary(
    out_path: str | Path, masks: np.ndarray, extra: dict[str, Any], digests: dict[str, str]
) -> None:
    empty = np.logical_not(masks.any(axis=(1, 2)))
    summary = {
        "frames_computed": len(masks),
        "coverage": mean_or_none(masks),
        "empty_share": mean_or_none(empty),
        **extra,
        "digests": digests,
    }
    write_json(Path(out_path).with_suffix(".json"), summary)
