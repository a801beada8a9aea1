"""Textures cut from the photographs that scikit-image and scikit-learn ship.

Furniture and walls get tinted, contrast-equalised crops of low detail; actors get saturated stripes whose profile
comes from a photograph, so that the two differ in appearance as chairs and people do.

The photographs are read from the installed packages instead of being copied into this project: one of them (the
motorcycle, Middlebury 2014) comes without a licence that allows redistribution. A test compares their digest with the
recorded one, so an update of the packages cannot change the embedded data set unnoticed.
"""

import colorsys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

PHOTOGRAPHS = {
    "skimage": (
        "data/astronaut.png", "data/coffee.png", "data/chelsea.png", "data/rocket.jpg", "data/brick.png",
        "data/grass.png", "data/gravel.png", "data/hubble_deep_field.jpg", "data/ihc.png", "data/retina.jpg",
        "data/motorcycle_left.png", "data/coins.png", "data/camera.png",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}  # fmt: skip
"""Packages and the photographs in them."""

SHORT_SIDE = 512
"""Photographs are scaled to this short side first, so that crop sizes mean the same in all of them."""
CROP_SIDE = (150, 480)
"""Smallest and largest side of a crop, in pixels of the scaled photograph."""
TINT = 0.5
"""Width of the random tint's distribution around the base grey, a channel."""
MAX_GAIN = 1.8
"""Flat crops are not amplified beyond this."""

Pyramid = tuple[np.ndarray, ...]


def photograph_files() -> list[Path]:
    """Paths of the photographs.

    Raises:
        ValueError: a package is not installed.
    """
    files = []
    for package, names in PHOTOGRAPHS.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ValueError(f"data.embedded: package {package} is not installed; install the project's lock file")
        files += [Path(spec.origin).parent / name for name in names]
    return files


@lru_cache(maxsize=1)
def load_photographs() -> tuple[Pyramid, ...]:
    """All photographs, each as a pyramid of uint8 [h w 3] RGB images, every level half the one before.

    Raises:
        ValueError: a photograph is missing from its package.
    """
    pyramids = []
    for file in photograph_files():
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"data.embedded: photograph {file} cannot be read; install the project's lock file")
        height, width = image.shape[:2]
        scale = SHORT_SIDE / min(height, width)
        size = (round(width * scale), round(height * scale))
        levels = [cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)]
        while min(levels[-1].shape[:2]) >= 32:
            last = levels[-1]
            half = (last.shape[1] // 2, last.shape[0] // 2)
            levels.append(cv2.resize(last, half, interpolation=cv2.INTER_AREA))
        pyramids.append(tuple(levels))
    return tuple(pyramids)


def photo_crop(rng: np.random.Generator, *, detail: int) -> Float[np.ndarray, "n n 3"]:
    """A random square crop of a random photograph, `detail` texels a side, in [0, 1], mirrored half of the time."""
    photographs = load_photographs()
    pyramid = photographs[rng.integers(len(photographs))]
    height, width = pyramid[0].shape[:2]
    side = int(rng.uniform(*CROP_SIDE))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    level = 0
    while level + 1 < len(pyramid) and side >> (level + 1) >= 4 * detail:
        level += 1
    image = pyramid[level]
    size = max(side >> level, 1)
    top, left = min(top >> level, image.shape[0] - size), min(left >> level, image.shape[1] - size)
    crop = cv2.resize(image[top : top + size, left : left + size], (detail, detail), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(crop, dtype=np.float32) / 255


def _enlarge(texture: Float[np.ndarray, "m m 3"], side: int) -> UInt8[np.ndarray, "side side 3"]:
    large = cv2.resize(texture, (side, side), interpolation=cv2.INTER_CUBIC)
    return (np.clip(large, 0, 1) * 255).astype(np.uint8)


def furniture_texture(
    rng: np.random.Generator, *, detail: int, contrast: float, side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """A tinted photo crop with a standard deviation of `contrast`, smoothly enlarged to `side` texels."""
    crop = photo_crop(rng, detail=detail)
    gain = np.clip(contrast / max(float(crop.std()), 0.02), 0.3, MAX_GAIN)
    base = rng.uniform(0.25, 0.75) + TINT * rng.uniform(-0.5, 0.5, 3)
    return _enlarge(((crop - crop.mean((0, 1))) * gain + base).astype(np.float32), side)


def actor_texture(rng: np.random.Generator, *, detail: int, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """Bands of two saturated colours, mixed by a photograph's profile; twice as fine as furniture."""
    profile = photo_crop(rng, detail=2 * detail).mean(2)  # rows stay fine, columns nearly constant
    bands = 0.8 * profile.mean(1, keepdims=True) + 0.2 * profile
    bands = (bands - bands.mean()) / max(float(bands.std()), 1e-3)
    mix = (1 / (1 + np.exp(-2.5 * bands)))[..., None]
    hue = rng.random()
    first = np.array(colorsys.hsv_to_rgb(hue, 1.0, 1.0))
    second = np.array(colorsys.hsv_to_rgb((hue + rng.uniform(0.25, 0.75)) % 1, 1.0, rng.choice([0.25, 1.0])))
    colours = 0.1 + 0.8 * (mix * first + (1 - mix) * second)
    return _enlarge(colours.astype(np.float32), side)
