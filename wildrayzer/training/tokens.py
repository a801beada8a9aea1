"""Token masks for masked reconstruction: clustered blocks or single tokens (docs/method.md#masked-reconstruction)."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor


def draw_token_mask(
    seed: list[int], *, batch: int, views: int, grid: int, share: float, clustered: bool
) -> Bool[Tensor, "b k n"]:
    """Masks that cover `share` of the tokens of every input view; True = masked.

    Args:
        seed: seeds of the draw, so that it is a function of (run seed, step).
        batch: b.
        views: input views k.
        grid: tokens along a side; n = grid².
        share: share of masked tokens, rounded to whole tokens.
        clustered: rectangular blocks of random place and aspect until the share is reached (the paper found them
            better), trimmed to exactly the share; else single tokens at random.
    """
    generator = np.random.default_rng(seed)
    count = round(share * grid * grid)
    masks = np.zeros((batch * views, grid * grid), dtype=bool)
    for row in masks:
        if clustered:
            _fill_with_blocks(row.reshape(grid, grid), count, generator)
        else:
            row[generator.choice(grid * grid, count, replace=False)] = True
    return torch.from_numpy(masks.reshape(batch, views, grid * grid))


def _fill_with_blocks(mask: np.ndarray, count: int, generator: np.random.Generator) -> None:
    grid = len(mask)
    while (missing := count - int(mask.sum())) > 0:
        area = generator.uniform(0.5, 1.0) * max(missing, 1)
        aspect = np.exp(generator.uniform(-np.log(2.0), np.log(2.0)))
        height = int(np.clip(round(np.sqrt(area * aspect)), 1, grid))
        width = int(np.clip(round(np.sqrt(area / aspect)), 1, grid))
        top, left = generator.integers(grid - height + 1), generator.integers(grid - width + 1)
        block = mask[top : top + height, left : left + width]
        places = np.argwhere(~block)[:missing]
        block[places[:, 0], places[:, 1]] = True
