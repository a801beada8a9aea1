"""True masks beside a processed folder: `binary_masks/SCENE/00000.npy`, 1 = transient."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from jaxtyping import UInt8

from wildrayzer.data.frame_store.parts import UNKNOWN
from wildrayzer.data.readers.base import BadSceneError, Fit


def read_masks(
    root: Path,
    scene: str,
    sizes: Sequence[tuple[int, int]],
    fits: Sequence[Fit],
    *,
    inside: Callable[[Path], Path],
) -> UInt8[np.ndarray, "n h w"] | None:
    """Masks of a scene's frames, fitted as they were: 1 = transient, 0 = static, 255 = no file; None without a folder.

    Args:
        root: folder of all scenes' masks.
        scene: name of the scene.
        sizes: width and height of every frame before the fit.
        fits: of every frame.
        inside: gives back a path that stays in the data folder, links followed, and refuses any other.

    Raises:
        BadSceneError: a mask cannot be read or has another size, or it is unclear which frame a file belongs to.
    """
    # A list of evaluation windows names scenes SCENE_context_2_split_0; their masks are those of SCENE.
    folders = [root / key for key in (scene, scene.partition("_context_")[0])]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        return None
    first = _first_number(folder, len(fits))
    masks = np.full((len(fits), fits[0].size, fits[0].size), UNKNOWN, np.uint8)
    for number, (size, fit) in enumerate(zip(sizes, fits, strict=True)):
        file = folder / f"{number + first:05d}.npy"
        if file.is_file():
            masks[number] = _read_mask(inside(file), size, fit)
    return masks


def _first_number(folder: Path, count: int) -> int:
    """Most scenes of D-RE10K number their masks from 0, some from 1."""
    if (folder / "00000.npy").is_file():
        return 0
    if (folder / f"{count:05d}.npy").is_file() or not any(folder.glob("*.npy")):
        return 1
    raise BadSceneError("mask numbers are unclear", f"{folder} has neither 00000.npy nor {count:05d}.npy")


def _read_mask(file: Path, size: tuple[int, int], fit: Fit) -> UInt8[np.ndarray, "h w"]:
    try:
        raw = np.lib.format.open_memmap(file, mode="r")  # so that a broken header does not ask for memory
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError, TokenError) as error:
        raise BadSceneError("mask cannot be read", f"{file}: {error}") from None
    if raw.dtype.kind not in "buif" or not raw.size or not np.isfinite(raw).all():
        raise BadSceneError("mask cannot be read", f"{file}: {raw.dtype} {raw.shape}, not numbers for every pixel")
    if raw.ndim == 2 and raw.shape == (size[1], size[0]):
        return fit.mask((raw > 0).astype(np.uint8))
    if raw.ndim == 2 and raw.shape[0] == raw.shape[1]:  # made on the cropped frame already
        return Fit.of(raw.shape[1], raw.shape[0], fit.size).mask((raw > 0).astype(np.uint8))
    raise BadSceneError("mask has a wrong size", f"{file}: {raw.shape} for a frame of {size[1]}×{size[0]}")
