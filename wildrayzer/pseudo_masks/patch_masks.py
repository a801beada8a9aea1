"""Patch masks of a whole split from its cached maps: calibration, fusion, voting and the absolute test.

Sources: docs/method.md#fusion, docs/method.md#voting, docs/method.md#calibration.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.images import UNKNOWN
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds, apply_threshold, calibrate, motion_score
from wildrayzer.pseudo_masks.fusion import fuse
from wildrayzer.pseudo_masks.voting import vote

PREDICTION_DIGESTS = ("renderer", "backbone")
"""Digests that residual maps hand on to the masks that are made of them."""
SAME_ORIGIN = (*PREDICTION_DIGESTS, "config", "code")
"""Digests that calibration maps must share with the maps that their thresholds are applied to."""
_WINDOWS_AT_ONCE = 512


def calibrate_on(residuals_paths: Sequence[str | Path], config: PseudoMasksConfig) -> AbsoluteThresholds:
    """Thresholds of the absolute test from the residuals of the static calibration splits.

    Raises:
        ValueError: no residuals, residuals of different origin or that are not finite, or see `calibrate`.
    """
    groups = [ResidualMaps(path) for path in residuals_paths]
    if not groups:
        raise ValueError(
            "the absolute test needs residuals of a split with purpose: calibration; add one to data.splits"
        )
    made_from = {name: groups[0].digests[name] for name in SAME_ORIGIN}
    for group in groups[1:]:
        ResidualMaps(group.path, expect=made_from)
    names = ("d_dino", "d_ssim", "psnr", "clusters")
    parts = []
    for group in groups:
        computed = np.flatnonzero(group.window >= 0)
        part = {name: group.all(name)[computed] for name in names}
        _check_finite(group, computed, part["d_dino"], part["d_ssim"])
        parts.append(part)
    d_dino, d_ssim, psnr, clusters = (np.concatenate([part[name] for part in parts]) for name in names)
    seen = [part.entry.key for group in groups for part in group.parts]
    return calibrate(d_dino, d_ssim, psnr, clusters, config, made_from=made_from, parts=seen)


def check_thresholds(
    thresholds: AbsoluteThresholds, config: PseudoMasksConfig, maps: ResidualMaps, path: str | Path
) -> None:
    """Refuse thresholds of other options, or of another renderer, backbone or set of residual options.

    Args:
        thresholds: of `calibrate_on`.
        config: the `pseudo_masks` section.
        maps: residuals that the thresholds will be applied to.
        path: file of the thresholds, for the message.

    Raises:
        ValueError: something differs; the message names it.
    """
    thresholds.check(config)
    for name, value in thresholds.made_from.items():
        if maps.digests[name] != value:
            raise ValueError(
                f"{path}: thresholds were calibrated with {name} {value}, the residuals {maps.path} have "
                f"{maps.digests[name]}; calibrate again, on residuals of the same {name}"
            )


def vote_frames(
    maps: ResidualMaps,
    config: PseudoMasksConfig,
    thresholds: AbsoluteThresholds | None = None,
    *,
    window: Int[np.ndarray, " f"] | None = None,
) -> tuple[UInt8[np.ndarray, "f g g2"], int]:
    """Patch masks of every frame, and the number of patches that voting marks before the absolute test.

    Args:
        maps: cached residuals.
        config: the `pseudo_masks` section.
        thresholds: of the absolute test; None leaves it out.
        window: window number of each frame, −1 for frames to leave out; `maps.window` by default.

    Returns:
        Masks (1 = transient, 255 = not computed), and the number of patches.

    Raises:
        ValueError: the residuals of a frame are not finite.
    """
    arrays = {name: maps.all(name) for name in ("d_dino", "d_ssim", "clusters")}
    masks = np.full(arrays["clusters"].shape, UNKNOWN, np.uint8)
    voted = 0
    # Windows with equally many targets are voted on together: `rows` [w, t] are their frames.
    for rows in window_rows(maps.window if window is None else window):
        flat = rows.ravel()
        d_dino, d_ssim, clusters = (arrays[name][flat] for name in ("d_dino", "d_ssim", "clusters"))
        _check_finite(maps, flat, d_dino, d_ssim)
        saliency = fuse(d_dino, d_ssim, maps.psnr[flat], config)
        # Fusion is per frame [f, g, g], voting per window [w, t, g, g].
        grid = (*rows.shape, *saliency.shape[1:])
        chosen = vote(saliency.reshape(grid), clusters.reshape(grid), config).reshape(clusters.shape)
        voted += int(chosen.sum())
        if thresholds is not None:
            scores = motion_score(d_dino, d_ssim, maps.psnr[flat], config, thresholds)
            chosen = apply_threshold(scores, clusters, chosen, config, thresholds)
        masks[flat] = chosen
    return masks, voted


def _check_finite(
    maps: ResidualMaps,
    frames: Int[np.ndarray, " f"],
    d_dino: Float[np.ndarray, "f g g2"],
    d_ssim: Float[np.ndarray, "f g g2"],
) -> None:
    """Refuse frames whose residuals are not finite; the message names the first one."""
    fine = np.isfinite(maps.psnr[frames])
    for values in (d_dino, d_ssim):
        fine &= np.isfinite(values).all(axis=(1, 2))
    if not fine.all():
        frame = int(frames[~fine].min())
        scene = int(np.searchsorted(maps.offsets, frame, side="right")) - 1
        raise ValueError(
            f"{maps.path}: the residuals of {int((~fine).sum())} frames contain NaN or infinity, the first "
            f"is frame {frame - int(maps.offsets[scene])} of {maps.scenes[scene]}; run the stage residuals again"
        )


def window_rows(window: Int[np.ndarray, " f"]) -> Iterator[Int[np.ndarray, "w t"]]:
    """Frames of the windows, in batches of windows with equally many targets.

    Args:
        window: number of each frame's window, −1 where it has none.
    """
    # Frames sorted by window, those without one dropped: each window is now one run of `order`.
    order = np.argsort(window, kind="stable")
    order = order[window[order] >= 0]
    _, starts, counts = np.unique(window[order], return_index=True, return_counts=True)
    # Runs of equal length stack to a rectangle [w, t].
    for targets in np.unique(counts):
        first = starts[counts == targets]
        rows = order[first[:, None] + np.arange(targets)]
        for start in range(0, len(rows), _WINDOWS_AT_ONCE):
            yield rows[start : start + _WINDOWS_AT_ONCE]
