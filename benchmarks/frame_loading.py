"""Frame store against PNG files with a Lanczos resize at every access: frames a second of one core, bytes a frame.

Usage: python benchmarks/frame_loading.py [--video FILE] [--scenes N] [--frames N] [--folder DIR] [--keep]

Both sides start from the same pixelSplat chunks of 640×360 JPEG frames (made here: a window panned over photographs
that come with scikit-image, or frames of a video) and end with training samples: 8 frames of one clip, 256 px, uint8,
in random order over clips and frames. One process, one thread, each side in its own turn, the best of three rounds;
files are in the page cache on both sides. Seconds are of CPU time, user and system. Ratios are against PNG in the same
run.
"""

import argparse
import io
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import skimage.data
import torch
from frame_reference import load_png, write_png
from PIL import Image

from wildrayzer.config.sections.data import SplitConfig, StoreConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.readers.pixelsplat import load_chunk
from wildrayzer.io.files import write_json
from wildrayzer.stages.prepare import prepare_split

SIZE, WIDTH, HEIGHT, VIEWS = 256, 640, 360, 8
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def panned(scene: int, count: int) -> Iterator[np.ndarray]:
    """A window that moves and zooms over a photograph, with the noise of a sensor."""
    rng = np.random.default_rng(scene)
    photograph = getattr(skimage.data, PHOTOGRAPHS[scene % len(PHOTOGRAPHS)])()[..., :3]
    height, width = photograph.shape[:2]
    scale = min(width / WIDTH, height / HEIGHT) * rng.uniform(0.7, 0.85)
    slack = np.array([width - WIDTH * scale, height - HEIGHT * scale])
    start, end = slack * rng.random(2), slack * rng.random(2)
    noise = 2 * rng.standard_normal((HEIGHT + count, WIDTH, 3), np.float32)  # moves on by a row each frame
    for number, share in enumerate(np.linspace(0, 1, count)):
        left, top = start + (end - start) * share
        matrix = np.array([[scale, 0, left], [0, scale, top]])
        way = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        frame = cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=way, borderMode=cv2.BORDER_REFLECT)
        yield np.clip(frame + noise[number : number + HEIGHT], 0, 255).astype(np.uint8)


def filmed(video: Path, scene: int, count: int) -> Iterator[np.ndarray]:
    """Frames of a video from somewhere in it."""
    capture = cv2.VideoCapture(str(video))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.set(cv2.CAP_PROP_POS_FRAMES, scene * 13 % max(total - count, 1))
    for _ in range(count):
        known, frame = capture.read()
        if not known:
            return
        yield cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[..., ::-1]


def make_chunks(folder: Path, *, scenes: int, frames: int, video: Path | None) -> None:
    """Scenes in the layout of RealEstate10K, 20 a chunk, JPEG of quality 92."""
    folder.mkdir(parents=True)
    index = {}
    for first in range(0, scenes, 20):
        chunk = []
        for scene in range(first, min(first + 20, scenes)):
            source = filmed(video, scene, frames) if video else panned(scene, frames)
            options = [cv2.IMWRITE_JPEG_QUALITY, 92]
            images = [cv2.imencode(".jpg", frame[..., ::-1], options)[1].ravel() for frame in source]
            cameras = torch.zeros(len(images), 18)
            cameras[:, :4] = torch.tensor([0.9, 1.6, 0.5, 0.5])
            cameras[:, 6:] = torch.eye(4)[:3].flatten()
            name = f"{scene:05d}"
            chunk.append({"key": name, "cameras": cameras, "images": [torch.from_numpy(image) for image in images]})
            index[name] = f"{first // 20:06d}.torch"
        torch.save(chunk, folder / f"{first // 20:06d}.torch")
    write_json(folder / "index.json", index)


def decode_chunks(folder: Path) -> Iterator[tuple[str, list[Image.Image]]]:
    """What the reference does first: frames as pictures."""
    for file in sorted(folder.glob("*.torch")):
        for key, scene in load_chunk(file).items():
            assert scene is not None
            yield key, [Image.open(io.BytesIO(bytes(image.numpy()))).convert("RGB") for image in scene["images"]]


def size_of(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return sum(sizes), len(sizes)


def samples(lengths: list[int], count: int) -> list[tuple[int, list[int]]]:
    """Scene and frames of each sample."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(lengths), size=count).tolist()
    return [(scene, rng.choice(lengths[scene], VIEWS, replace=False).tolist()) for scene in drawn]


def rate(load: Callable[[int, list[int]], np.ndarray], wanted: list[tuple[int, list[int]]]) -> float:
    """Frames a second of CPU time, the best of three rounds."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        for scene, numbers in wanted:
            assert load(scene, numbers).shape == (VIEWS, SIZE, SIZE, 3)
        best = max(best, VIEWS * len(wanted) / (time.process_time() - start))
    return best


def store_rate(path: Path, wanted: list[tuple[int, list[int]]]) -> float:
    """Loading rate of a frame store, frame by frame from its files."""
    store = FrameStore(path)
    return rate(lambda scene, numbers: store.read(np.array(numbers) + store.offsets[scene]), wanted)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pictures, dB."""
    return float(10 * np.log10(255**2 / np.mean((first.astype(np.float64) - second) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.ERROR)
    root = Path(tempfile.mkdtemp(dir=options.folder))
    raw, total = root / "raw", options.scenes * options.frames
    make_chunks(raw, scenes=options.scenes, frames=options.frames, video=options.video)
    wanted = samples([options.frames] * options.scenes, options.samples)

    start = time.process_time()
    for key, frames in decode_chunks(raw):
        write_png(frames, root / "png" / key)
    prepared = {"PNG": total / (time.process_time() - start)}
    folders = sorted((root / "png").iterdir())
    loaded = {"PNG": rate(lambda scene, numbers: load_png(folders[scene], numbers, size=SIZE), wanted)}
    sizes = {"PNG": size_of(root / "png")}

    for name, codec, use in (("store, zstd", "zstd", "test"), ("store, JPEG 95", "jpeg", "train")):
        path = root / f"{codec}.zarr"
        split = SplitConfig(layout="pixelsplat", path=str(raw), role="static", purpose=use)  # type: ignore[arg-type]
        start = time.process_time()
        prepare_split(split, raw, path, image_size=SIZE, store=StoreConfig(train_codec=codec))  # type: ignore[arg-type]
        prepared[name] = total / (time.process_time() - start)
        loaded[name], sizes[name] = store_rate(path, wanted), size_of(path)

    print(f"{total} frames of {WIDTH}×{HEIGHT}, {options.video.name if options.video else 'photographs'}; one core")
    print(f"{'':16}{'prepare, frames/s':>20}{'load, frames/s':>20}{'bytes a frame':>16}{'files':>8}")
    for name, (size, count) in sizes.items():
        rates = [f"{rates[name]:13.0f}{rates[name] / rates['PNG']:6.1f}×" for rates in (prepared, loaded)]
        print(f"{name:16}{rates[0]}{rates[1]}{size // total:16}{count:8}")
    lossless, lossy = FrameStore(root / "zstd.zarr"), FrameStore(root / "jpeg.zarr")
    scene, numbers = wanted[0]
    same = lossless.read(np.array(numbers) + scene * options.frames) == load_png(folders[scene], numbers, size=SIZE)
    every = np.arange(0, total, max(total // 64, 1))
    print(f"zstd holds the pixels of the PNG side: {same.all()}")
    print(f"JPEG against them: {psnr(lossy.read(every), lossless.read(every)):.1f} dB")
    if options.keep:
        print(root)
    else:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
