"""Refinement jobs: pixel masks of a split, part by part; no GPU.

Source: docs/method.md#refinement.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.data.frame_store.manifest import StorePart
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.io.digests import digest_json
from wildrayzer.io.part_lists import part_path
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks
from wildrayzer.pseudo_masks.cache.manifest import Manifest, again, made_part
from wildrayzer.pseudo_masks.cache.part import CachePart
from wildrayzer.pseudo_masks.cache.receipts import share_of_parts, write_receipt
from wildrayzer.pseudo_masks.cache.statistics import mask_summary, refinement_disagreement
from wildrayzer.pseudo_masks.cache.writer import CacheWriter, part_key
from wildrayzer.pseudo_masks.patch_masks import PREDICTION_DIGESTS
from wildrayzer.pseudo_masks.refinement import Job, refine_frames
from wildrayzer.run.stage_versions import STAGE_VERSIONS
from wildrayzer.stages.patch_masks import mask_means

STAGE_VERSION = STAGE_VERSIONS["refine"]

_FRAMES_AT_ONCE = 32


def refine_masks(
    *,
    patch_masks_path: str | Path,
    store_path: str | Path,
    config: RefineConfig,
    out_path: str | Path,
    workers: int = 1,
) -> None:
    """Pixel masks of every frame, on `workers` threads, and their manifest; parts that are there stay.

    Args:
        patch_masks_path: manifest of the split's patch masks.
        store_path: frames of the split.
        config: the `refine` section.
        out_path: manifest of the pixel masks; the parts lie in the folder beside it.
        workers: threads.

    Raises:
        ValueError: damaged patch masks, or patch masks of another frame store.
    """
    patches, store = _open(patch_masks_path, store_path)
    parts = [_part(patches, store, number, config, out_path, workers) for number in range(len(patches.parts))]
    whole = {"patch_masks": patches.digest, **{name: patches.digests[name] for name in ("residuals", "store")}}
    summary = {"frames": patches.num_frames, **mask_means(parts)}
    Manifest.of_parts("pixel_masks", parts, digests=whole, summary=summary).save(out_path)


def refine_part(
    *,
    patch_masks_path: str | Path,
    store_path: str | Path,
    config: RefineConfig,
    out_path: str | Path,
    receipt_path: str | Path,
    job: int,
    jobs: int,
    workers: int = 1,
) -> None:
    """Pixel masks of one job's parts, for `refine_masks` to list.

    Args:
        patch_masks_path: manifest of the split's patch masks.
        store_path: frames of the split.
        config: the `refine` section.
        out_path: the manifest that `refine_masks` will write.
        receipt_path: JSON with the keys of this job's parts.
        job: number of the job, from 0.
        jobs: number of jobs that share the parts out; it changes no result.
        workers: threads.

    Raises:
        ValueError: damaged patch masks, or patch masks of another frame store.
    """
    patches, store = _open(patch_masks_path, store_path)
    numbers = share_of_parts(len(patches.parts), job, jobs)
    keys = {number: _part(patches, store, number, config, out_path, workers).key for number in numbers}
    write_receipt(receipt_path, keys, parts=len(patches.parts))


def _open(patch_masks_path: str | Path, store_path: str | Path) -> tuple[PatchMasks, FrameStore]:
    store = FrameStore(store_path)
    return PatchMasks(patch_masks_path, expect={"store": store.digest}), store


def _part(
    patches: PatchMasks, store: FrameStore, number: int, config: RefineConfig, out_path: str | Path, workers: int
) -> CachePart:
    """One part of the pixel masks, made if it is not there."""
    # Without a margin as in earlier versions, which had none.
    left_out = {"shards", *({"grabcut_margin"} if config.grabcut_margin is None else ())}
    listed, options = patches.parts[number], config.model_dump(mode="json", exclude=left_out)
    digests = {
        **{name: patches.digests[name] for name in PREDICTION_DIGESTS},
        "patch_masks": listed.entry.key,
        **{name: listed.entry.digests[name] for name in ("residuals", "store")},
        "options": digest_json(options),
        "refine": str(STAGE_VERSION),
    }
    part = made_part(out_path, "pixel_masks", digests, stage=PixelMasks.stage)
    if part is not None:
        return part
    path = part_path(out_path, part_key("pixel_masks", digests))
    about = {**patches.about, "refine": options}
    name = f"refining masks, part {number + 1}/{len(patches.parts)}"
    _make_part(path, PatchMasks(listed.path), store, store.parts[number], config, digests, about, workers, name)
    return CachePart(path, "pixel_masks", fix=again(PixelMasks.stage, path))


def _make_part(
    path: Path,
    patches: PatchMasks,
    store: FrameStore,
    place: StorePart,
    config: RefineConfig,
    digests: Mapping[str, str],
    about: Mapping[str, Any],
    workers: int,
    name: str,
) -> None:
    starts = range(0, patches.num_frames, _FRAMES_AT_ONCE)
    refined = refine_frames(_jobs(patches, store, place, starts), config, workers=workers)
    counts: dict[str, int] = {}
    with CacheWriter(
        path,
        "pixel_masks",
        frames=patches.num_frames,
        sizes={"row": store.image_size, "column": store.image_size},
        digests=digests,
        scenes=patches.scenes,
        offsets=patches.offsets,
        about=about,
    ) as writer:
        blocks = track(refined, name, total=len(starts), console=Console(stderr=True))
        for start, masks in zip(starts, blocks, strict=True):
            coarse = patches.span("mask", start, start + len(masks))
            writer.append(mask=masks, disagreement=refinement_disagreement(coarse, masks).astype(np.float32))
            for key, value in mask_summary(masks).items():
                counts[key] = counts.get(key, 0) + value
        writer.summary = counts


def _jobs(patches: PatchMasks, store: FrameStore, place: StorePart, starts: range) -> Iterator[Job]:
    for start in starts:
        numbers = np.arange(start, min(start + _FRAMES_AT_ONCE, patches.num_frames))
        # Seeds do not change when clips before the part are removed.
        seeds = (place.seed_frame + numbers).tolist()
        yield patches.span("mask", start, start + len(numbers)), store.read(place.first_frame + numbers), seeds
