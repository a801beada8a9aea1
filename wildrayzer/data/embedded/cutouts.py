"""The COCO stand-in: pictures of angular figures and photo-textured blobs, with a COCO annotation file.

Objects stand in procedural rooms. Figures count as persons, blobs as animals, flat ones as vehicles. Outlines are
polygons, read back through pycocotools like the real set's.

What moves in the clips are ellipsoids with saturated stripes, lit from above. By default no object here is like that:
figures are grey polygons lit from one side. `cutout_family: movers` takes them from the movers' generator instead, so
that pasted objects teach as much as real motion does.
"""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from rich.progress import track

from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit
from wildrayzer.data.embedded.raycast import render_clip
from wildrayzer.data.embedded.scene import Clip, Streams, actor_solids, draw_clip
from wildrayzer.data.embedded.splits import map_numbers
from wildrayzer.data.embedded.textures import photo_crop
from wildrayzer.data.embedded.write import encode_jpeg
from wildrayzer.io.files import write_json

SIDE = 128
"""Side of the pictures in pixels."""
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 2, "name": "car", "supercategory": "vehicle"},
    {"id": 3, "name": "cat", "supercategory": "animal"},
]
"""Categories of the annotation file."""
CROP_DETAIL = 24
"""Texels along the side of a blob's photograph."""
MIN_AREA = 200
"""Outlines of fewer pixels are left out."""

Picture = tuple[UInt8[np.ndarray, "h w 3"], list[tuple[int, UInt8[np.ndarray, "h w"]]]]


def _room(streams: Streams, config: EmbeddedConfig) -> tuple[Clip, EmbeddedConfig]:
    one = config.model_copy(update={"frames": 4, "slide": 0.0, "pan": 0.0})
    return draw_clip(streams, one, EmbeddedSplit(scenes=1), texture_side=SIDE), one


def _mover_figure(streams: Streams, config: EmbeddedConfig) -> Picture:
    """A figure from the movers' own generator."""
    clip, config = _room(streams, config)
    rng = streams.movers
    depth = rng.uniform(1.5, 2.0)
    place = np.tile([rng.uniform(-0.15, 0.15) * depth, rng.uniform(-0.1, 0.1) * depth, depth], (config.frames, 1))
    figure = actor_solids(rng, config, place, SIDE)
    clip = Clip(clip.room_half, clip.room_centre, clip.room_textures, (), figure, clip.c2w, clip.times)
    rendering = render_clip(clip, size=SIDE, supersampling=config.supersampling)
    return rendering.frames[0], [(1, rendering.masks[0])]


def _room_picture(streams: Streams, config: EmbeddedConfig) -> UInt8[np.ndarray, "side side 3"]:
    clip, config = _room(streams, config)
    return render_clip(clip, size=SIDE, supersampling=1).frames[0]


def _figure(streams: Streams, config: EmbeddedConfig) -> Picture:
    """A convex polygon of grey, lit from one side."""
    background, rng = _room_picture(streams, config), streams.movers
    sides = int(rng.integers(3, 7))
    angle = (np.arange(sides) + rng.uniform(-0.3, 0.3, sides) + rng.random()) * 2 * np.pi / sides
    radius = rng.uniform(0.28, 0.4) * SIDE
    corners = SIDE / 2 + radius * np.stack([rng.uniform(0.5, 1.0) * np.cos(angle), np.sin(angle)], 1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [cv2.convexHull(np.round(corners).astype(np.int32))], 1)
    grey = photo_crop(rng, detail=CROP_DETAIL).mean(2)
    grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)[..., None]
    # Light falls off linearly across the figure, from a direction of its own.
    direction = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[-0.5 : 0.5 : SIDE * 1j, -0.5 : 0.5 : SIDE * 1j]
    light = 0.7 + 0.6 * (np.cos(direction) * columns + np.sin(direction) * rows)[..., None]
    colour = np.clip((0.2 + 0.6 * grey) * light, 0, 1).repeat(3, axis=2)
    return np.where(mask[..., None] == 1, (colour * 255).astype(np.uint8), background), [(1, mask)]


def _blob_outline(rng: np.random.Generator, *, flat: bool) -> UInt8[np.ndarray, "h w"]:
    """A smooth star-shaped region around the middle."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 6):
        radius += rng.uniform(-0.5, 0.5) / wave * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    radius *= rng.uniform(0.28, 0.38) * SIDE / radius.max()
    squeeze = 0.55 if flat else rng.uniform(0.8, 1.2)
    points = np.stack([SIDE / 2 + radius * np.cos(angle), SIDE / 2 + squeeze * radius * np.sin(angle)], 1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask


def _blob(streams: Streams, config: EmbeddedConfig) -> Picture:
    background = _room_picture(streams, config)
    flat = bool(streams.movers.random() < 0.5)
    mask = _blob_outline(streams.movers, flat=flat)
    crop = photo_crop(streams.movers, detail=CROP_DETAIL)
    crop = np.clip(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)
    picture = np.where(mask[..., None] == 1, (crop * 255).astype(np.uint8), background)
    return picture, [(2 if flat else 3, mask)]


def _annotation(category: int, mask: UInt8[np.ndarray, "h w"]) -> dict[str, Any] | None:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [(outline[:, 0] + 0.5).ravel().tolist() for outline in outlines if len(outline) >= 3]
    area = int(mask.sum())
    if not polygons or area < MIN_AREA:
        return None
    left, top, width, height = cv2.boundingRect(mask)
    return {
        "category_id": category,
        "segmentation": polygons,
        "area": float(area),
        "bbox": [float(left), float(top), float(width), float(height)],
        "iscrowd": 0,
    }


def _make_picture(number: int, *, config: EmbeddedConfig) -> tuple[bytes, list[dict[str, Any]]]:
    streams = Streams.of((config.seed, 0xC0C0, number))
    figure = _mover_figure if config.cutout_family == "movers" else _figure
    picture, outlines = (figure if number % 2 == 0 else _blob)(streams, config)
    annotations = [_annotation(category, mask) for category, mask in outlines]
    return encode_jpeg(picture), [annotation for annotation in annotations if annotation is not None]


def write_cutouts(config: EmbeddedConfig, out: Path, *, threads: int = 1) -> None:
    """Write `train2014/*.jpg` and `annotations/instances_train2014.json` under `out`."""
    folder = out / "train2014"
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    pictures = map_numbers(partial(_make_picture, config=config), config.cutouts, threads=threads)
    for number, (jpeg, found) in enumerate(track(pictures, total=config.cutouts, description="cut-outs")):
        name = f"COCO_train2014_{number:012d}.jpg"
        (folder / name).write_bytes(jpeg)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for annotation in found:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    document = {"info": {"description": "procedural stand-in for COCO 2014"}, "licenses": [],
                "images": images, "annotations": annotations, "categories": CATEGORIES}  # fmt: skip
    write_json(out / "annotations" / "instances_train2014.json", document)
