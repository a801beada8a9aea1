"""Jobs of stage 2 from cached maps only, without torch: the list of residuals, thresholds and voting.

Sources: docs/method.md#calibration, docs/method.md#voting.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildrayzer.config.sections.masks import PseudoMasksConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.io.digests import digest_json
from wildrayzer.io.part_lists import part_path
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.manifest import Manifest, again, made_part
from wildrayzer.pseudo_masks.cache.part import CachePart
from wildrayzer.pseudo_masks.cache.receipts import read_receipts
from wildrayzer.pseudo_masks.cache.statistics import mask_summary
from wildrayzer.pseudo_masks.cache.writer import CacheWriter, part_key
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.pseudo_masks.patch_masks import PREDICTION_DIGESTS, calibrate_on, check_thresholds, vote_frames
from wildrayzer.run.stage_versions import STAGE_VERSIONS

STAGE_VERSION = STAGE_VERSIONS["pseudo_masks"]


def list_residuals(
    receipt_paths: Sequence[str | Path],
    *,
    store_path: str | Path,
    windows_path: str | Path,
    out_path: str | Path,
    psnr_filter: float = 17.0,
) -> None:
    """Check that the residuals of all parts of a split are there, once and complete, and write their manifest.

    Args:
        receipt_paths: receipts of `compute_residuals`, of all its jobs.
        store_path: frames of the split.
        windows_path: window list of the split.
        out_path: the manifest; the parts lie in the folder beside it.
        psnr_filter: in dB; the summary gives the share of frames over it, which train the motion head.

    Raises:
        ValueError: a part is missing, occurs twice, is damaged, or belongs to another split or window list; or parts
            were made by different renderers or options.
    """
    store, windows = FrameStore(store_path), WindowList.load(windows_path)
    keys = read_receipts(receipt_paths, parts=len(store.parts), stage="residuals")
    parts = []
    for number, (key, of_store) in enumerate(zip(keys, store.parts, strict=True)):
        path = part_path(out_path, key)
        part = CachePart(path, "residuals", fix=again("residuals", path))
        expected = {"store": of_store.key, "windows": windows.of_part(of_store).digest}
        for name, value in expected.items():
            if part.digests.get(name) != value:
                raise ValueError(
                    f"{path} does not belong to part {number} of {store.path}: {name} is {part.digests.get(name)}, "
                    f"expected {value}; {part.fix}"
                )
        parts.append(part)
    computed = _sum(parts, "frames_computed")
    kept = sum(int((part.rows("psnr", 0, part.num_frames) > psnr_filter).sum()) for part in parts)
    summary = {
        "source": parts[0].about["source"],
        "backbone": parts[0].about["backbone"],
        "windows": len(windows),
        "clips_skipped": len(windows.skipped),
        "frames": store.num_frames,
        "frames_computed": computed,
        "mean_psnr": _ratio(_sum(parts, "psnr_sum"), computed),
        "kept_share": _ratio(kept, computed),
        "psnr_filter": psnr_filter,
    }
    whole = {"store": store.digest, "windows": windows.digest}
    Manifest.of_parts("residuals", parts, digests=whole, summary=summary).save(out_path)


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
    """Patch masks of every computed frame, part by part, and their manifest; parts that are there stay.

    Args:
        residuals_path: manifest of the split's residuals.
        config: the `pseudo_masks` section.
        out_path: manifest of the patch masks; the parts lie in the folder beside it.
        thresholds_path: file of `calibrate_threshold`; needed unless `absolute_test` is `off`.

    Raises:
        ValueError: damaged residuals, or thresholds that are missing or were made with other options or by another
            renderer.
    """
    maps = ResidualMaps(residuals_path)
    thresholds = _thresholds(thresholds_path, config, maps)
    shared = {
        **{name: maps.digests[name] for name in PREDICTION_DIGESTS},
        "thresholds": thresholds.digest if thresholds else "none",
        "options": digest_json(config.model_dump(mode="json")),
        "voting": str(STAGE_VERSION),
    }
    parts = []
    for listed in maps.parts:
        digests = {**shared, "residuals": listed.entry.key, "store": listed.entry.digests["store"]}
        part = made_part(out_path, "patch_masks", digests, stage=PatchMasks.stage)
        if part is None:
            # A part is read like a split of its own: windows never reach over the end of a part.
            own = ResidualMaps(listed.path)
            part = _vote_part(part_path(out_path, part_key("patch_masks", digests)), own, config, thresholds, digests)
        parts.append(part)
    whole = {"residuals": maps.digest, "store": maps.digests["store"]}
    summary = {
        **mask_means(parts),
        "coverage_of_voting_alone": _sum(parts, "voted") / max(1, _sum(parts, "values")),
        "absolute_test": config.absolute_test,
        "mean_psnr": _ratio(_sum(parts, "psnr_sum"), _sum(parts, "frames_computed")),
    }
    Manifest.of_parts("patch_masks", parts, digests=whole, summary=summary).save(out_path)


def _vote_part(
    path: Path,
    maps: ResidualMaps,
    config: PseudoMasksConfig,
    thresholds: AbsoluteThresholds | None,
    digests: dict[str, str],
) -> CachePart:
    masks, voted = vote_frames(maps, config, thresholds)
    with CacheWriter(
        path,
        "patch_masks",
        frames=maps.num_frames,
        sizes=maps.sizes,
        digests=digests,
        scenes=maps.scenes,
        offsets=maps.offsets,
        about={**maps.about, "pseudo_masks": config.model_dump(mode="json")},
    ) as writer:
        writer.append(mask=masks)
        psnr = float(maps.psnr[maps.window >= 0].sum(dtype=np.float64))
        writer.summary = {**mask_summary(masks), "voted": voted, "psnr_sum": psnr}
    return CachePart(path, "patch_masks", fix=again(PatchMasks.stage, path))


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


def mask_means(parts: Iterable[CachePart]) -> dict[str, Any]:
    """Means over the computed frames of all parts, from their summaries."""
    parts = list(parts)
    computed = _sum(parts, "frames_computed")
    return {
        "frames_computed": computed,
        "coverage": _ratio(_sum(parts, "marked"), _sum(parts, "values")),
        "empty_share": _ratio(_sum(parts, "empty"), computed),
    }


def _sum(parts: Iterable[CachePart], name: str) -> int | float:
    return sum(part.summary[name] for part in parts)


def _ratio(total: int | float, count: int | float) -> float | None:
    """Mean, or null if there is nothing to average."""
    return total / count if count else None
