"""Jobs of stage 2 from cached maps only, without torch: joining of residuals, thresholds and voting.

Sources: docs/method.md#calibration, docs/method.md#voting.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import write_json
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.cache.part_stores import join_residual_parts
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.pseudo_masks.patch_masks import PREDICTION_DIGESTS, calibrate_on, check_thresholds, vote_frames
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["pseudo_masks"]


def join_residuals(
    part_paths: Sequence[str | Path], *, windows_path: str | Path, out_path: str | Path, psnr_filter: float = 17.0
) -> None:
    """Join all part stores of a split to `residuals.zarr`, with a summary as JSON beside it.

    Args:
        part_paths: part stores of `compute_residuals`, all of them.
        windows_path: window list of the split.
        out_path: folder of the joined group.
        psnr_filter: in dB; the summary gives the share of frames over it, which train the motion head.

    Raises:
        ValueError: see `join_residual_parts`; also parts of another window list.
    """
    windows = WindowList.load(windows_path)
    offsets = np.concatenate([[0], np.cumsum(windows.lengths)]).astype(np.int64)
    targets = [offsets[window.scene] + np.asarray(window.targets) for window in windows.windows]
    join_residual_parts(part_paths, out_path, targets=targets, expect={"windows": windows.digest})
    maps = ResidualMaps(out_path)
    computed = maps.window >= 0
    psnr = maps.psnr[computed]
    summary = {
        "source": maps.about.get("source"),
        "backbone": maps.about.get("backbone"),
        "windows": len(windows),
        "clips_skipped": len(windows.skipped),
        "frames": maps.num_frames,
        "frames_computed": int(computed.sum()),
        "mean_psnr": _mean(psnr),
        "kept_share": _mean(psnr > psnr_filter),
        "psnr_filter": psnr_filter,
        "digests": maps.digests,
    }
    write_json(Path(out_path).with_suffix(".json"), summary)


def calibrate_threshold(
    residuals_paths: Sequence[str | Path], *, config: PseudoMasksConfig, out_path: str | Path
) -> None:
    """Thresholds of the absolute test from the residuals of the static calibration splits, as JSON.

    Raises:
        ValueError: residuals of different origins; see also `calibrate`.
    """
    calibrate_on(residuals_paths, config).save(out_path)


def vote_masks(
    *,
    residuals_path: str | Path,
    config: PseudoMasksConfig,
    out_path: str | Path,
    thresholds_path: str | Path | None = None,
) -> None:
    """Patch masks of every computed frame, with a summary as JSON beside them.

    Args:
        residuals_path: joined residuals of the split.
        config: the `pseudo_masks` section.
        out_path: folder of `patch_masks.zarr`.
        thresholds_path: file of `calibrate_threshold`; needed unless `absolute_test` is `off`.

    Raises:
        ValueError: damaged residuals, or thresholds that are missing or were made with other options or by another
            renderer.
    """
    maps = ResidualMaps(residuals_path)
    thresholds = _thresholds(thresholds_path, config, maps)
    masks, voted = vote_frames(maps, config, thresholds)
    digests = {
        "residuals": maps.digest,
        **{name: maps.digests[name] for name in ("store", *PREDICTION_DIGESTS)},
        "thresholds": thresholds.digest if thresholds else "none",
        "options": digest_json(config.model_dump(mode="json")),
        "voting": str(STAGE_VERSION),
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
    computed = maps.window >= 0
    _write_summary(out_path, masks[computed], maps.psnr[computed], voted, config, digests)


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


def _write_summary(
    out_path: str | Path,
    masks: np.ndarray,
    psnr: np.ndarray,
    voted: int,
    config: PseudoMasksConfig,
    digests: dict[str, Any],
) -> None:
    """Summary of the computed frames."""
    summary = {
        "frames_computed": len(masks),
        "coverage": _mean(masks),
        "empty_share": _mean(np.logical_not(masks.any(axis=(1, 2)))),
        "coverage_of_voting_alone": voted / max(1, masks.size),
        "absolute_test": config.absolute_test,
        "mean_psnr": _mean(psnr),
        "digests": digests,
    }
    write_json(Path(out_path).with_suffix(".json"), summary)


def _mean(values: np.ndarray) -> float | None:
    """Mean, or null if there are no values."""
    return float(values.mean(dtype=np.float64)) if values.size else None
