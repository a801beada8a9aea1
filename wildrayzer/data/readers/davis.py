"""The layout of DAVIS: `JPEGImages/480p/SCENE/00000.jpg`, `Annotations/480p/SCENE/00000.png`, lists below `ImageSets/`.

Other sets have it too, with another resolution folder or none (`JPEGImages/SCENE/00000.jpg`, as YouTube-VOS). There are
no cameras.

Source: J. Pont-Tuset et al., The 2017 DAVIS challenge on video object segmentation, 2017.
"""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from wildrayzer.data.readers.base import BadSceneError, Fit, Scene, check_name
from wildrayzer.data.readers.pixels import decode_file, numbers_of, read_picture, stated_size
from wildrayzer.images import UNKNOWN

logger = logging.getLogger(__name__)

IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"
_FRAME_SUFFIXES, _MASK_SUFFIXES = (".jpg", ".jpeg", ".png"), (".png",)
_LISTS = ("ImageSets/2017/val.txt", "ImageSets/2016/val.txt", "ImageSets/480p/val.txt")
"""Lists that are looked for, in this order, where the split names none."""


def scenes_folder(root: Path, kind: str) -> Path:
    """The folder that holds a folder for each scene: `root/kind/480p`, else the only resolution, else `root/kind`.

    Raises:
        ValueError: there is no `root/kind`, or several resolutions and none is 480p.
    """
    folder = root / kind
    if not folder.is_dir():
        raise ValueError(f"{root} has no folder {kind}; name the folder that holds {IMAGES} and {ANNOTATIONS}")
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    # A resolution holds folders, a scene holds files.
    resolutions = [path for path in inner if any(entry.is_dir() for entry in path.iterdir())]
    if len(resolutions) > 1 and folder / "480p" not in resolutions:
        names = ", ".join(path.name for path in resolutions)
        raise ValueError(f"{folder} has the resolutions {names}; link the one to use as 480p")
    return folder / "480p" if folder / "480p" in resolutions else [*resolutions, folder][0]


def read_annotation(path: Path) -> tuple[UInt8[np.ndarray, "h w"], frozenset[int]]:
    """An annotation as mask, 1 = transient (the union of all objects), 0 = static, 255 = unknown, and its objects.

    In a palette picture 255 is void, so unknown. In any other picture, as of DAVIS 2016, everything above 0 is the
    object, unless both 1 and 255 occur: 255 is then void too.

    Raises:
        BadSceneError: the file cannot be read.
    """
    image = read_picture(path)
    numbers = numbers_of(image, path)
    values = set(np.unique(numbers).tolist())
    mask = (numbers > 0).astype(np.uint8)
    if image.mode == "P" or {1, UNKNOWN} <= values <= {0, 1, UNKNOWN}:
        mask[numbers == UNKNOWN] = UNKNOWN
    return mask, frozenset(values - {0, UNKNOWN}) if image.mode == "P" else frozenset()


def listed_scenes(root: Path, scene_list: str | None) -> tuple[list[str], str | None]:
    """Scenes of a list below `root`, and its name; nothing and None where none is named and no `val.txt` is there.

    Raises:
        ValueError: the list is missing, no text or empty.
    """
    found = [scene_list] if scene_list else [name for name in _LISTS if (root / name).is_file()]
    if not found:
        return [], None
    listing = root / found[0]
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{listing} cannot be read as a list of scenes: {error}; name another list") from None
    names = dict.fromkeys(_scene_of(line.split()[0]) for line in lines if line.strip())
    if not names:
        raise ValueError(f"{listing} names no scenes; name another list")
    return list(names), found[0]


def annotation_files(folder: Path, scene: str) -> dict[str, Path]:
    """Annotations of a scene by the name of their frame, in order; empty without a folder.

    Raises:
        BadSceneError: the name is none of a folder in `folder`.
    """
    return {path.stem: path for path in _pictures(folder / _checked(scene), _MASK_SUFFIXES)}


