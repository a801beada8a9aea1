"""What can be exported: a mask cache, a frame store, a folder of `masks run` or one of `render`; frame by frame."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.data.frame_store.manifest import find_store
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.pseudo_masks.cache.location import GROUPS
from wildrayzer.pseudo_masks.cache.statistics import enlarge
from wildrayzer.tools.caches_below import caches_below, check_is_cache
from wildrayzer.tools.inspect.files import CacheFiles, open_cache
from wildrayzer.tools.video_masks.workspace import Workspace

PREDICTED = (
    "Cameras are predicted from the images and known only up to gauge: the network chooses the frame of reference, the "
    "scale and, to a degree, the shape of space. Distances have no unit."
)
GIVEN = "Cameras are those of the data set, in its own frame of reference and unit."
RENDER = "render.json"
"""File by which a folder of `wildrayzer render` is known."""
_BATCH = 32
"""Frames that are read at once."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    c2w: Float[np.ndarray, "4 4"]
    """Camera-to-world, OpenCV axes (x right, y down, z forward)."""
    intrinsics: Float[np.ndarray, "4"]
    """fx fy cx cy, divided by the width and height of the image; pixel centres are at +0.5."""


@dataclass(frozen=True)
class ExportFrame:
    """One frame of a scene, with what is known of it."""

    number: int
    """Place within the scene, from 0."""
    image: UInt8[np.ndarray, "h w 3"]
    """RGB."""
    mask: UInt8[np.ndarray, "h w"] | None
    """1 = transient, 0 = static, 255 = unknown."""
    camera: Camera | None

    @property
    def name(self) -> str:
        """Name of its files, without ending."""
        return f"{self.number:05d}"


@runtime_checkable
class ExportSource(Protocol):
    """Frames of scenes, to be exported."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def scenes(self) -> list[str]:
        """Names of all scenes."""
        ...

    @property
    def masks(self) -> str | None:
        """What the masks are, for the manifest; None without masks."""
        ...

    @property
    def cameras(self) -> str | None:
        """Where the cameras come from, for the manifest; None without cameras."""
        ...

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of what is exported."""
        ...

    def read(self, scene: str) -> Iterator[ExportFrame]:
        """The frames of a scene, in order."""
        ...


@dataclass
class StoreSource:
    """Frames and cameras of a frame store, with its true masks or with those of a cache."""

    path: Path
    store: FrameStore
    masks: str | None
    digests: Mapping[str, str]
    read_masks: Callable[[np.ndarray], UInt8[np.ndarray, "n h w"]] | None
    """Masks by global frame index."""
    scenes: list[str] = field(init=False)
    cameras: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.scenes = list(self.store.scenes)
        self.cameras = GIVEN if self.store.has_cameras else None

    def read(self, scene: str) -> Iterator[ExportFrame]:
        """The frames of a scene, in order."""
        number = self.store.scenes.index(scene)
        first, stop = (int(bound) for bound in self.store.offsets[number : number + 2])
        for start in range(first, stop, _BATCH):
            frames = np.arange(start, min(start + _BATCH, stop))
            images = self.store.read(frames)
            masks = self.read_masks(frames) if self.read_masks else [None] * len(frames)
            cameras: list[Camera | None] = [None] * len(frames)
            if self.cameras:
                cameras = [Camera(*camera) for camera in zip(*self.store.cameras(frames), strict=True)]
            for place, frame in enumerate(frames.tolist()):
                yield ExportFrame(frame - first, images[place], masks[place], cameras[place])


def open_source(path: Path, *, store: Path | None = None, rendered: bool = False) -> ExportSource:
    """What lies at a path, opened.

    Args:
        path: a mask cache, a frame store, a folder of `wildrayzer masks run`, or one of `wildrayzer render`.
        store: frame store of a mask cache; None takes that of the run which the cache is part of.
        rendered: of a folder of `wildrayzer render`, take the renderings.

    Raises:
        ValueError: the path is none of these, is unfinished or damaged, or `store` or `rendered` does not
            apply to it.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist; name a mask cache, a frame store, or a folder of `masks run` or "
                         "`render`")  # fmt: skip
    if (path / RENDER).is_file():
        from wildrayzer.tools.export.folders import RenderSource  # here: it imports this module

        _refuse_store(path, store)
        return RenderSource(path, rendered=rendered)
    if rendered:
        raise ValueError(f"--rendered: {path} is no folder of `wildrayzer render`; leave --rendered out")
    if path.is_dir() and Workspace(path).lock.is_file():
        from wildrayzer.tools.export.folders import VideoSource

        _refuse_store(path, store)
        return VideoSource(path)
    if find_store(path) is not None and not {path.stem, path.parent.name} & set(GROUPS):
        _refuse_store(path, store)
        opened = FrameStore(path)
        digests = {"store": opened.digest}
        if not opened.has_masks:
            return StoreSource(path, opened, None, digests, None)
        return StoreSource(path, opened, "true masks of the data set", digests, opened.read_masks)
    check_is_cache(path)
    if not any(caches_below(path)) and path.is_dir():
        raise ValueError(
            f"{path} holds nothing that can be exported; name a mask cache "
            "(results/NAME/roundN/masks/SPLIT/PREDICTOR), a frame store (results/NAME/frames/SPLIT.json), or a folder "
            "of `masks run` or `render`"
        )
    return _of_cache(open_cache(path, frames=store))


def _refuse_store(path: Path, store: Path | None) -> None:
    if store is not None:
        raise ValueError(f"--store {store}: {path} is no mask cache and has frames of its own; leave --store out")


def _of_cache(files: CacheFiles) -> StoreSource:
    """Frames with the pixel masks of a cache, or with its patch masks where nothing was refined."""
    path, store = files.place.path, files.store
    if store is None:
        raise ValueError(f"{path}: {' '.join(files.notes)}".replace("--frames", "--store"))
    digests: dict[str, Any] = {"store": store.digest, "residuals": files.maps.digest}
    if files.pixels is not None:
        digests["pixel_masks"] = files.pixels.digest
        return StoreSource(path, store, "refined pseudo-masks (pixel masks)", digests, files.pixels.read)
    if files.patches is None:
        raise ValueError(f"{path} has no masks yet; run the stage pseudo_masks")
    patches, size = files.patches, store.image_size
    digests["patch_masks"] = patches.digest
    what = "pseudo-masks on the patch grid, enlarged; they are not refined"
    return StoreSource(path, store, what, digests, lambda frames: enlarge(patches.read(frames), size))
