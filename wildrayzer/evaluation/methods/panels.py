"""Pictures that a scoring job keeps for the report."""

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildrayzer.evaluation.window_batches import WindowBatch
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.models import ViewSynthesis

_WORST = 3


class Panels:
    """Pictures of the first scenes of a split, and of those that are rendered worst."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.first: list[dict[str, Any]] = []
        self.worst: list[tuple[float, dict[str, Any]]] = []

    def add(
        self,
        rendering: Float[Tensor, "b t 3 h w"],
        batch: WindowBatch,
        scores: dict[str, dict[str, list[float]]],
        result: ViewSynthesis | None,
    ) -> None:
        """Consider a batch; `scores` of `score_batch` rank its scenes, by the static region where there is one."""
        if not self.limit:
            return
        ranked = scores.get("static", scores.get("full", {}))
        unknown = np.full(len(batch.scenes), np.nan)
        psnr = np.reshape(ranked.get("psnr", unknown), (len(batch.scenes), -1))
        middle = batch.num_inputs + rendering.shape[1] // 2
        for number, scene in enumerate(batch.scenes):
            pictures = {name: value.numpy() for name, value in _panel(rendering, batch, number, result=result).items()}
            shown = {"scene": scene, "frame": int(batch.frames[number, middle]), **pictures}
            if len(self.first) < self.limit:
                self.first.append(shown)
            elif np.isfinite(psnr[number]).any():
                self.worst.append((float(psnr[number][np.isfinite(psnr[number])].mean()), shown))
        self.worst = sorted(self.worst, key=lambda entry: entry[0])[:_WORST]

    def write(self, path: str | Path) -> None:
        """Write all pictures as NPZ, first scenes first."""
        chosen = [*self.first, *(shown for _, shown in self.worst)]
        arrays: dict[str, Any] = {
            name: np.array([shown[name] for shown in chosen]) for name in (chosen[0] if chosen else {})
        }
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes_atomic(path, buffer.getvalue())


def _panel(
    rendering: Float[Tensor, "b t 3 h w"], batch: WindowBatch, window: int, *, result: ViewSynthesis | None = None
) -> dict[str, Tensor]:
    """One window's pictures for the report, uint8: inputs `[k h w 3]`, and of its middle target `[h w 3]` the frame as
    recorded, the truth and the rendering; `token_mask` `[k g g]`, 1 = input token replaced, where the method gates."""
    target = rendering.shape[1] // 2

    def picture(image: Tensor) -> Tensor:
        return (image.clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1).cpu()

    gated = {}
    if result is not None and result.token_mask is not None:
        mask = result.token_mask[window]
        gated["token_mask"] = mask.unflatten(-1, (math.isqrt(mask.shape[-1]), -1)).to(torch.uint8).cpu()
    return {
        **gated,
        "inputs": picture(batch.images[window, : batch.num_inputs]),
        "recorded": picture(batch.images[window, batch.num_inputs + target]),
        "truth": picture(batch.truth[window, target]),
        "rendering": picture(rendering[window, target]),
    }
