"""True masks beside a processed folder: `binary_masks/SCENE/00000.npy` or `.png`, 1 = transient."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from jaxtyping import UInt8

from wildrayzer.data.readers.base import BadSceneError, Fit
from wildrayzer.data.readers.pixels import read_numbers
from wildrayzer.images import UNKNOWN

MASKS = "binary_masks"
"""Folder of all scenes' masks."""
_SUFFIXES = (".npy", ".png")


def read_masks(
    root: Path,
    scene: str,
    sizes: Sequence[tuple[int, int]],
    fits: Sequence[Fit],
    *,
    inside: Callable[[Path], Path],
) -> UInt8[np.ndarray, "n h w"] | None:
    """Masks of a scene's frames, fitted as they were: 1 = transient, 0 = static, 255 = unknown; None without a folder.

    In the files 0 is static and anything above it transient. Where the scene's files hold nothing but 0, 1 and 255, and
    both 1 and 255, they are taken to be coded as here: 255 is then unknown. A frame without a file is unknown.

    Args:
        root: folder of all scenes' masks.
        scene: name of the scene.
        sizes: width and height of every frame before the fit.
        fits: of every frame.
        inside: gives back a path that stays in the data folder, links followed, and refuses any other.

    Raises:
        BadSceneError: a mask cannot be read, has another size or negative values, or it is unclear which frame a file
            belongs to.
    """
    files = mask_files(root, scene, len(fits))
    if files is None:
        return None
    masks = np.full((len(fits), fits[0].size, fits[0].size), UNKNOWN, np.uint8)
    raw = {number: _read_mask(inside(file), sizes[number]) for number, file in files.items()}
    values = set().union(*(np.unique(mask).tolist() for mask in raw.values() if mask.dtype.kind in "ui"))
    coded = {1, UNKNOWN} <= values <= {0, 1, UNKNOWN}
    for number, mask in raw.items():
        binary = (mask > 0).astype(np.uint8)
        if coded:
            binary[mask == UNKNOWN] = UNKNOWN
        # One that is square though its frame is not was made on the cropped frame.
        cropped = mask.shape != sizes[number][::-1]
        fit = Fit.of(mask.shape[1], mask.shape[0], fits[number].size) if cropped else fits[number]
        masks[number] = fit.mask(binary)
    return masks


def mask_folder(root: Path, scene: str) -> Path | None:
    """The folder of a scene's masks; None where there is none."""
    # A list of evaluation windows names scenes SCENE_context_2_split_0; their masks are those of SCENE.
    folders = [root / key for key in (scene, scene.partition("_context_")[0])]
    try:
        return next((path for path in folders if path.is_dir()), None)
    except (OSError, ValueError):  # no file system takes such a name
        return None


def mask_files(root: Path, scene: str, count: int) -> dict[int, Path] | None:
    """The mask file of each of the `count` frames that have one, by frame; None where the scene has no folder.

    Raises:
        BadSceneError: it is unclear which frame a file belongs to.
    """
    folder = mask_folder(root, scene)
    if folder is None:
        return None
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    numbered = {
        int(path.stem): path
        for suffix in reversed(_SUFFIXES)  # the first one counts
        for path in files
        if path.suffix.lower() == suffix and path.stem.isdecimal()
    }
    if files and not numbered:
        raise BadSceneError(
            "mask names are unknown", f"{folder} holds {files[0].name}; masks are read from 00000.npy or 00000.png"
        )
    # Most scenes of D-RE10K number their masks from 0, some from 1.
    if numbered and 0 not in numbered and count not in numbered:
        raise BadSceneError("mask numbers are unclear", f"{folder} has neither a mask 00000 nor one {count:05d}")
    first = int(0 not in numbered)
    return {number: numbered[number + first] for number in range(count) if number + first in numbered}


def _read_mask(file: Path, size: tuple[int, int]) -> np.ndarray:
    if file.suffix.lower() == ".png":
        raw = read_numbers(file)
    else:
        try:
            raw = np.lib.format.open_memmap(file, mode="r")  # so that a broken header does not ask for memory
        except (OSError, ValueError, EOFError, OverflowError, SyntaxError, TypeError, TokenError) as error:
            raise BadSceneError("mask cannot be read", f"{file}: {error}") from None
    if raw.dtype.kind not in "buif" or not raw.size or not np.isfinite(raw).all():
        raise BadSceneError("mask cannot be read", f"{file}: {raw.dtype} {raw.shape}, not numbers for every pixel")
    if raw.ndim != 2 or (raw.shape != (size[1], size[0]) and raw.shape[0] != raw.shape[1]):
        raise BadSceneError("mask has a wrong size", f"{file}: {raw.shape} for a frame of {size[1]}×{size[0]}")
    if raw.min() < 0:
        raise BadSceneError(
            "mask has negative values", f"{file}: {raw.min()} may mean anything; write 0 = static, 1 = transient"
        )
    return raw
