"""What the frame store is measured against: frames as PNG files, resized by Lanczos at every access.

This is how LVSM-style loaders work: preparation decodes a scene's frames and writes each as a PNG file of its full
size; loading opens the file, resizes it so that its height is that of the training sample, and crops the middle.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from wildrayzer.data.readers.base import Fit


def write_png(frames: list[Image.Image], folder: Path) -> None:
    """A file a frame, as Pillow writes it by default."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        frame.save(folder / f"{number:05d}.png")


def load_png(folder: Path, numbers: list[int], *, size: int) -> np.ndarray:
    """Frames of a sample, uint8 [n h w 3]."""
    frames = []
    for number in numbers:
        with Image.open(folder / f"{number:05d}.png") as image:
            frames.append(Fit.of(*image.size, size).image(image.convert("RGB")))
    return np.stack(frames)
