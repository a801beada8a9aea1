"""Evaluation windows, and the frozen files that name them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
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
    unused: int
    """Entries of the index file that the split cannot serve, left out with `benchmark.intersect_index`."""

    @classmethod
    def of(
        cls, windows: Iterable[EvaluationWindow], skipped: dict[str, str], *, unused: int = 0
    ) -> "EvaluationWindows":
        """Windows and the reasons why scenes have none."""
        made = cls(windows)
        made.skipped, made.unused = skipped, unused
        return made

    def entries(self, scenes: Sequence[str]) -> dict[str, dict[str, list[int]]]:
        """The windows as an index file has them; `scenes` are the names of the split's scenes."""
        return {scenes[w.scene]: {"context": list(w.inputs), "target": list(w.targets)} for w in self}


def read_index(store: FrameStore, file: str | Path, *, intersect: bool = False) -> EvaluationWindows:
    """The windows of an index file, `{scene: {"context": [...], "target": [...]} or null}`.

    A scene may also be named by the path of its file, as in lists that another machine wrote: the file name counts.

    Args:
        store: frames of the split.
        file: the index file.
        intersect: leave out scenes that the split lacks, and clips shorter than the file asks.

    Raises:
        ValueError: it names a frame or scene twice, or leaves every scene out; without `intersect` also where it asks
            for scenes or frames that the split lacks.
    """
    index = read_json(file)
    if not isinstance(index, dict):
        raise ValueError(
            f'{file} is no map of scenes; write {{"SCENE": {{"context": [numbers], "target": [numbers]}}}}'
        )
    known = {name: number for number, name in enumerate(store.scenes)}
    index = by_scene(index, file)
    lacking = sorted(
        name for name, views in index.items() if name not in known and (views is not None or not intersect)
    )
    skipped = {name: "not in the index file" for name in store.scenes if name not in index}
    windows, short = [], {}
    for name, views in index.items():
        if views is None:
            if name in known:
                skipped[name] = "left out by the index file"
            continue
        inputs, targets = _views(file, name, views)
        if name not in known:
            continue
        length, last = store.length(known[name]), max(*inputs, *targets)
        if last >= length:
            short[name] = f"{length} frames, the index file asks for frame {last}"
            continue
        windows.append(EvaluationWindow(known[name], inputs, targets))
    if not intersect:
        _refuse(file, store, lacking, short, entries=len(index))
    if lacking or short:
        logger.warning("%s: of its %d scenes, %s lacks %d, and %d are too short there", file, len(index), store.path,
                       len(lacking), len(short))  # fmt: skip
    skipped |= short
    seen = [store.scenes[window.scene] for window in windows if set(window.inputs) & set(window.targets)]
    if seen:  # published indices of RE10K have such windows: scored as they are
        logger.warning("%s: %d of %d windows have a target among their inputs, such as %s", file, len(seen),
                       len(windows), seen[0])  # fmt: skip
    if not windows:
        raise ValueError(f"{file} leaves out every scene of {store.path}; name the views of at least one")
    unused = len(lacking) + len(short)
    return EvaluationWindows.of(sorted(windows, key=lambda window: window.scene), skipped, unused=unused)


def by_scene(index: dict[str, Any], file: str | Path) -> dict[str, Any]:
    """An index by names of scenes, where a list of another machine names them by the paths of their files.

    Raises:
        ValueError: two paths have one file name.
    """
    names = {key: key.replace("\\", "/").rpartition("/")[2].removesuffix(".json") for key in index}
    if len(set(names.values())) < len(index):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise ValueError(f"{file} names scene {twice} twice; name every scene once")
    return {names[key]: views for key, views in index.items()}


def _refuse(
    file: str | Path, store: FrameStore, lacking: Sequence[str], short: Mapping[str, str], *, entries: int
) -> None:
    faults = []
    if lacking:
        faults.append(
            f"names scenes that are not in {store.path}: {', '.join(lacking[:5])} ({len(lacking)} of {entries})"
        )
    if short:
        some = "; ".join(f"{name} has {why}" for name, why in list(short.items())[:5])
        faults.append(f"asks for frames beyond the end of {len(short)} clips: {some}")
    if faults:
        raise ValueError(
            f"{file} {'; and '.join(faults)}. Prepare the split that the file belongs to, or set "
            "benchmark.intersect_index: true to score the scenes that both have"
        )


def _views(file: str | Path, scene: str, views: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Inputs and targets of an entry of an index file."""
    parts: list[Any] = [views.get(name) for name in ("context", "target")] if isinstance(views, dict) else []
    if not parts or not all(isinstance(part, list) and part for part in parts):
        raise ValueError(
            f'{file}: scene {scene} is {views!r}; write {{"context": [numbers], "target": [numbers]}}, or null to '
            "leave it out"
        )
    for frame in (frame for part in parts for frame in part):
        if type(frame) is not int or frame < 0:
            raise ValueError(f"{file}: scene {scene} has no frame {frame!r}; frames are numbered from 0 in the clip")
    for key, part in zip(("context", "target"), parts, strict=True):
        again = next((frame for place, frame in enumerate(part) if frame in part[:place]), None)
        if again is not None:
            raise ValueError(f"{file}: scene {scene} has frame {again} twice in {key!r}; name every frame once")
    return tuple(parts[0]), tuple(parts[1])