class DavisReader:
    """Reads the scenes of one list.

    Args:
        folder: holds JPEGImages and, where masks are known, Annotations.
        scene_list: path of the list below `folder`; None takes a `val.txt` of `ImageSets`, else all scenes.

    Raises:
        ValueError: there are no frames, or the list is missing or empty.
    """

    def __init__(self, folder: Path, scene_list: str | None = None) -> None:
        self.folder, self._frames = folder, scenes_folder(folder, IMAGES)
        self.notes: list[str] = []
        self.rejected: dict[str, BadSceneError] = {}
        self.has_cameras, self.has_clean = False, False
        self.has_masks = (folder / ANNOTATIONS).is_dir()
        self._masks = scenes_folder(folder, ANNOTATIONS) if self.has_masks else None
        self.names = self._listed(scene_list)

    def _listed(self, scene_list: str | None) -> list[str]:
        names, listing = listed_scenes(self.folder, scene_list)
        if listing is not None:
            self.notes.append(f"scenes are those of {listing}")
            return names
        self.notes.append(f"there is no list of scenes; all of {self._frames.relative_to(self.folder)} are taken")
        return sorted(path.name for path in self._frames.iterdir() if path.is_dir() and path.name[0] != ".")

    def group(self, name: str) -> str:
        """Every scene has files of its own."""
        return name

    def about_frames(self, name: str) -> int:
        """Frames of the scene's folder."""
        try:
            return len(self._frame_files(name))
        except BadSceneError:
            return 0

    def files(self, name: str) -> list[Path]:
        """The scene's frames and annotations."""
        try:
            return [*self._frame_files(name), *self._mask_files(name).values()]
        except BadSceneError:
            return []  # said when the scene is read

    def unlisted(self, names: Sequence[str]) -> list[str]:
        """None: lists of parts of a folder are this layout's way."""
        return []

    def check(self, name: str) -> int:
        """Frames of a scene whose annotations belong to frames; see `SceneReader.check`."""
        self._mask_files(name)
        frames = self._frame_files(name)
        stated_size(frames[0], where=str(frames[0]))
        return len(frames)

    def read(self, name: str, *, image_size: int) -> Scene:
        """Decode one scene; raises BadSceneError when it cannot be used."""
        files = self._frame_files(name)
        try:
            return self._decode(name, files, image_size)
        except BadSceneError as error:
            error.frames = len(files)
            raise

    def _decode(self, name: str, files: list[Path], image_size: int) -> Scene:
        annotations = self._mask_files(name)
        frames = np.empty((len(files), image_size, image_size, 3), np.uint8)
        masks = np.full(frames.shape[:3], UNKNOWN, np.uint8)
        objects: set[int] = set()
        size: tuple[int, int] | None = None
        for number, file in enumerate(files):
            image = decode_file(file)
            if size not in (None, image.size):
                raise BadSceneError("frames differ in size", f"{file}: {image.size}, the first has {size}")
            size = image.size
            fit = Fit.of(*size, image_size)
            frames[number] = fit.image(image)
            if (annotation := annotations.get(file.stem)) is not None:
                mask, own = read_annotation(annotation)
                if mask.shape != size[::-1]:
                    wrong = f"{annotation}: {mask.shape[1]}×{mask.shape[0]} for frames of {size[0]}×{size[1]}"
                    raise BadSceneError("mask has a wrong size", f"{wrong}; resize it with nearest neighbours")
                masks[number], objects = fit.mask(mask), objects | own
        return Scene(
            name, frames, masks=masks if self.has_masks else None, source_size=size, objects=len(objects) or None
        )

    def _frame_files(self, name: str) -> list[Path]:
        files = _pictures(self._frames / _checked(name), _FRAME_SUFFIXES)
        if not files:
            raise BadSceneError("image is missing", f"{self._frames / name} holds no frames")
        return files

    def _mask_files(self, name: str) -> dict[str, Path]:
        """Annotations by the name of their frame, which must be there."""
        if self._masks is None:
            return {}
        found = annotation_files(self._masks, name)
        strangers = sorted(set(found) - {path.stem for path in self._frame_files(name)})
        if strangers:
            raise BadSceneError(
                "mask without a frame", f"{found[strangers[0]]}: {self._frames / name} has no such frame"
            )
        return found


def _scene_of(entry: str) -> str:
    """The scene of a line: a name, or the path of a frame as in the lists of DAVIS 2016."""
    path = PurePosixPath(entry)
    return path.parent.name if path.suffix.lower() in _FRAME_SUFFIXES else entry


def _checked(name: str) -> str:
    """A scene's name, which comes from a list of strangers and must not lead elsewhere."""
    if name in ("", ".", "..") or PurePosixPath(name).name != name or "\\" in name:
        raise BadSceneError("path leaves the data folder", f"{name!r} is no name of a scene")
    check_name(name, where=IMAGES)
    return name


def _pictures(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of these endings, in the order of their names."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.name[0] != ".")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # a file in place of a folder, or a name that no file system takes
        raise BadSceneError("path cannot be used", f"{str(folder)[:200]!r}: {error}") from None
