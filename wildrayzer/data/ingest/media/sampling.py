"""Which of the decoded frames of a recording are taken, where a new clip begins among them, and what was seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

SMALL_SIDE = 128
"""Longer side, in pixels, of the pictures that cuts are found in."""
_DARKEST = 32
"""Darker code values are raised to this one in the search for cuts."""
F = TypeVar("F")


@dataclass(frozen=True)
class SamplingOptions:
    """Which frames of a recording are taken, and where its clips begin."""

    fps: float = 5.0
    """Frames per second; 0 takes all."""
    cuts: bool = False
    """Whether cuts are looked for."""
    sharpest: bool = False
    """Take the sharpest frame of each interval rather than the first."""


@dataclass(frozen=True)
class Decoded(Generic[F]):
    """A decoded frame."""

    seconds: float
    """From the first frame."""
    frame: F
    """The frame."""
    begins: bool = False
    """Whether another recording or shot begins with it."""


@dataclass
class VideoNotes:
    """What was seen while a video was read; filled in as its frames are taken."""

    decoded: int = 0
    """Frames decoded."""
    seconds: float = 0.0
    """Time of the last decoded frame, from the first."""
    covered: float = 0.0
    """Time when that frame ends, from the first."""
    rotation: int = 0
    """Counter-clockwise turn in degrees that made the frames upright."""
    jumps: list[int] = field(default_factory=list)
    """Numbers, among the frames taken, of those with which another recording or shot begins."""
    gaps: int = 0
    """How often time stamps jump."""
    cuts: int = 0
    """How many cuts were found."""
    remarks: list[str] = field(default_factory=list)
    """Anything odd."""

    def remark(self, text: str) -> None:
        """Add a remark, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def remark_on_cuts(self) -> None:
        """Add a remark where there are cuts."""
        if self.cuts:
            self.remarks.append(f"{self.cuts} cuts: a new clip begins at each cut (--no-cuts ignores them)")


class CutFinder:
    """Finds cuts: frames whose colours differ from those of the frame before (`ContentDetector` of PySceneDetect).

    The mean difference of saturation and value (HSV, 8 bits) must reach 27, the detector's default. Hue is left out,
    unlike there: that of grey things is noise.
    """

    def __init__(self) -> None:
        self._number, self._shape = 0, (0, 0, 0)

    def begins_with(self, small: UInt8[np.ndarray, "h w 3"]) -> bool:
        """Whether a shot begins with this frame, the next of the recording: RGB, reduced to about `SMALL_SIDE`."""
        from scenedetect import FrameTimecode
        from scenedetect.detectors import ContentDetector

        if small.shape != self._shape:  # the first frame; others are refused later, because their size differs
            weights = ContentDetector.Components(delta_hue=0.0, delta_sat=1.0, delta_lum=1.0, delta_edges=0.0)
            self._detector, self._shape = ContentDetector(min_scene_len=0, weights=weights), small.shape
        self._number += 1
        number = FrameTimecode(self._number, fps=25.0)  # only its order counts
        # Saturation of what is almost black is noise as well.
        bgr = np.maximum(small[..., ::-1], _DARKEST)
        return bool(self._detector.process_frame(number, bgr))


def sharpness(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Variance of the Laplacian: the larger, the more fine structure."""
    return float(cv2.Laplacian(grey, cv2.CV_16S).astype(np.float32).var())


def sampled(
    frames: Iterator[Decoded[F]], fps: float, begins: list[int], *, score: Callable[[F], float] | None = None
) -> Iterator[tuple[float, F]]:
    """Time and frame of one frame for each interval of 1/fps; all frames for fps 0.

    Of each interval the first frame is taken, or with `score` that of the highest score, and the first of equals.
    Intervals are counted again from frames that begin a recording or shot. A video slower than `fps` gives every frame
    once.

    Args:
        frames: in the order of time.
        fps: frames per second.
        begins: receives the numbers, among the frames taken, of those that begin a recording or shot, but not 0.
        score: of a frame.
    """
    start, due, taken = 0.0, 0, 0
    best: tuple[float, float, F] | None = None  # score, time and frame of the interval that is not over
    for one in frames:
        # Half a millisecond of grace: containers round their times.
        place = (one.seconds - start + 5e-4) * fps
        if one.begins or not fps or place >= due:
            if best is not None:
                yield best[1], best[2]
            if one.begins:
                start, due, place = one.seconds, 0, 0.0
                if taken:
                    begins.append(taken)
            due, taken = int(place) + 1, taken + 1
            best = (score(one.frame) if score else 0.0, one.seconds, one.frame)
            if score is None:  # nothing in the interval can replace it
                yield best[1], best[2]
                best = None
        elif score is not None and best is not None and (found := score(one.frame)) > best[0]:
            best = found, one.seconds, one.frame
    if best is not None:
        yield best[1], best[2]
