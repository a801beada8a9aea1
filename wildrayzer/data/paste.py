"""Copy-paste augmentation with COCO cut-outs (supplement A, joint training)."""

import contextlib
import io
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from wildrayzer.config.training import PasteConfig

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.01
"""Objects smaller than this share of their picture are too coarse to paste."""


@dataclass(frozen=True)
class Cutout:
    """An object's rectangle with the picture around it, and its outline (1 = object)."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class CutoutLibrary:
    """Cut-outs to draw from; `skipped` counts objects left out by reason."""

    cutouts: tuple[Cutout, ...]
    skipped: dict[str, int]

    def __len__(self) -> int:
        return len(self.cutouts)

    @classmethod
    def from_coco(
        cls, annotations: str | Path, images: str | Path, config: PasteConfig, max_size: int
    ) -> "CutoutLibrary":
        """Cut the objects of `config.categories` out of a COCO set, each at most `max_size` pixels a side.

        Raises:
            ValueError: the annotation file is missing or has no objects of these supercategories.
        """
        from pycocotools.coco import COCO

        if not Path(annotations).is_file():
            raise ValueError(f"data.coco.annotations = {annotations} does not exist; give the COCO annotation file")
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            coco = COCO(str(annotations))
        known = {category["supercategory"] for category in coco.loadCats(coco.getCatIds())}
        categories = coco.getCatIds(supNms=[name for name in config.categories if name in known])
        skipped: Counter[str] = Counter()
        cutouts = []
        wanted = coco.getAnnIds(catIds=categories, iscrowd=False) if known & set(config.categories) else []
        by_image: dict[int, list[dict]] = {}
        for annotation in coco.loadAnns(wanted):
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        for number, found in sorted(by_image.items()):
            file = Path(images) / coco.loadImgs(number)[0]["file_name"]
            picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if picture is None:
                skipped["image missing or unreadable"] += len(found)
                continue
            for annotation in found:
                cutout = _cut(picture[..., ::-1], coco.annToMask(annotation), max_size)
                if cutout is None:
                    skipped["too small"] += 1
                else:
                    cutouts.append(cutout)
        if not cutouts:
            raise ValueError(
                f"{annotations} gives no cut-outs of paste.categories = {list(config.categories)}: it knows "
                f"{sorted(known)}, skipped {dict(skipped)}; name supercategories it has, or mend data.coco.images"
            )
        return cls(tuple(cutouts), dict(skipped))


def _cut(picture: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"], max_size: int) -> Cutout | None:
    if mask.shape != picture.shape[:2] or mask.sum() < LEAST_SHARE * mask.size:
        return None
    left, top, width, height = cv2.boundingRect(mask)
    box = np.s_[top : top + height, left : left + width]
    scale = min(1.0, max_size / max(width, height))
    size = (max(round(width * scale), 2), max(round(height * scale), 2))
    image = cv2.resize(np.ascontiguousarray(picture[box]), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(np.ascontiguousarray(mask[box]) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    return Cutout(image, (small >= 128).astype(np.uint8))


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
    return [_place(rng, library.cutouts[rng.integers(len(library))], side, config) for _ in range(count)]


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
    same = [library.cutouts[rng.integers(len(library))] for _ in range(count)]
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
