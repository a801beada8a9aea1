"""Does a stage learn what it should? Its metrics against what a healthy run shows from a stated step on.

A renderer that ignores its poses still shows a falling loss; these metrics tell it early.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from wildrayzer.config.sections.watch import HealthConfig

logger = logging.getLogger(__name__)
_RECENT = 10
"""Records of the training log that noisy metrics of single batches are averaged over."""
_LEAST = ("above_nearest", "above_mean", "pose_use", "camera_spread", "past_filter")
_LARGEST = ("masked_tokens", "calibration")
_AT_THE_END = ("above_nearest",)
"""Judged after the last step only: copying the nearest view is a strong shortcut that healthy renderers pass late."""
_MEANING = {
    "above_nearest": ("it renders worse than a copy of the nearest input view", "train longer"),
    "above_mean": ("it renders hardly better than one colour", "check the frames and the learning rate"),
    "pose_use": ("it ignores the poses", "check that the views of a sample are far enough apart"),
    "camera_spread": (
        "all scenes get the same cameras",
        "check that cameras move in the clips; if they do, start the stage again with half its learning_rate",
    ),
    "past_filter": (
        "hardly a dynamic view supervises the motion head",
        "lower psnr_filter, or train the renderer longer",
    ),
    "masked_tokens": ("hardly an input token is left to render from", "raise model.motion_head.threshold"),
    "calibration": ("the motion head is far off its labels", "check dynamic_share and paste_share"),
}
"""What a failure means, and what to try."""


class UnhealthyError(RuntimeError):
    """A stage fails its health check and `watch.health.stop` asks to stop."""


class HealthCheck:
    """Keeps a stage's newest metrics and judges them.

    Args:
        config: the `watch.health` section.
        stage: name for messages.
        steps: optimiser steps of the stage.
    """

    def __init__(self, config: HealthConfig, *, stage: str, steps: int) -> None:
        self.config, self.stage, self.steps = config, stage, steps
        self._recent: dict[str, deque[float]] = {}

    def see(self, kind: str, values: Mapping[str, Any]) -> None:
        """Take metrics of the training batch (averaged over the last ten records) or of a validation (the newest)."""
        for name in (*_LEAST, *_LARGEST):
            if name in values:
                recent = self._recent.setdefault(name, deque(maxlen=1 if kind == "validation" else _RECENT))
                recent.append(values[name])

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take what a run had written before it was stopped, so that it is judged as if it had never stopped."""
        for record in records:
            if record["kind"] in ("train", "validation"):
                self.see(record["kind"], record)

    def failures(self, step: int) -> dict[str, float]:
        """Metrics that fail after `step` steps, by name; none before the stated step. Each is logged as a warning."""
        if self.config.by is None or step < self.config.by * self.steps:
            return {}
        found = {}
        when = "Look" if step >= self.steps else "If the next validation repeats this, look"
        for name, recent in self._recent.items():
            if name in _AT_THE_END and step < self.steps:
                continue
            value, limit = sum(recent) / len(recent), getattr(self.config, name)
            if not (value >= limit if name in _LEAST else abs(value) <= limit):
                found[name] = value
                meaning, fix = _MEANING[name]
                logger.warning(
                    "%s, step %d of %d: %s: %s is %.4g, at %s %.4g is expected by now (watch.health.%s). %s at the "
                    "pictures beside its metrics.jsonl; %s.",
                    *(self.stage, step, self.steps, meaning, name, value, "least" if name in _LEAST else "most"),
                    *(limit, name, when, fix),
                )
        return found

    def error(self, step: int, failures: dict[str, float]) -> UnhealthyError:
        """What to raise for failures."""
        listed = ", ".join(f"{name} {value:.4g}" for name, value in failures.items())
        return UnhealthyError(
            f"{self.stage} stopped at step {step} of {self.steps}, it fails its health check: {listed}; look at its "
            "pictures and metrics.jsonl, or set watch.health.stop: false to continue all the same"
        )


def derived_metrics(values: dict[str, float]) -> dict[str, float]:
    """Metrics of a training record with what follows from them.

    `past_filter`: share of the dynamic views that pass the PSNR filter and supervise the head (its two counts are
    dropped); `calibration`: mean probability minus mean label of the motion head, 0 for a calibrated one.
    """
    found = dict(values)
    if "dynamic_views" in found:
        passed, seen = found.pop("passing_views"), found.pop("dynamic_views")
        if seen > 0.0:
            found["past_filter"] = passed / seen
    if "mean_probability" in found:
        found["calibration"] = found["mean_probability"] - found["mean_label"]
    return found
