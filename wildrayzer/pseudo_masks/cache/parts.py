"""Part stores of the residuals and of the refined masks, and what joins them.

Two processes never write the same shard: each job owns a whole part store, and one job joins them all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from wildrayzer.pseudo_masks.cache.arrays import LAYOUTS
from wildrayzer.pseudo_masks.cache.cache import CacheGroup
from wildrayzer.pseudo_masks.cache.writer import CacheWriter


class Part(CacheGroup):
    """What one job has made of a group; `frame_number` says which frames it holds."""

    kind: ClassVar[str]
    """What its values are, for messages."""


class ResidualPart(Part):
    """The residual maps of some of the windows."""

    layout = "residuals_part"
    stage = "residuals"
    kind = "residual"


class MaskPart(Part):
    """The pixel masks of some whole shards."""

    layout = "pixel_masks_part"
    stage = "refine"
    kind = "mask"


def part_path(folder: str | Path, part: int, parts: int, *, group: str = "residuals") -> Path:
    """Where part `part` (from 0) of `parts` of a group lies."""
    return Path(folder) / f"{group}.part-{part:05d}-of-{parts:05d}.zarr"


def part_frames(frames: int, part: int, parts: int) -> range:
    """Frames whose masks part `part` (from 0) of `parts` makes: whole shards of the joined masks, in order."""
    shard = LAYOUTS["pixel_masks"][0].shard
    shards = -(-frames // shard)
    start, stop = (min(frames, number * shards // parts * shard) for number in (part, part + 1))
    return range(start, stop)


def open_mask_parts(
    paths: Sequence[str | Path], *, frames: int, expect: Mapping[str, str] | None = None
) -> list[MaskPart]:
    """The parts of a split's pixel masks in the order of their frames, after checking that every frame is there once.

    Args:
        paths: all part stores.
        frames: frames of the split.
        expect: digests that every part must have.

    Raises:
        ValueError: a part is missing or there twice, parts are of different origin, or a frame is missing or there
            twice.
    """
    if not paths:
        raise ValueError("there are no mask parts to join; run the stage refine")
    parts = [MaskPart(path, expect=expect) for path in paths]
    _check_parts(parts)
    parts.sort(key=lambda part: part.about["part"])
    expected = 0
    for part in parts:
        for frame in part.all("frame_number").tolist():
            if frame < expected:
                raise ValueError(f"{part.path.name} holds frame {frame} a second time; run the stage refine again")
            if frame > expected:
                raise ValueError(f"frame {expected} is in no mask part; run the stage refine again")
            expected += 1
    if expected != frames:
        raise ValueError(f"mask parts hold {expected} frames, the split has {frames}; run the stage refine again")
    return parts


def join_parts(
    paths: Sequence[str | Path],
    out_path: str | Path,
    *,
    targets: Sequence[Int[np.ndarray, " _"]],
    expect: Mapping[str, str] | None = None,
) -> None:
    """Put the parts together as `residuals.zarr`, after checking that every window is there once, whole.

    Args:
        paths: all part stores.
        out_path: of the joined group.
        targets: global frame indices of each window's targets, by window number.
        expect: digests that every part must have.

    Raises:
        ValueError: a part is missing or there twice, parts are of different origin, or a window is missing, there
            twice or incomplete.
    """
    if not paths:
        raise ValueError("there are no residual parts to join; run the stage residuals")
    parts = [ResidualPart(path, expect=expect) for path in paths]
    _check_parts(parts)
    window = np.concatenate([part.all("window") for part in parts])
    frame = np.concatenate([part.all("frame_number") for part in parts])
    _check_windows(window, frame, targets, [(part.path.name, len(part.all("window"))) for part in parts])
    first = parts[0]
    total = int(first.offsets[-1])
    if len(frame) and not 0 <= int(frame.min()) <= int(frame.max()) < total:
        raise ValueError(f"residual parts hold frames outside the split's {total}; run the stage residuals again")
    joined = {}
    for spec in LAYOUTS["residuals"]:
        values = np.concatenate([part.all(spec.name) for part in parts])
        whole = np.full((total, *values.shape[1:]), spec.fill, dtype=spec.dtype)
        whole[frame] = values
        joined[spec.name] = whole
    with CacheWriter(out_path, "residuals", frames=total, **joined_attributes(first)) as writer:
        writer.append(**joined)


def joined_attributes(part: Part) -> dict[str, Any]:
    """What the joined group says of itself, as `CacheWriter` takes it, from any of its parts."""
    return {
        "sizes": part.sizes,
        "digests": part.digests,
        "scenes": part.scenes,
        "offsets": part.offsets,
        "about": {key: value for key, value in part.about.items() if key not in ("part", "parts")},
    }


def _check_parts(parts: Sequence[Part]) -> None:
    first = parts[0]
    count, kind, stage = first.about["parts"], first.kind, first.stage
    for part in parts:
        for name, value in first.digests.items():
            if part.digests.get(name) != value:
                raise ValueError(
                    f"{kind} parts do not belong together: {name} is {value} in {first.path.name} and "
                    f"{part.digests.get(name)} in {part.path.name}; run the stage {stage} again"
                )
        if part.about["parts"] != count or part.sizes != first.sizes:
            raise ValueError(
                f"{kind} parts do not belong together: {part.path.name} is one of {part.about['parts']} on a grid "
                f"{tuple(part.sizes.values())}, {first.path.name} one of {count} on {tuple(first.sizes.values())}"
            )
    numbers = sorted(part.about["part"] for part in parts)
    if missing := sorted(set(range(count)) - set(numbers)):
        raise ValueError(f"{kind} part {missing[0]} of {count} is missing; run the stage {stage} for it")
    if len(numbers) > count:
        raise ValueError(f"{len(numbers)} {kind} parts where {count} are expected; one is there twice")


def _check_windows(
    window: Int[np.ndarray, " m"],
    frame: Int[np.ndarray, " m"],
    targets: Sequence[Int[np.ndarray, " _"]],
    lengths: Sequence[tuple[str, int]],
) -> None:
    """Every window once, with each of its targets once."""
    owner = np.repeat([name for name, _ in lengths], [length for _, length in lengths])
    if len(window) and not 0 <= int(window.min()) <= int(window.max()) < len(targets):
        stray = (window < 0) | (window >= len(targets))
        raise ValueError(f"{owner[stray][0]} holds window {window[stray][0]}, the list has {len(targets)}")
    order = np.argsort(window, kind="stable")
    bounds = np.searchsorted(window[order], np.arange(len(targets) + 1))
    for number, expected in enumerate(targets):
        rows = order[bounds[number] : bounds[number + 1]]
        found = frame[rows]
        if not len(found):
            raise ValueError(f"window {number} is in no residual part; run the stage residuals again")
        if len(found) > len(np.unique(found)):
            where = " and ".join(dict.fromkeys(owner[rows].tolist()))
            raise ValueError(f"window {number} is there twice (in {where}); run the stage residuals again")
        if not np.array_equal(np.sort(found), np.sort(expected)):
            raise ValueError(f"window {number} has frames {found.tolist()}, the list says {expected.tolist()}")
    frames, counts = np.unique(frame, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"frame {frames[counts > 1][0]} is a target of several windows; make the window list again")
