"""Part stores of residuals and of pixel masks, and the checks before they are joined.

Two processes never write the same shard: each job writes a part store of its own, and one job joins them all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from wildrayzer.pseudo_masks.cache.arrays import ARRAYS
from wildrayzer.pseudo_masks.cache.cache import CacheGroup
from wildrayzer.pseudo_masks.cache.writer import CacheWriter


class Part(CacheGroup):
    """Part of a group, made by one job; `frame_number` says which frames it has."""

    content: ClassVar[str]
    """What its values are, for messages."""


class ResidualPart(Part):
    """The residual maps of some of the windows."""

    kind = "residuals_part"
    stage = "residuals"
    content = "residual"


class MaskPart(Part):
    """The pixel masks of some whole shards."""

    kind = "pixel_masks_part"
    stage = "refine"
    content = "mask"


def part_path(folder: str | Path, part: int, parts: int, *, group: str = "residuals") -> Path:
    """Path of part `part` (from 0) of `parts` of a group."""
    return Path(folder) / f"{group}.part-{part:05d}-of-{parts:05d}.zarr"


def part_frames(frames: int, part: int, parts: int) -> range:
    """Frames of part `part` (from 0) of `parts` of the pixel masks: whole shards of the joined masks, in order."""
    shard = ARRAYS["pixel_masks"][0].shard
    shards = -(-frames // shard)
    start, stop = (min(frames, number * shards // parts * shard) for number in (part, part + 1))
    return range(start, stop)


def open_mask_parts(
    paths: Sequence[str | Path], *, frames: int, expect: Mapping[str, str] | None = None
) -> list[MaskPart]:
    """The parts of a split's pixel masks, in the order of their frames; checks that they cover every frame once.

    Args:
        paths: all part stores.
        frames: number of frames of the split.
        expect: digests that every part must have.

    Raises:
        ValueError: a part or a frame is missing or occurs twice, or parts have different origins.
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
                raise ValueError(f"{part.path.name} has frame {frame} a second time; run the stage refine again")
            if frame > expected:
                raise ValueError(f"frame {expected} is in no mask part; run the stage refine again")
            expected += 1
    if expected != frames:
        raise ValueError(f"the mask parts have {expected} frames, the split has {frames}; run the stage refine again")
    return parts


def join_residual_parts(
    paths: Sequence[str | Path],
    out_path: str | Path,
    *,
    targets: Sequence[Int[np.ndarray, " _"]],
    expect: Mapping[str, str] | None = None,
) -> None:
    """Join residual parts to `residuals.zarr`, after checking that they cover every window once and completely.

    Args:
        paths: all part stores.
        out_path: folder of the joined group.
        targets: global frame indices of each window's targets, in the order of the windows.
        expect: digests that every part must have.

    Raises:
        ValueError: a part or a window is missing or occurs twice, a window is incomplete, or parts have different
            origins.
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
        raise ValueError(f"the residual parts have frames outside the split's {total}; run the stage residuals again")
    joined = {}
    for spec in ARRAYS["residuals"]:
        values = np.concatenate([part.all(spec.name) for part in parts])
        # Parts have their frames in the order of windows; scatter them to the order of the split.
        whole = np.full((total, *values.shape[1:]), spec.fill, dtype=spec.dtype)
        whole[frame] = values
        joined[spec.name] = whole
    with CacheWriter(out_path, "residuals", frames=total, **joined_attributes(first)) as writer:
        writer.append(**joined)


def joined_attributes(part: Part) -> dict[str, Any]:
    """Attributes of the joined group, as arguments of `CacheWriter`, from any of its parts."""
    return {
        "sizes": part.sizes,
        "digests": part.digests,
        "scenes": part.scenes,
        "offsets": part.offsets,
        "about": {key: value for key, value in part.about.items() if key not in ("part", "parts")},
    }


def _check_parts(parts: Sequence[Part]) -> None:
    first = parts[0]
    count, content, stage = first.about["parts"], first.content, first.stage
    for part in parts:
        for name, value in first.digests.items():
            if part.digests.get(name) != value:
                raise ValueError(
                    f"{content} parts do not belong together: {name} is {value} in {first.path.name} and "
                    f"{part.digests.get(name)} in {part.path.name}; run the stage {stage} again"
                )
        if part.about["parts"] != count or part.sizes != first.sizes:
            raise ValueError(
                f"{content} parts do not belong together: {part.path.name} is one of {part.about['parts']} on a grid "
                f"{tuple(part.sizes.values())}, {first.path.name} one of {count} on {tuple(first.sizes.values())}"
            )
    numbers = sorted(part.about["part"] for part in parts)
    if missing := sorted(set(range(count)) - set(numbers)):
        raise ValueError(f"{content} part {missing[0]} of {count} is missing; run the stage {stage} for it")
    if len(numbers) > count:
        raise ValueError(f"{len(numbers)} {content} parts where {count} are expected; one occurs twice")


def _check_windows(
    window: Int[np.ndarray, " m"],
    frame: Int[np.ndarray, " m"],
    targets: Sequence[Int[np.ndarray, " _"]],
    lengths: Sequence[tuple[str, int]],
) -> None:
    """Check that every window occurs once, with each of its targets once.

    Args:
        window: window number of every frame of all parts, one part after the other.
        frame: global index of every frame.
        targets: global frame indices of each window's targets.
        lengths: name and number of frames of every part.
    """
    # The name of each frame's part is for the messages.
    owner = np.repeat([name for name, _ in lengths], [length for _, length in lengths])
    if len(window) and not 0 <= int(window.min()) <= int(window.max()) < len(targets):
        stray = (window < 0) | (window >= len(targets))
        raise ValueError(f"{owner[stray][0]} has window {window[stray][0]}, the list has {len(targets)}")
    # Sort the frames by window: those of window i are the slice from bounds[i] to bounds[i + 1].
    order = np.argsort(window, kind="stable")
    bounds = np.searchsorted(window[order], np.arange(len(targets) + 1))
    for number, expected in enumerate(targets):
        rows = order[bounds[number] : bounds[number + 1]]
        frames = frame[rows]
        if not len(frames):
            raise ValueError(f"window {number} is in no residual part; run the stage residuals again")
        if len(frames) > len(np.unique(frames)):
            where = " and ".join(dict.fromkeys(owner[rows].tolist()))
            raise ValueError(f"window {number} occurs twice (in {where}); run the stage residuals again")
        if not np.array_equal(np.sort(frames), np.sort(expected)):
            raise ValueError(f"window {number} has frames {frames.tolist()}, the list says {expected.tolist()}")
    # Complete windows can still share a target, if the list itself is wrong.
    unique, counts = np.unique(frame, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"frame {unique[counts > 1][0]} is a target of several windows; make the window list again")
