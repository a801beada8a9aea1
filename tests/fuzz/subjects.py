"""What is mutated: one small, valid file of every kind that comes from outside, and the reader that it goes to."""

import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from tests.data.test_readers import Lvsm, chunk_scene
from tests.helpers.clips import write_clip
from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.data.copy_paste.cutouts import CutoutLibrary
from wildrayzer.data.ingest.media.sampling import SamplingOptions, VideoNotes
from wildrayzer.data.ingest.media.video import video_frames
from wildrayzer.data.ingest.sources import read_image
from wildrayzer.data.preparation.report import read_report
from wildrayzer.data.readers.lvsm import LvsmReader
from wildrayzer.data.readers.pixelsplat import PixelSplatReader
from wildrayzer.data.sampling.windows import Window, WindowList
from wildrayzer.datasets.table import load_table
from wildrayzer.datasets.unpack import unpack
from wildrayzer.evaluation.methods.npz_renderings import read_images
from wildrayzer.evaluation.methods.outside_pictures import read_mask_file, read_rendering_file
from wildrayzer.evaluation.tables.scores import COLUMNS, read_scores
from wildrayzer.io.arrays import read_npy
from wildrayzer.io.files import write_json
from wildrayzer.pseudo_masks.cache.receipts import read_receipts, write_receipt
from wildrayzer.pseudo_masks.calibration import AbsoluteThresholds
from wildrayzer.released.reader import read_released
from wildrayzer.released.strip import strip

SIZE = 16
PIXELS = "the format has no checksum of its pixels: a flip is another colour"
TEXT = "text has no checksum: a changed digit is another number"


@dataclass(frozen=True)
class Subject:
    """A file and how it is read."""

    name: str
    suffix: str
    content: bytes
    read: Callable[[Path], Any]
    """Reads the file; what it returns is compared by `digest`."""
    unseen: str | None = None
    """Why a flip may change the result without a word; None where it must not."""


