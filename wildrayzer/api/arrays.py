"""What the API returns: views, masks and cameras as named NumPy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from wildrayzer.geometry.cameras import Cameras


@dataclass(frozen=True)
class ViewCameras:
    """Pinhole cameras of `v` views.

    `c2w` maps camera to world coordinates; camera axes are OpenCV's (x right, y down, z forward). Predicted cameras are
    known up to the network's own choice of world frame and scale: with most networks the first input is the origin.
    """

    c2w: Float32[np.ndarray, "v 4 4"]
    """Camera-to-world matrices, rigid; translations in the network's own unit of length."""
    intrinsics: Float32[np.ndarray, "v 4"]
    """fx, fy, cx, cy of the square crop, divided by its side: independent of the resolution."""

    def __len__(self) -> int:
        return len(self.c2w)

    def __getitem__(self, index: slice | Sequence[int]) -> "ViewCameras":
        """The cameras of some views, by slice or list of view numbers."""
        chosen = index if isinstance(index, slice) else list(index)
        return ViewCameras(self.c2w[chosen], self.intrinsics[chosen])

    @classmethod
    def of(cls, cameras: Cameras) -> "ViewCameras":
        """From the cameras of one sample, [1, v, ...]."""
        return cls(cameras.c2w[0].float().cpu().numpy(), cameras.intrinsics[0].float().cpu().numpy())

    def batch(self, device: torch.device | str) -> Cameras:
        """As the cameras of one sample, [1, v, ...], for the network."""
        c2w, intrinsics = (torch.from_numpy(np.ascontiguousarray(one))[None] for one in (self.c2w, self.intrinsics))
        return Cameras(c2w=c2w.to(device), intrinsics=intrinsics.to(device))


@dataclass(frozen=True)
class MotionMasks:
    """Motion masks of `v` views. Polarity: 1 (true) = transient."""

    probability: Float32[np.ndarray, "v h w"]
    """Probability of motion of each pixel, in [0, 1]."""
    threshold: float = 0.5
    """Pixels with a probability above it count as transient."""

    @property
    def transient(self) -> Bool[np.ndarray, "v h w"]:
        """Whether each pixel is transient."""
        return self.probability > self.threshold

    def at(self, threshold: float) -> "MotionMasks":
        """The same probabilities with another threshold; nothing is computed again."""
        return replace(self, threshold=threshold)


@dataclass(frozen=True)
class Renderings:
    """Rendered views, their cameras and, where the views were given, their masks."""

    views: Float32[np.ndarray, "v h w 3"]
    """RGB in [0, 1]."""
    cameras: ViewCameras
    masks: MotionMasks | None
    """Motion of the recorded views; None if the model has no trained motion head, and for cameras without a picture."""
    names: tuple[str, ...]
    """Names of the views: of their files, or numbers."""

    def __len__(self) -> int:
        return len(self.views)

    @property
    def pixels(self) -> UInt8[np.ndarray, "v h w 3"]:
        """The views in 8 bits."""
        return (self.views * 255).round().astype(np.uint8)

    def save(self, folder: str | Path) -> list[Path]:
        """Write `renderings/000.png`, … and, with masks, `masks/000.png`, … (white = transient) into a new folder.

        Returns:
            The renderings' files.

        Raises:
            ValueError: the folder exists.
        """
        folder = Path(folder)
        if folder.exists():
            raise ValueError(f"{folder} exists; name another folder, or delete it")
        written = _write(folder / "renderings", self.pixels)
        if self.masks is not None:
            _write(folder / "masks", self.masks.transient.astype(np.uint8) * 255)
        return written


def _write(folder: Path, images: np.ndarray) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths
