"""What every reader gives: scenes by name, decoded, cropped and resized one at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from wildrayzer.io.printable import is_text


class BadSceneError(Exception):
    """A scene that cannot be used. `reason` is one of a few words to count by, `detail` names the file.

    `frames` is how many the scene says it has, where that is known.
    """

    def __init__(self, reason: str, detail: str, *, frames: int = 0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.frames = reason, detail, frames

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(BadSceneError, frames=self.frames), (self.reason, self.detail)


@dataclass(frozen=True)
class Scene:
    """One scene, fitted to the store's square frames.

    Cameras are c2w, OpenCV axes; intrinsics are fx fy cx cy, normalised by width and height.
    """

    name: str
    frames: UInt8[np.ndarray, "n h w 3"]
    c2w: Float[np.ndarray, "n 4 4"] | None = None
    intrinsics: Float[np.ndarray, "n 4"] | None = None
    masks: UInt8[np.ndarray, "n h w"] | None = None
    """1 = transient, 0 = static, 255 = unknown."""
    clean: UInt8[np.ndarray, "n h w 3"] | None = None
    source_size: tuple[int, int] | None = None
    """Width and height of the frames before the fit."""
    objects: int | None = None
    """Objects whose union the masks are, where the data set tells them apart."""


@runtime_checkable
class SceneReader(Protocol):
    """An outside layout. `names` is in the order of reading; `notes` are observations about the split as a whole.

    `rejected` are entries of the split's list that stand for no scene of their own (a name given twice), by a label.
    """

    names: list[str]
    notes: list[str]
    rejected: dict[str, BadSceneError]
    has_cameras: bool
    has_masks: bool
    has_clean: bool

    def read(self, name: str, *, image_size: int) -> Scene:
        """Decode one scene; raises BadSceneError when it cannot be used."""
        ...

    def group(self, name: str) -> str:
        """Scenes next to each other with the same group are best read by one process."""
        ...

    def about_frames(self, name: str) -> int:
        """Frames of a scene, counted or guessed without decoding any; 0 where nothing is known."""
        ...

    def files(self, name: str) -> list[Path]:
        """Files that a scene is read from, links followed; those that are known where the scene cannot be used."""
        ...

    def check(self, name: str) -> int:
        """Frames of a scene, after everything that it names was found; of its first picture the header is read.

        Raises:
            BadSceneError: something is missing, or cannot be used.
        """
        ...

    def unlisted(self, names: Sequence[str]) -> list[str]:
        """Scenes that lie beside these, but that the split's list does not name."""
        ...


def check_name(name: str, *, where: str | Path) -> None:
    """Refuse the name of a scene that no list and no table can hold.

    Raises:
        BadSceneError: it is not Unicode; `where` says where it is from.
    """
    if not is_text(name):
        raise BadSceneError("scene name is not Unicode", f"{where}: {ascii(name)[:200]}; rename it")


@contextmanager
def naming_paths(source: Path, name: str) -> Iterator[None]:
    """Turn the system's refusal of a name that `source` gives (too long, a zero byte in it) into a reason."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise BadSceneError("path cannot be used", f"{source} names {name[:200]!r}: {str(error)[:200]}") from None


def file_stamp(file: Path) -> tuple[int, int]:
    """Size and time of change (ns) of a file; zeros where there is none."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Fit:
    """Resize and centre crop of a frame: its height becomes the store's (its width, if that is the shorter side)."""

    width: int
    height: int
    left: int
    top: int
    size: int

    @classmethod
    def of(cls, width: int, height: int, size: int) -> "Fit":
        """The fit of a `width` × `height` frame; the longer side is resized to a multiple of 16, as in the release."""
        short = min(width, height)
        if short == max(width, height):
            return cls(size, size, 0, 0, size)
        longer = max(round(max(width, height) * size / short / 16) * 16, size)
        wide, high = (longer, size) if width > height else (size, longer)
        return cls(wide, high, (wide - size) // 2, (high - size) // 2, size)

    def image(self, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
        """The fitted frame, Lanczos; pixels are untouched where the size is right already."""
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.LANCZOS)
        return np.asarray(image)[self.top : self.top + self.size, self.left : self.left + self.size]

    def mask(self, mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h2 w2"]:
        """The fitted mask, nearest pixel."""
        if mask.shape != (self.height, self.width):
            image = Image.fromarray(mask).resize((self.width, self.height), Image.Resampling.NEAREST)
            mask = np.asarray(image)
        return mask[self.top : self.top + self.size, self.left : self.left + self.size]

    def intrinsics(self, normalised: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
        """fx fy cx cy, normalised by the frame's own width and height, after the fit."""
        scale = np.array([self.width, self.height, self.width, self.height]) / self.size
        return normalised * scale - np.array([0, 0, self.left, self.top]) / self.size


def check_matrices(matrices: Float[np.ndarray, "n 4 4"], *, where: str) -> None:
    """Refuse camera matrices of either direction that are no rigid motion by far.

    Raises:
        BadSceneError: one holds NaN or infinity, or cannot be inverted.
    """
    if not np.isfinite(matrices).all():
        bad = np.flatnonzero(~np.isfinite(matrices).all((1, 2)))
        raise BadSceneError("camera is not finite", f"{where}: frames {bad[:5].tolist()}")
    with np.errstate(over="ignore"):
        size = np.abs(np.linalg.det(matrices))
    if ((size < 1e-8) | ~np.isfinite(size)).any():
        bad = np.flatnonzero((size < 1e-8) | ~np.isfinite(size))
        raise BadSceneError("camera cannot be inverted", f"{where}: frames {bad[:5].tolist()}")


def camera_to_world(w2c: Float[np.ndarray, "n 4 4"], *, where: str) -> Float[np.ndarray, "n 4 4"]:
    """Invert world-to-camera matrices.

    Raises:
        BadSceneError: see `check_matrices`.
    """
    check_matrices(w2c, where=where)
    return np.linalg.inv(w2c)


def check_intrinsics(intrinsics: Float[np.ndarray, "n 4"], *, where: str) -> None:
    """Refuse fx fy cx cy, in any unit, that no camera has.

    Raises:
        BadSceneError: a row holds NaN or infinity, or a focal length that is not above 0.
    """
    if not np.isfinite(intrinsics).all():
        raise BadSceneError("camera is not finite", f"{where}: intrinsics")
    bad = np.flatnonzero((intrinsics[:, :2] <= 0).any(1))
    if len(bad):
        raise BadSceneError("camera has no focal length", f"{where}: fx, fy must be above 0, frames {bad[:5].tolist()}")


def check_normalised(intrinsics: Float[np.ndarray, "n 4"], *, where: str, fix: str) -> None:
    """Refuse fx fy cx cy, normalised by width and height, that are in another unit: pixels, or normalised twice.

    A focal length of 0.1 is a view of 157°, one of 20 a view of 3°. A centre at the edge is that of a frame twice as
    large.

    Raises:
        BadSceneError: a row is beyond what cameras have.
    """
    focal, centre = intrinsics[:, :2], intrinsics[:, 2:]
    bad = np.flatnonzero(((focal < 0.1) | (focal > 20) | (np.abs(centre - 0.5) > 0.45)).any(1))
    if len(bad):
        row = ", ".join(f"{value:.4g}" for value in intrinsics[bad[0]])
        raise BadSceneError(
            "intrinsics do not fit the frames",
            f"{where}: frame {bad[0]} has fx fy cx cy = {row}, in widths and heights of the frame; {fix}",
        )