def digest(value: Any) -> str:
    """Stands for a result: arrays and tensors by their values."""
    hasher = hashlib.sha256()
    for part in _parts(value):
        hasher.update(part)
    return hasher.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield repr(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        yield f"{len(value)}:".encode()
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()


def subjects(folder: Path) -> list[Subject]:
    """All of them; `folder` holds what lies beside the mutated files."""
    outside = (*_pictures(folder), *_videos(folder), *_sets(folder), *_arrays(), *_checkpoints(), *_texts(folder))
    return [*outside, *_documents(folder)]


def _picture(seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def _saved(save: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *arguments, **options)
    return stream.getvalue()


def _pictures(folder: Path) -> Iterator[Subject]:
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix, kind in ((".jpg", "JPEG"), (".png", "PNG"), (".webp", "WEBP"), (".tif", "TIFF"), (".bmp", "BMP")):
        stream = io.BytesIO()
        _picture(size=(24, 16)).save(stream, kind, **({} if kind == "BMP" else {"exif": exif}))
        yield Subject(f"picture{suffix}", suffix, stream.getvalue(), read_image, PIXELS)
    mask = _saved(lambda stream: Image.fromarray(np.eye(SIZE, dtype=np.uint8) * 255).save(stream, "PNG"))
    yield Subject("outside mask.png", ".png", mask, lambda path: read_mask_file(path, SIZE), PIXELS)
    rendering = _saved(lambda stream: _picture().save(stream, "PNG"))
    yield Subject("outside rendering.png", ".png", rendering, lambda path: read_rendering_file(path, SIZE), PIXELS)


def _frames(path: Path) -> list[Any]:
    notes = VideoNotes()
    return [list(video_frames(path, SamplingOptions(5.0), notes)), notes.jumps]


def _videos(folder: Path) -> Iterator[Subject]:
    for suffix in (".mp4", ".mov", ".webm"):
        content = write_clip(folder / f"clip{suffix}", 5).read_bytes()
        yield Subject(f"video{suffix}", suffix, content, _frames, "video streams have no checksum of their pictures")


def _scene(scene: Any) -> list[Any]:
    return [scene.name, scene.frames, scene.c2w, scene.intrinsics, scene.masks]


def _chunk(path: Path) -> list[Any]:
    """Read a chunk as the only one of a folder."""
    reader = PixelSplatReader(_alone(path, "0.torch", {"index.json": '{"a": "0.torch"}'}))
    return _scene(reader.read("a", image_size=SIZE))


def _alone(path: Path, name: str, others: dict[str, str]) -> Path:
    folder = path.parent / f"{path.stem}-folder"
    folder.mkdir(exist_ok=True)
    for other, text in others.items():
        (folder / other).write_text(text, encoding="utf-8")
    (folder / name).unlink(missing_ok=True)
    (folder / name).hardlink_to(path)
    return folder


def _sets(folder: Path) -> Iterator[Subject]:
    yield Subject("chunk", ".torch", _saved(lambda stream: torch.save([chunk_scene("a", 2)], stream)), _chunk)
    index = json.dumps({"a": "0.torch", "b": "0.torch"}).encode()
    chunk = folder / "0.torch"
    torch.save([chunk_scene("a", 1), chunk_scene("b", 1)], chunk)

    def of_index(path: Path) -> list[Any]:
        reader = PixelSplatReader(_alone(path, "index.json", {}))
        return reader.names

    yield Subject("index.json", ".json", index, of_index, TEXT)
    lvsm = Lvsm(folder / "lvsm", ("a",))
    lvsm.masks("a")

    def of_lvsm(name: str) -> Callable[[Path], Any]:
        def read(path: Path) -> list[Any]:
            target = lvsm.folder / name
            before = target.read_bytes()
            target.write_bytes(path.read_bytes())
            try:
                reader = LvsmReader(lvsm.folder)
                return [_scene(reader.read(scene, image_size=SIZE)) for scene in reader.names]
            finally:
                target.write_bytes(before)

        return read

    for name, unseen in (
        ("metadata/a.json", TEXT),
        ("full_list.txt", TEXT),
        ("binary_masks/a/00001.npy", "NPY has no checksum"),
        ("images/a/00001.png", PIXELS),
    ):
        yield Subject(f"lvsm {name}", ".raw", (lvsm.folder / name).read_bytes(), of_lvsm(name), unseen)


def _arrays() -> Iterator[Subject]:
    images = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    yield Subject("renderings.npz", ".npz", _saved(np.savez, images=images), read_images)
    yield Subject("renderings, packed.npz", ".npz", _saved(np.savez_compressed, images=images), read_images)
    yield Subject("array.npy", ".npy", _saved(np.save, images), read_npy, "NPY has no checksum")
    mask = _saved(np.save, np.eye(SIZE, dtype=np.uint8))
    yield Subject("outside mask.npy", ".npy", mask, lambda path: read_mask_file(path, SIZE), "NPY has no checksum")


def _stripped(path: Path) -> Any:
    out = path.with_name(f"{path.name}.stripped")
    out.unlink(missing_ok=True)
    strip(path, out)
    return torch.load(out, weights_only=True)


def _checkpoints() -> Iterator[Subject]:
    from safetensors.torch import save

    state = {f"layer.{number}": torch.arange(64.0).reshape(8, 8) for number in range(3)}

    def weights(path: Path) -> dict[str, torch.Tensor]:
        return read_released(path).tensors

    content = _saved(lambda stream: torch.save({"model": state, "epoch": 3}, stream))
    yield Subject("released.pt", ".pt", content, weights)
    yield Subject("stripped.pt", ".pt", content, _stripped)
    legacy = _saved(lambda stream: torch.save(state, stream, _use_new_zipfile_serialization=False))
    yield Subject("released, legacy.pt", ".pt", legacy, weights, "PyTorch's old format has no checksum")
    yield Subject("released.safetensors", ".safetensors", save(state), weights, "safetensors has no checksum")


def _texts(folder: Path) -> Iterator[Subject]:
    _picture(size=(60, 80)).save(folder / "1.png")
    coco = {
        "images": [{"id": 1, "file_name": "1.png", "width": 80, "height": 60}],
        "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
             "segmentation": [[20, 10, 60, 10, 60, 30, 20, 30]]},
            {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 0,
             "segmentation": {"size": [60, 80], "counts": [1200, 600, 3000]}},
        ],
    }  # fmt: skip

    def objects(path: Path) -> list[Any]:
        library = CutoutLibrary.from_coco(path, folder, PasteConfig(), 20)
        return [[one.image, one.mask] for one in map(library.__getitem__, range(len(library)))]

    yield Subject("coco.json", ".json", json.dumps(coco).encode(), objects, TEXT)
    rows = [["m", "s", 2, "a", 0, "full", "psnr", 1.5], ["m", "s", 2, "a", 1, "full", "psnr", 2.5]]
    lines = [",".join(COLUMNS), *(",".join(map(str, row[: len(COLUMNS)])) for row in rows)]
    yield Subject(
        "scores.csv", ".csv", "\n".join([*lines, ""]).encode(),
        lambda path: read_scores([_alone(path, "scores.csv", {}) / "scores.csv"]).to_dict("list"), TEXT,
    )  # fmt: skip
    entry = {
        "title": "A set",
        "home": "https://example.org",
        "folder": "resources/data/a",
        "size_gb": 1.5,
        "hub": {"repository": "owner/a", "type": "dataset"},
        "parts": {"train": {"layout": "lvsm", "scenes": 2}},
    }
    table = yaml.safe_dump({"sources": {"a": entry}}).encode()
    yield Subject("sources.yaml", ".yaml", table, load_table, TEXT)
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", b"text " * 50)
        archive.writestr("a/.b.txt.unpacking", b"other")

    def unpacked(path: Path) -> dict[str, bytes]:
        out = path.with_name(f"{path.name}.out")
        subprocess.run(["rm", "-rf", str(out)], check=True)
        unpack(path, out)
        files = [file for file in out.rglob("*") if file.is_file()]
        return {str(file.relative_to(out)): file.read_bytes() for file in files}

    yield Subject("archive.zip", ".zip", stream.getvalue(), unpacked, "names of members have no checksum")


