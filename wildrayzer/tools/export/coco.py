"""COCO annotations with run-length encoded masks, as pycocotools reads and SAM's tools write them."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as rle

from wildrayzer.images import UNKNOWN
from wildrayzer.io.files import write_json
from wildrayzer.tools.export.export import Counts, Format
from wildrayzer.tools.export.pictures import write_image
from wildrayzer.tools.export.source import ExportSource

POLARITY = (
    "pixels of an annotation with iscrowd 0 are transient (one annotation per frame: the union of all that moves), "
    "those with iscrowd 1 are unknown, all others are static"
)
CATEGORY = {"id": 1, "name": "transient", "supercategory": "transient"}


def write_coco(source: ExportSource, scenes: list[str], folder: Path, counts: Counts, *, images: bool) -> None:
    """Write `annotations.json`, and with `images` the frames below `images/`.

    A frame without transient pixels has no annotation. COCO's evaluation ignores crowds, so unknown pixels are one.
    """
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for scene in scenes:
        for frame in source.read(scene):
            counts.add(frame)
            name = f"{scene}/{frame.name}.png"
            height, width = frame.image.shape[:2]
            listed.append({"id": len(listed) + 1, "file_name": name, "height": height, "width": width})
            if images:
                write_image(folder / "images" / name, frame.image)
            for value, crowd in ((1, 0), (UNKNOWN, 1)):
                if frame.mask is not None and (frame.mask == value).any():
                    known = {"id": len(annotations) + 1, "image_id": len(listed), "iscrowd": crowd}
                    annotations.append(known | _annotation(frame.mask == value))
    info = {"description": f"Masks of what moves: {source.masks}. {POLARITY[0].upper()}{POLARITY[1:]}."}
    document = {"info": info, "licenses": [], "categories": [CATEGORY], "images": listed, "annotations": annotations}
    write_json(folder / "annotations.json", document)


def _annotation(marked: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    coded = rle.encode(np.asfortranarray(marked.astype(np.uint8)))
    segmentation = {"size": [int(side) for side in coded["size"]], "counts": coded["counts"].decode("ascii")}
    return {
        "category_id": CATEGORY["id"],
        "area": int(marked.sum()),
        "bbox": [float(value) for value in rle.toBbox(coded)],
        "segmentation": segmentation,
    }


def coco_format(*, images: bool) -> Format:
    """COCO annotations, with or without the frames; see `write_coco`."""
    return Format("COCO", functools.partial(write_coco, images=images), POLARITY, cameras=False)
