"""Masks of any tools in the layout of DAVIS, scored against annotations in that layout, without a run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.davis import ANNOTATIONS, annotation_files, listed_scenes, read_annotation, scenes_folder
from wildrayzer.evaluation.metrics.masks import table_scores

METRICS = ("davis_jf", "davis_j", "davis_f", "iou")


def score_folders(
    truth: Path, methods: Mapping[str, Path], *, scene_list: str | None = None, scenes: Sequence[str] = ()
) -> pd.DataFrame:
    """Scores of every annotated frame, in the size of the annotations.

    Args:
        truth: folder that holds Annotations.
        methods: folder of each method: one that holds Annotations, or a folder for each scene.
        scene_list: list of scenes below `truth`; None takes a `val.txt` of ImageSets, else all annotated scenes.
        scenes: take only scenes whose name contains one of these words.

    Returns:
        Columns `method`, `scene`, `frame` (name of the file without ending) and `METRICS`, one row per frame and
        method. Several objects become their union. NaN where no pixel of the truth is known or the mask has unknown
        pixels, and in `iou` where nothing is marked in the truth.

    Raises:
        ValueError: nothing to score, a frame that a method lacks, or a mask that cannot be read or has another
            size.
    """
    annotated = scenes_folder(truth, ANNOTATIONS)
    names = [name for name in listed_scenes(truth, scene_list)[0] or _folders(annotated) if _is_wanted(name, scenes)]
    folders = {name: scenes_folder(at, ANNOTATIONS) if (at / ANNOTATIONS).is_dir() else at
               for name, at in methods.items()}  # fmt: skip
    rows = []
    for scene in names:
        files = _files(annotated, scene)
        true = {frame: _read(file) for frame, file in files.items()}
        for method, folder in folders.items():
            masks = _masks(method, folder, scene, true)
            columns = [table_scores(masks[frame][None], true[frame][None]) for frame in true]
            rows += [
                (method, scene, frame, *(float(scores[metric][0]) for metric in METRICS))
                for frame, scores in zip(true, columns, strict=True)
            ]
    if not rows:
        words = f" with {', '.join(scenes)} in their names" if scenes else ""
        raise ValueError(f"{annotated} has no annotated scenes{words}; name the folder that holds {ANNOTATIONS}")
    return pd.DataFrame(rows, columns=["method", "scene", "frame", *METRICS])


def means_over_sequences(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of each method as DAVIS takes it, first over the frames of a sequence and then over sequences.

    Returns:
        Index `method` in the order of the scores; columns `METRICS`, `scenes` and `frames`.
    """
    of_scene = scores.groupby(["method", "scene"], sort=False)[list(METRICS)].mean()
    means = of_scene.groupby("method", sort=False).mean()
    counts = scores.groupby("method", sort=False)
    return means.assign(scenes=counts["scene"].nunique(), frames=counts.size())


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_wanted(name: str, words: Iterable[str]) -> bool:
    return not words or any(word in name for word in words)


def _files(folder: Path, scene: str) -> dict[str, Path]:
    try:
        return annotation_files(folder, scene)
    except BadSceneError as error:
        raise ValueError(str(error)) from None


def _read(file: Path) -> UInt8[np.ndarray, "h w"]:
    try:
        return read_annotation(file)[0]
    except BadSceneError as error:
        raise ValueError(f"{error.detail}; write it again") from None


def _masks(
    method: str, folder: Path, scene: str, true: Mapping[str, UInt8[np.ndarray, "h w"]]
) -> dict[str, UInt8[np.ndarray, "h w"]]:
    """Masks of a method for all annotated frames of a scene."""
    files = _files(folder, scene)
    lacking = sorted(set(true) - set(files))
    if lacking:
        raise ValueError(
            f"{method}: {folder / scene} lacks {len(lacking)} of {len(true)} annotated frames, such as "
            f"{lacking[0]}.png; all methods are scored on the same frames: add them, or choose scenes with --scene"
        )
    masks = {}
    for frame, truth in true.items():
        masks[frame] = mask = _read(files[frame])
        if mask.shape != truth.shape:
            raise ValueError(
                f"{files[frame]}: {mask.shape[1]}×{mask.shape[0]}, the annotation has {truth.shape[1]}×"
                f"{truth.shape[0]}; resize it with nearest neighbours"
            )
    return masks
