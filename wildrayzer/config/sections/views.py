"""Which frames make up a training sample, and how the choice moves over the steps of a stage."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import PAPER, RELEASE, SUPPLEMENT_A, Paper, Section


class CurriculumConfig(Section):
    """Views that lie close together at first (RayZer, E-RayZer): the range of the end frames' distance, or of their
    overlap, moves linearly from `start` to its final value over the first `steps` of the stage."""

    affects = "result"

    by: Literal["distance", "overlap"] = "distance"
    """`distance`: in frames, up to `min_distance` and `max_distance` (RayZer). `overlap`: the share of a view that the
    other end frame sees, up to `final` (E-RayZer); needs true cameras."""
    steps: Annotated[int, Paper(RELEASE, 0)] = Field(30_000, ge=1)
    """Optimiser steps over which the range moves; not more than the stage has. Differs from the paper."""
    start: tuple[float, float]
    """Range at the first step: whole frames, or shares with `by: overlap`."""
    final: tuple[float, float] | None = None
    """Range of the overlap after `steps`; null with `by: distance`, whose final range the views state."""
    tolerance: float = Field(0.05, ge=0.0, le=1.0)
    """With `by: overlap`, largest deviation from the overlap that is drawn; if no distance meets it, the nearest."""
    depth: float = Field(3.0, gt=0.0)
    """With `by: overlap`, assumed distance of the content from the cameras, in the data set's unit."""

    @model_validator(mode="after")
    def _ranges(self) -> "CurriculumConfig":
        overlap = self.by == "overlap"
        if overlap != (self.final is not None):
            state = "needs curriculum.final" if overlap else "ends at views.min_distance and views.max_distance; drop"
            raise ValueError(f"curriculum.by: {self.by} {state}{'' if overlap else ' curriculum.final'}")
        for name, found in (("start", self.start), ("final", self.final)):
            if found is None:
                continue
            low, high = found
            fits = 0.0 <= low <= high <= 1.0 if overlap else 1 <= low <= high and low == int(low) and high == int(high)
            if not fits:
                what = "shares in [0, 1]" if overlap else "whole frames of at least 1"
                raise ValueError(f"curriculum.{name} = [{low:g}, {high:g}] is no range of {what}, the smaller first")
        return self


class ViewsConfig(Section):
    """How the views of a training sample are drawn (`two_frame`)."""

    affects = "result"

    inputs: tuple[int, ...] = (2,)
    """Numbers of input views, mixed evenly over steps. One input is for pretraining: the renderer then also learns what
    leave-one-out residuals of two inputs ask of it (`model.motion_head.cross_residual`)."""
    targets: Annotated[int, Paper(SUPPLEMENT_A, listed=False)] = Field(6, ge=1)
    """Target views."""
    min_distance: int = Field(25, ge=1)
    """Least distance of the two end frames."""
    max_distance: int = Field(192, ge=1)
    """Largest distance of the two end frames; clipped to the clip."""
    curriculum: CurriculumConfig | None = None
    """Views that lie close together at first; null draws from the same range at every step."""
    input_views: Annotated[Literal["ends", "random"], Paper(PAPER)] = "ends"
    """Which views are inputs: the two `ends` and further ones, or any, drawn at `random` (RayZer)."""
    repeat_inputs: Annotated[bool, Paper(PAPER)] = False
    """Draw the targets from all views of the sample, the inputs among them (LVSM)."""
    shuffle: Annotated[bool, Paper(PAPER)] = True
    """Random direction of the end frames and random order of the frames between: removes the shortcut of
    reading a view's place off its index."""
    mirror: bool = False
    """Mirror a sample left to right at random."""
    flip: Annotated[bool, Paper(PAPER)] = False
    """Turn a sample upside down at random. Differs from the paper."""
    permute_colours: Annotated[bool, Paper(PAPER)] = False
    """Permute the colour channels of a sample at random. Differs from the paper."""

    @model_validator(mode="after")
    def _enough_frames(self) -> "ViewsConfig":
        if not self.inputs or min(self.inputs) < 1:
            raise ValueError(f"views.inputs = {list(self.inputs)}: a sample needs at least one input view")
        if self.max_distance < self.min_distance:
            raise ValueError(
                f"views.max_distance = {self.max_distance} is below views.min_distance = {self.min_distance}"
            )
        between = max(self.inputs) - 2 + self.targets
        if self.max_distance - 1 < between:
            raise ValueError(
                f"views.max_distance = {self.max_distance} leaves {self.max_distance - 1} frames between the ends, "
                f"but max(views.inputs) - 2 + views.targets = {between} distinct ones are needed; "
                "raise max_distance or lower targets"
            )
        nearest = self.curriculum
        if nearest is not None and nearest.by == "distance" and nearest.start[1] - 1 < between:
            raise ValueError(
                f"views.curriculum.start = {[int(frames) for frames in nearest.start]} leaves "
                f"{int(nearest.start[1]) - 1} frames between the ends, but max(views.inputs) - 2 + views.targets = "
                f"{between} distinct ones are needed; start with a larger distance"
            )
        return self

    def distances(self, step: int | None = None) -> tuple[int, int]:
        """Least and largest distance of the end frames at an optimiser step; None asks for the final range."""
        low, high = self.min_distance, self.max_distance
        nearest = self.curriculum
        if nearest is None or nearest.by == "overlap" or step is None:
            return low, high
        now = _between(nearest.start, (float(low), float(high)), step / nearest.steps)
        return int(now[0]), int(now[1])

    def overlaps(self, step: int) -> tuple[float, float] | None:
        """Range of the end frames' overlap at an optimiser step; None where the overlap is free."""
        nearest = self.curriculum
        if nearest is None or nearest.final is None:
            return None
        return _between(nearest.start, nearest.final, step / nearest.steps)

    @property
    def least_distance(self) -> int:
        """Distance that a clip's first and last frame need at least, at whatever step."""
        return max(self.min_distance, self.distances(0)[0])


def _between(start: tuple[float, float], final: tuple[float, float], share: float) -> tuple[float, float]:
    """The range at a share of the way from `start` to `final`, which it does not leave."""
    share = min(share, 1.0)
    low, high = (first + (last - first) * share for first, last in zip(start, final, strict=True))
    return low, high
