"""Caches of earlier versions, one Zarr group per split, become splits of one part."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wildrayzer.io.part_lists import part_path
from wildrayzer.io.validated import read_validated
from wildrayzer.pseudo_masks.cache.arrays import arrays_of
from wildrayzer.pseudo_masks.cache.cache import PatchMasks
from wildrayzer.pseudo_masks.cache.location import CacheLocation
from wildrayzer.pseudo_masks.cache.manifest import Manifest, again, is_manifest
from wildrayzer.pseudo_masks.cache.part import CachePart
from wildrayzer.pseudo_masks.cache.statistics import mask_summary, refinement_disagreement
from wildrayzer.pseudo_masks.cache.writer import CacheWriter

_STAGES = {"residuals": "residuals", "patch_masks": "pseudo_masks", "pixel_masks": "refine"}
"""Stage that makes each kind of group, in this order."""
_FRAMES_AT_ONCE = 512


def adopt_cache(folder: str | Path) -> None:
    """Make every group of an earlier version the only part of a manifest, with the same values and the same digest.

    The values are written again, since parts also store statistics of their frames. Then the earlier group is removed.
    What has a manifest, or is not there, stays as it is.

    Args:
        folder: of the cache.

    Raises:
        ValueError: a group, or the summary beside it, is damaged or missing.
    """
    for kind, stage in _STAGES.items():
        manifest = Path(folder) / f"{kind}.json"
        group = manifest.with_suffix(".zarr")
        if group.exists() and not is_manifest(manifest):
            part = CachePart(group, kind, fix=again(stage, group))
            means = _earlier_means(manifest)
            path = part_path(manifest, part.key)
            _copy(part, kind, path, means)
            made = CachePart(path, kind, fix=part.fix)
            # All digests are those of the whole split, and each later part has its own.
            Manifest.of_parts(kind, [made], digests=part.digests, summary=means).save(manifest)
        # also where an earlier call was stopped before this
        shutil.rmtree(group, ignore_errors=True)


def _earlier_means(path: Path) -> dict[str, Any]:
    """The summary that lay beside a group."""
    if not path.is_file():
        raise ValueError(f"{path}: the summary of {path.stem}.zarr is missing; copy it too")
    means = read_validated(path, dict, fix="copy it again")
    return {name: value for name, value in means.items() if name != "digests"}


def _copy(part: CachePart, kind: str, path: Path, means: Mapping[str, Any]) -> None:
    # An ablation of the refinement shares the patch masks of its run.
    coarse = CacheLocation.of(part.path.parent).group("patch_masks")
    patches = PatchMasks(coarse) if kind == "pixel_masks" else None
    counts: Counter[str] = Counter()
    with CacheWriter(
        path,
        kind,
        frames=part.num_frames,
        sizes=part.sizes,
        digests=part.digests,
        scenes=part.scenes,
        offsets=np.cumsum([0, *part.lengths]),
        about=part.about,
    ) as writer:
        for start in range(0, part.num_frames, _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, part.num_frames)
            blocks = {name: part.rows(name, start, stop) for name in arrays_of(kind, 1)}
            if patches is not None:
                apart = refinement_disagreement(patches.span("mask", start, stop), blocks["mask"])
                blocks["disagreement"] = apart.astype(np.float32)
            writer.append(**blocks)
            counts.update(_counts(blocks))
        writer.summary = dict(counts) | _counts_of_means(kind, means, counts)


def _counts(blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Counts of `CacheWriter.summary` that the values tell."""
    if "mask" in blocks:
        return mask_summary(blocks["mask"])
    psnr = blocks["psnr"][blocks["window"] >= 0]
    return {"frames_computed": len(psnr), "psnr_sum": float(psnr.sum(dtype=np.float64))}


def _counts_of_means(kind: str, means: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    """The other counts, from the summary that lay beside the group."""
    try:
        if kind == "residuals":
            return {name: int(means[name]) for name in ("windows", "clips_skipped")}
        if kind == "patch_masks":
            voted = round(means["coverage_of_voting_alone"] * counts["values"])
            return {"voted": voted, "psnr_sum": (means["mean_psnr"] or 0.0) * counts["frames_computed"]}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{kind}.json: the summary of an earlier version lacks or changes {error}; copy it again"
        ) from None
    return {}
