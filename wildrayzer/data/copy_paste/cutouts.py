"""Cut-outs of a COCO set for copy-paste. Outlines are held in memory, pictures are read when an object is drawn."""

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.data.copy_paste.annotations import read_annotations

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.01
"""Objects smaller than this share of their picture are too coarse to paste."""
_BROKEN_IN_A_ROW = 20
"""Objects with broken pictures after which a draw gives up."""
_KEPT = 256
"""Cut-outs that a process keeps as pixels: every one of a small set, some 30 MB of COCO's."""


@dataclass(frozen=True)
class Cutout:
    """An object's rectangle with the picture around it, and its outline (1 = object)."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class Outline:
    """An object that is cut out of its picture when it is drawn, at most `max_size` pixels a side."""

    picture: Path
    size: tuple[int, int]
    """Rows and columns of the picture, as annotated."""
    counts: bytes
    """The object's pixels as COCO's compressed run lengths."""
    max_size: int


@dataclass(frozen=True)
class CutoutLibrary:
    """Objects to draw from; `skipped` counts those left out by reason."""

    objects: tuple[Cutout | Outline, ...]
    skipped: dict[str, int]

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, number: int) -> Cutout:
        """An object as pixels.

        Raises:
            ValueError: its picture is not readable any more, or of another size than annotated.
        """
        found = self.objects[number]
        return found if isinstance(found, Cutout) else _cut(found)

    def draw(self, rng: np.random.Generator) -> Cutout:
        """An object at random. One whose picture is broken is warned of, and the next one of the set is taken.

        Raises:
            ValueError: the pictures of many objects in a row are broken.
        """
        first = int(rng.integers(len(self)))
        for step in range(_BROKEN_IN_A_ROW):
            try:
                return self[(first + step) % len(self)]
            except ValueError as error:
                logger.warning("%s; the next object is taken", error)
                last = error
        raise last

    @classmethod
    def from_coco(
        cls, annotations: str | Path, images: str | Path, config: PasteConfig, max_size: int
    ) -> "CutoutLibrary":
        """The objects of `config.categories` of a COCO set, each to be cut out at most `max_size` pixels a side.

        Reads no picture: the objects of a set of COCO's size would fill memory as pixels, in every training process.

        Raises:
            ValueError: the annotation file is missing, no COCO file, or has no usable objects of these supercategories.
        """
        from pycocotools import mask as runs

        if not Path(annotations).is_file():
            raise ValueError(f"data.coco.annotations = {annotations} does not exist; give the COCO annotation file")
        found = read_annotations(annotations, config.categories)
        skipped, objects = found.skipped, []
        there: dict[str, bool] = {}
        for one in found.objects:
            picture, (height, width) = Path(images) / one.file_name, one.size
            if one.file_name not in there:
                there[one.file_name] = picture.is_file()
            if not there[one.file_name]:
                skipped["image missing"] += 1
            elif runs.area({"size": [height, width], "counts": one.counts}) < LEAST_SHARE * height * width:
                skipped["too small"] += 1
            else:
                objects.append(Outline(picture, one.size, one.counts, max_size))
        if not objects:
            raise ValueError(
                f"{annotations} gives no cut-outs of paste.categories = {list(config.categories)}: it knows "
                f"{sorted(found.known)}, skipped {dict(skipped)}; name supercategories it has, or mend data.coco.images"
            )
        logger.info("%d cut-outs of %s, skipped %s", len(objects), annotations, dict(skipped) or "none")
        return cls(tuple(objects), dict(skipped))


@functools.lru_cache(maxsize=_KEPT)
def _cut(outline: Outline) -> Cutout:
    from pycocotools import mask as runs

    # Annotations belong to the pixels as they are stored: an EXIF orientation must not turn them.
    picture = cv2.imread(str(outline.picture), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None or picture.shape[:2] != outline.size:
        found = "is no readable picture" if picture is None else f"has {picture.shape[0]}×{picture.shape[1]} pixels"
        raise ValueError(
            f"data.coco.images: {outline.picture} {found}, annotated are {outline.size[0]}×{outline.size[1]}; fetch it "
            "again, or take its objects out of data.coco.annotations"
        )
    mask = runs.decode({"size": list(outline.size), "counts": outline.counts})
    left, top, width, height = cv2.boundingRect(mask)
    box = np.s_[top : top + height, left : left + width]
    scale = min(1.0, outline.max_size / max(width, height))
    size = (max(round(width * scale), 2), max(round(height * scale), 2))
    image = cv2.resize(np.ascontiguousarray(picture[..., ::-1][box]), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(np.ascontiguousarray(mask[box]) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    return Cutout(image, (small >= 128).astype(np.uint8))
