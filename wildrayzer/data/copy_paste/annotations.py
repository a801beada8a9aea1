"""COCO annotation files as tools write them: objects with outlines that can be used, and the rest counted by reason.

Every lack costs its object and never the set: tools leave out keys, write ids as text, or leave outlines without area.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wildrayzer.data.readers.pixels import MOST_PIXELS
from wildrayzer.io.files import read_json
from wildrayzer.io.printable import is_file_name

_FIX = "export it again as COCO instances: {images: […], annotations: […], categories: […]}"
_CROWD = ("1", "1.0", "true")
"""Values of `iscrowd` that say so, as text."""


class _UnusableError(Exception):
    """An object that cannot be cut out; the text is the reason to count by."""


@dataclass(frozen=True)
class AnnotatedObject:
    """An object of an annotation file."""

    file_name: str
    """Of its picture, relative to the folder of pictures."""
    size: tuple[int, int]
    """Rows and columns of the picture, as annotated."""
    counts: bytes
    """Its pixels as COCO's compressed run lengths."""


@dataclass(frozen=True)
class Annotations:
    """What an annotation file holds of some supercategories, in the order of the pictures' ids."""

    objects: list[AnnotatedObject]
    skipped: Counter[str]
    """Objects that cannot be used, by reason."""
    known: set[str]
    """Supercategories of the file."""


def read_annotations(path: str | Path, supercategories: tuple[str, ...]) -> Annotations:
    """The objects of these supercategories, crowds left out.

    A category without a supercategory counts as one of its own name.

    Raises:
        ValueError: the file is missing or no annotation file; says what it lacks.
    """
    document = read_json(path, fix=_FIX)
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds a {type(document).__name__} at the top; {_FIX}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise ValueError(f"{path} has no list {key!r}; {_FIX}")
    groups = {
        _key(category.get("id")): str(category.get("supercategory") or category.get("name"))
        for category in document["categories"]
        if isinstance(category, dict)
    }
    wanted = {key for key, group in groups.items() if group in supercategories}
    images = {_key(image.get("id")): image for image in document["images"] if isinstance(image, dict)}
    skipped: Counter[str] = Counter()
    found: dict[str, list[AnnotatedObject]] = {}
    for annotation in document["annotations"]:
        category = _key(annotation.get("category_id")) if isinstance(annotation, dict) else ""
        if not isinstance(annotation, dict):
            skipped["annotation is no object"] += 1
        elif category not in groups:
            skipped["category has no entry"] += 1
        elif category in wanted and str(annotation.get("iscrowd")).lower() not in _CROWD:
            key = _key(annotation.get("image_id"))
            try:
                found.setdefault(key, []).append(_object(annotation, images.get(key)))
            except _UnusableError as error:
                skipped[str(error)] += 1
    objects = [one for key in sorted(found, key=_by_number) for one in found[key]]
    return Annotations(objects, skipped, set(groups.values()))


def _key(value: Any) -> str:
    """An id as text: tools write the same one as 1, 1.0 or "1"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _by_number(key: str) -> tuple[int, int, str]:
    """Sorting key of ids: numbers in numerical order, then other text."""
    return (0, int(key), "") if key.isdecimal() and len(key) < 30 else (1, 0, key)


def _object(annotation: Mapping[str, Any], image: Mapping[str, Any] | None) -> AnnotatedObject:
    if image is None:
        raise _UnusableError("image has no entry")
    name, size = image.get("file_name"), (image.get("height"), image.get("width"))
    if not isinstance(name, str):
        raise _UnusableError("image has no file_name")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _UnusableError("file_name leaves the folder of images")
    if not path.parts or not all(map(is_file_name, path.parts)):
        raise _UnusableError("image has no file_name")
    height, width = map(_whole, size)
    if not 0 < height * width <= MOST_PIXELS or height < 0:
        raise _UnusableError("image has no width and height")
    return AnnotatedObject(name, (height, width), _runs(annotation.get("segmentation"), height, width))


def _whole(value: Any) -> int:
    """A whole number, as some tools write it with a point; 0 for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else 0


def _runs(outline: Any, height: int, width: int) -> bytes:
    """Compressed run lengths of an outline: polygons, or run lengths of either form."""
    from pycocotools import mask

    if isinstance(outline, list):
        polygons = list(_polygons(outline, height, width))
        if not polygons:
            raise _UnusableError("outline has no area")
        runs = mask.merge(mask.frPyObjects(polygons, height, width))
        return bytes(runs["counts"])
    if not isinstance(outline, dict):
        raise _UnusableError("object has no outline")
    counts = outline.get("counts")
    if outline.get("size") != [height, width]:
        raise _UnusableError("run lengths are of another size than the image")
    lengths: Any = list(_lengths(counts)) if isinstance(counts, str) and counts.isascii() else counts
    if not isinstance(lengths, list) or not all(length == 0 or _whole(length) > 0 for length in lengths):
        raise _UnusableError("run lengths are no whole numbers")
    lengths = [_whole(length) for length in lengths]
    if sum(lengths) != height * width:
        raise _UnusableError("run lengths do not fill the image")
    return bytes(mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)["counts"])


def _polygons(outline: list[Any], height: int, width: int) -> Iterator[list[float]]:
    """The polygons with an area; one that is not in a list of polygons is taken as the only one."""
    for polygon in [outline] if outline and not isinstance(outline[0], list) else outline:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            continue
        if not all(type(value) in (int, float) for value in polygon):
            continue
        # Far outside, drawing the polygon would take for ever.
        if all(-width <= x <= 2 * width for x in polygon[::2]) and all(
            -height <= y <= 2 * height for y in polygon[1::2]
        ):
            yield polygon


def _lengths(text: str) -> Iterator[int]:
    """Run lengths of COCO's compressed form: 5 bits a character from 48 on, bit 6 of it set where more follow.

    From the fourth on a number is the difference to the one before the last. An early end gives -1.
    """
    found: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place == len(text):
                yield -1
                return
            digit = ord(text[place]) - 48
            value |= (digit & 0x1F) << shift
            more = bool(digit & 0x20)
            place, shift = place + 1, shift + 5
            if not more and digit & 0x10:
                value |= -1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        yield found[-1]
