"""Joining the part stores of the residual jobs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.io.provenance import write_json
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps
from wildrayzer.pseudo_masks.cache.parts import join_parts


def join_residuals(
    part_paths: Sequence[str | Path], *, windows_path: str | Path, out_path: str | Path, psnr_filter: float = 17.0
) -> None:
    """Join all part stores of a split to `residuals.zarr`; a summary goes beside it as JSON.

    Args:
        part_paths: of `compute_residuals`, all parts.
        windows_path: the split's window list.
        out_path: of the joined group.
        psnr_filter: in dB; the summary says which share of the frames exceeds it and will be learned from.

    Raises:
        ValueError: see `join_parts`; also parts of another window list.
    """
    windows = WindowList.load(windows_path)
    offsets = np.concatenate([[0], np.cumsum(windows.lengths)]).astype(np.int64)
    targets = [offsets[window.scene] + np.asarray(window.targets) for window in windows.windows]
    join_parts(part_paths, out_path, targets=targets, expect={"windows": windows.digest})
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
        "mean_psnr": mean_or_none(psnr),
        "kept_share": mean_or_none(psnr > psnr_filter),
        "psnr_filter": psnr_filter,
        "digests": maps.digests,
    }
    write_json(Path(out_path).with_suffix(".json"), summary)


def mean_or_none(values: np.ndarray) -> float | None:
    """Mean, or null where there is nothing."""
    return float(values.mean(dtype=np.float64)) if values.size else None
