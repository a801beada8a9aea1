"""Residual windows: which frames of a clip are rendered from which, enumerated once and written down.

Source: docs/method.md#windows.

Every frame of a usable clip is a target of exactly one window. A clip is cut into nearly equal segments of at most
2·T frames, and each segment into interleaved groups of at most T frames (two, even and odd, but in very short clips);
a group is the targets of one window. Its inputs are K frames outside the group: the ones nearest the segment's ends
first, then evenly between, so that targets lie between inputs as they do in training. Segments with fewer than K
other frames borrow the nearest ones from beside them. A clip needs K + 1 frames.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.data.frame_store.manifest import StorePart
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.io.digests import digest_json
from wildrayzer.io.files import read_json, write_bytes_atomic
from wildrayzer.io.validated import validated

VERSION = 1
"""Version of the rule."""
FILE_VERSION = 2
"""Version of the file: it lists the windows of each clip length once. Files of version 1 list those of each clip."""

_Views = tuple[tuple[int, ...], tuple[int, ...]]
"""Inputs and targets of a window."""
_FIX = "make it again"


class _Document(BaseModel):
    """What a file holds: version 2 has `by_length`, version 1 `windows` and `skipped`."""

    store_digest: str
    inputs: int
    targets: int
    lengths: tuple[int, ...]
    by_length: dict[int, list[_Views]] = Field(default_factory=dict)
    windows: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = Field(default_factory=list)
    skipped: dict[int, str] = Field(default_factory=dict)
    digest: str


@dataclass(frozen=True, slots=True)
class Window:
    """Inputs and targets, as frame numbers within the clip of scene number `scene`."""

    scene: int
    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def _segments(length: int, most: int) -> list[tuple[int, int]]:
    count = -(-length // most)
    bounds = [length * number // count for number in range(count + 1)]
    return list(pairwise(bounds))


def _inputs(group: tuple[int, ...], start: int, stop: int, length: int, inputs: int) -> tuple[int, ...]:
    taken = set(group)
    while True:
        others = [frame for frame in range(start, stop) if frame not in taken]
        if len(others) >= inputs:
            break
        start, stop = max(start - 1, 0), min(stop + 1, length)
    places = np.round(np.linspace(0, len(others) - 1, inputs)).astype(int)
    return tuple(others[place] for place in places)


def clip_windows(scene: int, length: int, *, inputs: int, targets: int) -> list[Window]:
    """The windows of one clip of `length` frames.

    Raises:
        ValueError: the clip has fewer than inputs + 1 frames.
    """
    if length < inputs + 1:
        raise ValueError(f"a clip of {length} frames is too short for residuals.inputs = {inputs} and one target")
    windows = []
    most = min(targets, length - inputs)
    for start, stop in _segments(length, 2 * targets):
        stride = max(2, -(-(stop - start) // most))
        for first in range(start, min(start + stride, stop)):
            group = tuple(range(first, stop, stride))
            windows.append(Window(scene, _inputs(group, start, stop, length, inputs), group))
    return windows


@dataclass(frozen=True)
class WindowList:
    """All windows of a split, by scene; `skipped` maps scene numbers to the reason why they have none."""

    store_digest: str
    inputs: int
    targets: int
    lengths: tuple[int, ...]
    windows: tuple[Window, ...]
    skipped: dict[int, str]

    @classmethod
    def build(cls, store: FrameStore, config: ResidualsConfig) -> "WindowList":
        """Enumerate the windows of all clips of a store."""
        lengths = tuple(np.diff(store.offsets).tolist())
        by_length = {
            length: [
                (one.inputs, one.targets)
                for one in clip_windows(0, length, inputs=config.inputs, targets=config.targets)
            ]
            for length in set(lengths)
            if length > config.inputs
        }
        return cls._of_lengths(store.digest, config.inputs, config.targets, lengths, by_length)

    @classmethod
    def _of_lengths(
        cls, store_digest: str, inputs: int, targets: int, lengths: tuple[int, ...],
        by_length: Mapping[int, Sequence[_Views]],
    ) -> "WindowList":  # fmt: skip
        """The list in which all clips of a length have the same windows; clips of other lengths are skipped."""
        windows = tuple(
            Window(scene, *views) for scene, length in enumerate(lengths) for views in by_length.get(length, ())
        )
        skipped = {
            scene: f"{length} frames, residuals.inputs = {inputs} need {inputs + 1}"
            for scene, length in enumerate(lengths)
            if length not in by_length
        }
        return cls(store_digest, inputs, targets, lengths, windows, skipped)

    def _by_length(self) -> dict[int, list[_Views]]:
        """Windows of the first clip of each length that has some."""
        found: dict[int, tuple[int, list[_Views]]] = {}
        for window in self.windows:
            scene, views = found.setdefault(self.lengths[window.scene], (window.scene, []))
            if scene == window.scene:
                views.append((window.inputs, window.targets))
        return {length: views for length, (_, views) in found.items()}

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def digest(self) -> str:
        """Stands for everything in the list."""
        return digest_json(self._document())

    def _document(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "store_digest": self.store_digest,
            "inputs": self.inputs,
            "targets": self.targets,
            "lengths": self.lengths,
            "skipped": {str(scene): reason for scene, reason in self.skipped.items()},
            "windows": [[window.scene, list(window.inputs), list(window.targets)] for window in self.windows],
        }

    def check_cover(self) -> None:
        """Check that every frame of every clip that is not skipped is a target exactly once, and never its own input.

        Raises:
            ValueError: it is not so; the clip is named.
        """
        targets: dict[int, list[int]] = {scene: [] for scene in range(len(self.lengths)) if scene not in self.skipped}
        for window in self.windows:
            views = window.inputs + window.targets
            if window.scene not in targets:
                raise ValueError(f"windows: clip {window.scene} is skipped or unknown but has a window")
            if len(set(views)) < len(views) or not 0 <= min(views) <= max(views) < self.lengths[window.scene]:
                raise ValueError(f"windows: clip {window.scene} repeats or leaves its frames in {views}")
            targets[window.scene] += window.targets
        for scene, frames in targets.items():
            if sorted(frames) != list(range(self.lengths[scene])):
                raise ValueError(f"windows: frames of clip {scene} are not each a target once; delete the window list")

    def of_part(self, part: StorePart) -> "WindowList":
        """The windows of one part of the store, as if it were all: scenes are counted from the part's first one.

        The list and its digest do not depend on other parts.
        """
        first, after = part.first_scene, part.first_scene + part.num_scenes
        low, high = (bisect_left(self.windows, scene, key=lambda window: window.scene) for scene in (first, after))
        return WindowList(
            part.key,
            self.inputs,
            self.targets,
            self.lengths[first:after],
            tuple(replace(window, scene=window.scene - first) for window in self.windows[low:high]),
            {scene - first: reason for scene, reason in self.skipped.items() if first <= scene < after},
        )

    def save(self, path: str | Path) -> None:
        """Write the list as JSON."""
        by_length = self._by_length()
        whole: dict[str, Any] = self._document()
        if self._of_lengths(self.store_digest, self.inputs, self.targets, self.lengths, by_length) == self:
            for name in ("windows", "skipped"):
                del whole[name]
            whole |= {"version": FILE_VERSION, "by_length": by_length}
        text = json.dumps({**whole, "digest": self.digest}, separators=(",", ":"))
        write_bytes_atomic(path, f"{text}\n".encode())

    @classmethod
    def load(cls, path: str | Path) -> "WindowList":
        """Read a list.

        Raises:
            ValueError: it is damaged, has another version, or was changed since it was written.
        """
        document = read_json(path)
        version = document.get("version") if isinstance(document, dict) else None
        if version not in (1, FILE_VERSION):
            raise ValueError(f"{path}: window list of version {version}, not {FILE_VERSION}; {_FIX}")
        read = validated(document, _Document, source=path, fix=_FIX)
        head = read.store_digest, read.inputs, read.targets, read.lengths
        if version == FILE_VERSION:
            made = cls._of_lengths(*head, read.by_length)
        else:
            made = cls(*head, tuple(Window(*one) for one in read.windows), read.skipped)
        if made.digest != read.digest:
            raise ValueError(f"{path}: the window list does not fit its digest; {_FIX}")
        return made
