"""What is drawn for a step beside its samples: masked tokens, and the crops of the crop pretext.

Token masks serve masked reconstruction (docs/method.md#masked-reconstruction). The crop pretext is a warm-up of the
pose head that needs no labels; it differs from the paper (docs/deviations.md). Two crops of one frame are shown as two
views, and the pose head must predict their known offset as a sideways translation without rotation. This teaches the
camera encoder to compare places of content before there is a renderer to learn from.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from wildrayzer.config import CropPretextConfig
from wildrayzer.geometry.cameras import relative_to
from wildrayzer.models import WildRayZer

_DEPTH = 3.0
"""Depth in scene units at which an offset of the image is turned into a translation."""
_FOCAL = 1.25
"""Normalised focal length of that depth plane."""


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


def draw_crops(
    generator: np.random.Generator, *, batch: int, views: int, config: CropPretextConfig
) -> tuple[Int[Tensor, " b"], Float[Tensor, "b 2 2"]]:
    """The view that each sample is cropped from, and `crop_offsets`."""
    chosen = torch.from_numpy(generator.integers(views, size=batch))
    return chosen, crop_offsets(generator, batch, config).transpose(0, 1)


def crop_offsets(generator: np.random.Generator, batch: int, config: CropPretextConfig) -> Float[Tensor, "2 b 2"]:
    """Centres of the two crops of every frame, as shares of half the frame, x before y."""
    reach = min(config.max_offset, 1.0 - config.zoom)
    return torch.from_numpy(generator.uniform(-reach, reach, (2, batch, 2)).astype(np.float32))


def offsets_to_translation(offsets: Float[Tensor, "2 b 2"], zoom: float) -> Float[Tensor, "b 3"]:
    """Camera translation of the second crop against the first, OpenCV axes: a crop further right, a camera moved right.

    An offset of the whole crop's width is `_DEPTH / _FOCAL` scene units.
    """
    shift = (offsets[1] - offsets[0]) / zoom * 0.5 / _FOCAL * _DEPTH
    return torch.cat([shift, torch.zeros_like(shift[:, :1])], dim=1)


def crop_pretext_loss(
    model: WildRayZer,
    images: Float[Tensor, "b v 3 h w"],
    views: Int[Tensor, " b"],
    offsets: Float[Tensor, "b 2 2"],
    *,
    zoom: float,
) -> Float[Tensor, ""]:
    """Squared error of the predicted relative camera of two crops of one view of each sample; see `draw_crops`."""
    frames = images[torch.arange(len(images), device=images.device), views]
    pairs = offsets.transpose(0, 1)
    crops = torch.stack([_crop(frames, offset, zoom) for offset in pairs], dim=1)
    c2w = model.predict_cameras(crops, model.tokenize(crops), num_inputs=1).c2w.float()
    if model.config.camera_head == "pi3":
        # Its cameras have a free frame; in the others the first crop's camera is the identity already.
        with torch.autocast(c2w.device.type, enabled=False):
            c2w = relative_to(c2w, 0)
    c2w = c2w[:, 1]
    translation = (c2w[:, :3, 3] - offsets_to_translation(pairs, zoom)).square().sum(1).mean()
    rotation = (c2w[:, :3, :3] - torch.eye(3, device=c2w.device)).square().sum((1, 2)).mean()
    return translation + rotation


def _crop(frames: Float[Tensor, "b 3 h w"], centre: Float[Tensor, "b 2"], zoom: float) -> Float[Tensor, "b 3 h w"]:
    """A crop of `zoom` times the frame's side around `centre`, enlarged to the frame's size."""
    size = frames.shape[-1]
    places = (torch.arange(size, device=frames.device) + 0.5) / size * 2.0 - 1.0
    y, x = torch.meshgrid(places, places, indexing="ij")
    grid = torch.stack([x, y], -1)[None] * zoom + centre[:, None, None]
    return functional.grid_sample(frames, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
