"""Pictures that a scoring job keeps for the report."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wildrayzer.evaluation.methods.methods import WindowBatch
from wildrayzer.evaluation.metrics.view_synthesis import panel
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
        rendering: torch.Tensor,
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
            pictures = {name: value.numpy() for name, value in panel(rendering, batch, number, result=result).items()}
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
