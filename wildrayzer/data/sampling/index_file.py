"""Evaluation windows, and the frozen files that name them."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.io.files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationWindow:
    """Views to score: frame numbers within the clip."""

    scene: int
    inputs: tuple[int, ...]
    targets: tuple[int, ...]


class EvaluationWindows(tuple[EvaluationWindow, ...]):
    """One window a scene, in the store's order; `skipped` maps the names of the other scenes to reasons."""

    skipped: dict[str, str]

    @classmethod
    def of(cls, windows: Iterable[EvaluationWindow], skipped: dict[str, str]) -> "EvaluationWindows":
        """Windows and the reasons why scenes have none."""
        made = cls(windows)
        made.skipped = skipped
        return made


def read_index(store: FrameStore, file: str | Path) -> EvaluationWindows:
    """The windows of an index file, `{scene: {"context": [...], "target": [...]} or null}`.

    Raises:
        ValueError: it names unknown scenes or frames, or a frame twice, or leaves every scene out.
    """
    index = read_json(file)
    if not isinstance(index, dict):
        raise ValueError(
            f'{file} is no map of scenes; write {{"SCENE": {{"context": [numbers], "target": [numbers]}}}}'
        )
    known = {name: number for number, name in enumerate(store.scenes)}
    unknown = sorted(set(index) - set(known))
    if unknown:
        raise ValueError(
            f"{file} names scenes that are not in {store.path}: {unknown[:5]} ({len(unknown)} in all); "
            "prepare the split they belong to, or remove them"
        )
    windows, skipped = [], {name: "not in the index file" for name in store.scenes if name not in index}
    for name, views in index.items():
        if views is None:
            skipped[name] = "left out by the index file"
            continue
        windows.append(EvaluationWindow(known[name], *_views(file, name, views, store.length(known[name]))))
    seen = [store.scenes[window.scene] for window in windows if set(window.inputs) & set(window.targets)]
    if seen:  # published indices of RE10K have such windows: scored as they are
        logger.warning("%s: %d of %d windows have a target among their inputs, such as %s", file, len(seen),
                       len(windows), seen[0])  # fmt: skip
    if not windows:
        raise ValueError(f"{file} leaves out every scene of {store.path}; name the views of at least one")
    return EvaluationWindows.of(sorted(windows, key=lambda window: window.scene), skipped)


def _views(file: str | Path, scene: str, views: Any, length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Inputs and targets of an entry of an index file, for a clip of `length` frames."""
    parts: list[Any] = [views.get(name) for name in ("context", "target")] if isinstance(views, dict) else []
    if not parts or not all(isinstance(part, list) and part for part in parts):
        raise ValueError(
            f'{file}: scene {scene} is {views!r}; write {{"context": [numbers], "target": [numbers]}}, or null to '
            "leave it out"
        )
    for frame in (frame for part in parts for frame in part):
        if type(frame) is not int or not 0 <= frame < length:
            raise ValueError(
                f"{file}: scene {scene} has the frames 0 to {length - 1}, not {frame!r}; give their numbers in the clip"
            )
    for key, part in zip(("context", "target"), parts, strict=True):
        again = next((frame for place, frame in enumerate(part) if frame in part[:place]), None)
        if again is not None:
            raise ValueError(f"{file}: scene {scene} has frame {again} twice in {key!r}; name every frame once")
    return tuple(parts[0]), tuple(parts[1])
