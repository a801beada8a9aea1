"""Refinement jobs: pixel masks of a split, in one job or in parts that another job joins; no GPU.

Source: docs/method.md#refinement.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track

from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.data.frame_store.store import PRELOAD_MB, FrameStore
from wildrayzer.images import UNKNOWN
from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import write_json
from wildrayzer.pseudo_masks.cache.cache import PatchMasks
from wildrayzer.pseudo_masks.cache.part_stores import MaskPart, joined_attributes, open_mask_parts, part_frames
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.pseudo_masks.patch_masks import PREDICTION_DIGESTS
from wildrayzer.pseudo_masks.refinement import Job, refine_frames
from wildrayzer.run.stage_versions import STAGE_VERSIONS

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
    """Pixel masks of every frame, on `workers` threads, with a summary as JSON beside them.

    Raises:
        ValueError: damaged patch masks, or patch masks of another frame store.
    """
    patches, store = _open(patch_masks_path, store_path)
    masks = _refined(patches, store, config, range(patches.num_frames), workers)
    _write(out_path, masks, frames=patches.num_frames, **_attributes(patches, store, config))


def refine_part(
    *,
    patch_masks_path: str | Path,
    store_path: str | Path,
    config: RefineConfig,
    out_path: str | Path,
    part: int,
    parts: int,
    workers: int = 1,
) -> None:
    """Pixel masks of one part's frames, as a part store.

    Args:
        patch_masks_path: patch masks of the split.
        store_path: frames of the split.
        config: the `refine` section.
        out_path: folder of the part store, see `part_path`.
        part: number of the part, from 0.
        parts: number of parts; if the masks have fewer shards, some parts are empty.
        workers: threads.

    Raises:
        ValueError: damaged patch masks, or patch masks of another frame store.
    """
    patches, store = _open(patch_masks_path, store_path)
    frames = part_frames(patches.num_frames, part, parts)
    attributes = _attributes(patches, store, config)
    attributes["about"] |= {"part": part, "parts": parts}
    with CacheWriter(out_path, "pixel_masks_part", frames=len(frames), **attributes) as writer:
        first = frames.start
        for masks in _refined(patches, store, config, frames, workers):
            writer.append(mask=masks, frame_number=np.arange(first, first + len(masks)))
            first += len(masks)


def join_masks(part_paths: Sequence[str | Path], *, patch_masks_path: str | Path, out_path: str | Path) -> None:
    """Join all part stores of a split to `pixel_masks.zarr` and its summary; both equal those of `refine_masks`.

    Args:
        part_paths: part stores of `refine_part`, all of them.
        patch_masks_path: patch masks that they were refined from.
        out_path: folder of the joined group.

    Raises:
        ValueError: see `open_mask_parts`; also parts from other patch masks.
    """
    patches = PatchMasks(patch_masks_path)
    parts = open_mask_parts(part_paths, frames=patches.num_frames, expect={"patch_masks": patches.digest})
    _write(out_path, _joined(parts), frames=patches.num_frames, **joined_attributes(parts[0]))


def _open(patch_masks_path: str | Path, store_path: str | Path) -> tuple[PatchMasks, FrameStore]:
    store = FrameStore(store_path, preload_mb=PRELOAD_MB)
    return PatchMasks(patch_masks_path, expect={"store": store.digest}), store


def _attributes(patches: PatchMasks, store: FrameStore, config: RefineConfig) -> dict[str, Any]:
    """Attributes of a group of pixel masks, as arguments of `CacheWriter`."""
    options = config.model_dump(mode="json", exclude={"shards"})
    return {
        "sizes": {"row": store.image_size, "column": store.image_size},
        "digests": {
            "patch_masks": patches.digest,
            **{name: patches.digests[name] for name in ("residuals", "store", *PREDICTION_DIGESTS)},
            "options": digest_json(options),
            "refine": str(STAGE_VERSION),
        },
        "scenes": patches.scenes,
        "offsets": patches.offsets,
        "about": {**patches.about, "refine": options},
    }


def _refined(
    patches: PatchMasks, store: FrameStore, config: RefineConfig, frames: range, workers: int
) -> Iterator[UInt8[np.ndarray, "n h w"]]:
    """Pixel masks of a range of frames, some at a time, in order."""
    starts = range(frames.start, frames.stop, _FRAMES_AT_ONCE)
    refined = refine_frames(_jobs(patches, store, frames, starts), config, workers=workers)
    yield from track(refined, "refining masks", total=len(starts), console=Console(stderr=True))


def _jobs(patches: PatchMasks, store: FrameStore, frames: range, starts: range) -> Iterator[Job]:
    for start in starts:
        numbers = np.arange(start, min(start + _FRAMES_AT_ONCE, frames.stop))
        yield patches.span("mask", start, start + len(numbers)), store.read(numbers), numbers.tolist()


def _joined(parts: Sequence[MaskPart]) -> Iterator[UInt8[np.ndarray, "n h w"]]:
    for part in parts:
        for start in range(0, part.num_frames, _FRAMES_AT_ONCE):
            yield part.take("mask", np.arange(start, min(start + _FRAMES_AT_ONCE, part.num_frames)))


def _write(
    out_path: str | Path, blocks: Iterable[UInt8[np.ndarray, "n h w"]], *, frames: int, **attributes: Any
) -> None:
    """Write the group of all frames, and its summary."""
    marked, empty, computed, pixels = 0, 0, 0, 0
    with CacheWriter(out_path, "pixel_masks", frames=frames, **attributes) as writer:
        for masks in blocks:
            writer.append(mask=masks)
            known = masks[masks[:, 0, 0] != UNKNOWN]
            marked, pixels, computed = marked + int(known.sum()), pixels + known.size, computed + len(known)
            empty += int((~known.any(axis=(1, 2))).sum())
    summary = {
        "frames": frames,
        "frames_computed": computed,
        "coverage": marked / max(1, pixels),
        "empty_share": empty / max(1, computed),
        "digests": attributes["digests"],
    }
    write_json(Path(out_path).with_suffix(".json"), summary)
