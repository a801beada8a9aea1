"""What is worth knowing of a split's scenes, and its counts: resolution, clip length, how the camera moves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from wildrayzer.data.readers.base import Scene

TURN_EDGES = tuple(float(edge) for edge in range(0, 181, 5))
"""Bins of the turn, degrees."""
TRAVEL_EDGES = tuple(float(f"{10 ** (step / 4):.3g}") for step in range(-12, 13))
"""Bins of the travel, in the data set's own unit; four a decade."""


def camera_turn(c2w: Float[np.ndarray, "n 4 4"]) -> float:
    """Largest angle between the optical axis of the first frame and that of any other, in degrees."""
    axes = c2w[:, :3, 2]
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return float(np.degrees(np.arccos(np.clip(axes @ axes[0], -1.0, 1.0)).max()))


def camera_travel(c2w: Float[np.ndarray, "n 4 4"]) -> float:
    """Length of the path of the camera's centre, in the data set's own unit."""
    return float(np.linalg.norm(np.diff(c2w[:, :3, 3], axis=0), axis=1).sum())


def scene_facts(scene: Scene) -> dict[str, Any]:
    """Frames, resolution, turn, travel and, if several, marked objects of a scene; what is not known is left out."""
    facts: dict[str, Any] = {"frames": len(scene.frames)}
    if scene.source_size is not None:
        facts["size"] = "{}×{}".format(*scene.source_size)
    if scene.objects is not None and scene.objects > 1:
        facts["objects"] = scene.objects
    if scene.c2w is not None:
        facts |= {"turn": round(camera_turn(scene.c2w), 3), "travel": float(f"{camera_travel(scene.c2w):.4g}")}
    return facts


def _histogram(values: Iterable[float], edges: Sequence[float]) -> list[int]:
    """Counts of the bins between the edges; what lies outside is in the first or the last bin."""
    inside = np.clip(list(values), edges[0], np.nextafter(edges[-1], edges[0]))
    return np.histogram(inside, bins=np.asarray(edges))[0].tolist()


@dataclass
class SplitFacts:
    """Counts over the scenes of a split, added up part by part."""

    resolution: Counter[str] = field(default_factory=Counter)
    clip_length: Counter[int] = field(default_factory=Counter)
    turn: np.ndarray = field(default_factory=lambda: np.zeros(len(TURN_EDGES) - 1, np.int64))
    travel: np.ndarray = field(default_factory=lambda: np.zeros(len(TRAVEL_EDGES) - 1, np.int64))

    @property
    def scenes(self) -> int:
        """Scenes that were counted."""
        return sum(self.clip_length.values())

    def add(self, scenes: Sequence[dict[str, Any]]) -> None:
        """Count the scenes of a part."""
        self.clip_length.update(scene["frames"] for scene in scenes)
        self.resolution.update(scene["size"] for scene in scenes if "size" in scene)
        self.turn += _histogram((scene["turn"] for scene in scenes if "turn" in scene), TURN_EDGES)
        self.travel += _histogram((scene["travel"] for scene in scenes if "travel" in scene), TRAVEL_EDGES)

    def report(self) -> dict[str, Any]:
        """Scenes by resolution and clip length; histograms of the camera's motion, null without cameras."""
        motion = {"turn_degrees": (TURN_EDGES, self.turn), "travel": (TRAVEL_EDGES, self.travel)}
        return {
            "resolution": dict(sorted(self.resolution.items(), key=lambda item: (-item[1], item[0]))),
            "clip_length": {str(length): count for length, count in sorted(self.clip_length.items())},
            **{
                name: {"edges": list(edges), "scenes": counts.tolist()} if counts.any() else None
                for name, (edges, counts) in motion.items()
            },
        }
