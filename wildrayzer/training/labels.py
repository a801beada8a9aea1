"""Pseudo-masks as training labels."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from wildrayzer.io.digests import digest_json
from wildrayzer.pseudo_masks.cache.cache import PixelMasks, ResidualMaps


class PseudoLabels:
    """Pixel masks and rendering PSNR of the dynamic split, by global frame number.

    Args:
        folder: pseudo-mask cache with `residuals.zarr` and `pixel_masks.zarr`.
        residuals: residual maps that lie elsewhere, as an ablation's do; None takes those of `folder`.
        frames: frames of the split's store; a cache of another number is refused.
        preload_mb: masks up to this size are held in memory.

    Raises:
        ValueError: a part of the cache is missing, unfinished, or of another split.
    """

    def __init__(
        self, folder: str | Path, *, frames: int, preload_mb: int = 0, residuals: str | Path | None = None
    ) -> None:
        maps = ResidualMaps(residuals or Path(folder) / "residuals.zarr")
        self._pixels = PixelMasks(
            Path(folder) / "pixel_masks.zarr", expect={"residuals": maps.digest}, preload_mb=preload_mb
        )
        if not self._pixels.num_frames == maps.num_frames == frames:
            raise ValueError(
                f"{folder} has masks of {self._pixels.num_frames} and residuals of {maps.num_frames} frames, but "
                f"the split has {frames}; run the stages residuals to refine again"
            )
        self._psnr = maps.psnr
        self.digest = digest_json([self._pixels.digest, maps.digest])

    def read(self, frames: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w"]:
        """Pixel masks: 1 = transient, 255 = not computed."""
        return self._pixels.read(frames)

    def psnr(self, frames: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Rendering PSNR in dB of the frozen renderer; NaN = not computed."""
        return self._psnr[frames]
