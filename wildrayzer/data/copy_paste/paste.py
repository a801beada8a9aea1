"""Copy-paste augmentation with COCO cut-outs (docs/method.md#copy-paste)."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.data.copy_paste.cutouts import Cutout, CutoutLibrary


@dataclass(frozen=True)
class _Placed:
    colour: UInt8[np.ndarray, "h w 3"]
    alpha: Float32[np.ndarray, "h w 1"]
    mask: UInt8[np.ndarray, "h w"]


def _place(rng: np.random.Generator, cutout: Cutout, side: int, config: PasteConfig) -> _Placed:
    """A cut-out at a random place and size on an empty frame."""
    height, width = cutout.mask.shape
    area = rng.uniform(config.min_area, config.max_area) * side * side
    # The share is the box's; very long boxes would not fit, so their shape yields.
    aspect = float(np.clip(width / height, area / side**2, side**2 / area))
    size = np.array([np.sqrt(area * aspect), np.sqrt(area / aspect)])
    centre = rng.uniform(config.margin, 1 - config.margin, 2) * side
    mirror = rng.random() < 0.5
    scale = size / [width, height]
    matrix = np.zeros((2, 3))
    matrix[0, 0], matrix[1, 1] = scale
    matrix[:, 2] = centre - scale * np.array([width, height]) / 2 + (scale - 1) / 2
    image, mask = cutout.image, cutout.mask
    if mirror:
        image, mask = image[:, ::-1], mask[:, ::-1]
    colour = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    soft = cv2.warpAffine(np.ascontiguousarray(mask * np.float32(1)), matrix, (side, side), flags=cv2.INTER_LINEAR)
    binary = (soft >= 0.5).astype(np.uint8)
    alpha = binary.astype(np.float32)
    if config.edge_sigma > 0:
        alpha = cv2.GaussianBlur(alpha, (0, 0), config.edge_sigma, borderType=cv2.BORDER_REPLICATE)
    return _Placed(colour, alpha[..., None], binary)


def _draw_objects(rng: np.random.Generator, library: CutoutLibrary, side: int, config: PasteConfig) -> list[_Placed]:
    count = int(rng.integers(config.min_objects, config.max_objects + 1))
    return [_place(rng, library.draw(rng), side, config) for _ in range(count)]


def paste(
    rng: np.random.Generator, frames: UInt8[np.ndarray, "v h w 3"], library: CutoutLibrary, config: PasteConfig
) -> tuple[UInt8[np.ndarray, "v h w 3"], UInt8[np.ndarray, "v h w"]]:
    """Paste 1–2 objects on every view; returns the pasted views and their masks (1 = pasted).

    A share `config.per_view` of samples gets other objects in every view, the rest the same objects in all views,
    at a place and size of their own in each. Edges are blended with a Gaussian; the mask is the outline before it.
    """
    assert frames.shape[1] == frames.shape[2]  # stored frames are square
    side = frames.shape[1]
    pasted, masks = frames.copy(), np.zeros(frames.shape[:3], np.uint8)
    per_view = rng.random() < config.per_view
    count = int(rng.integers(config.min_objects, config.max_objects + 1))
    same = [library.draw(rng) for _ in range(count)]
    for view in range(len(frames)):
        objects = (
            _draw_objects(rng, library, side, config)
            if per_view
            else [_place(rng, cutout, side, config) for cutout in same]
        )
        for placed in objects:
            blended = placed.alpha * placed.colour + (1 - placed.alpha) * pasted[view]
            pasted[view] = np.round(blended).astype(np.uint8)
            masks[view] |= placed.mask
    return pasted, masks