def _documents(folder: Path) -> Iterator[Subject]:
    """JSON files of ours, which hold a checksum."""
    views = tuple(Window(scene, (0, 2), (1,)) for scene in range(2))
    WindowList("store", 2, 1, (3, 3), views, {}).save(folder / "windows.json")
    yield _document(folder / "windows.json", lambda path: repr(WindowList.load(path)))
    thresholds = AbsoluteThresholds(0.5, 0.25, 1.5, 1.25, 1.0, 0.01, 0.1, 400, {"kind": "fixed"}, {"residuals": "a"})
    thresholds.save(folder / "thresholds.json")
    yield _document(folder / "thresholds.json", AbsoluteThresholds.load)
    report = {
        "path": "raw", "layout": "lvsm", "image_size": 16, "codec": "zstd", "reasons": {}, "skipped": {}, "notes": [],
        "scenes": {"expected": None, "found": 2, "taken": 2, "used": 2}, "frames": {"expected": 4, "used": 4},
        "content": {"resolution": {"16x16": 2}, "clip_length": {"2": 2}, "turn_degrees": None, "travel": None},
    }  # fmt: skip
    write_json(folder / "split.report.json", report, checksum=True)
    yield _document(folder / "split.report.json", lambda path: repr(read_report(path)))
    write_receipt(folder / "receipt.json", {0: "a" * 16, 1: "b" * 16}, parts=2)
    yield _document(folder / "receipt.json", lambda path: read_receipts([path], parts=2, stage="residuals"))


def _document(path: Path, read: Callable[[Path], Any]) -> Subject:
    return Subject(path.name, ".json", path.read_bytes(), read)
