"""The five figures that sum up a run, each beside its controls, and what became of the claims. Needs no torch.

The report opens with them, and `wildrayzer run summary` prints them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wildrayzer.config import RunConfig
from wildrayzer.evaluation.metrics.bootstrap import MIN_SCENES
from wildrayzer.evaluation.tables.files import read_claims, read_summary
from wildrayzer.evaluation.tables.manifests import read_healths
from wildrayzer.evaluation.tables.tables import TableContext
from wildrayzer.run.layout import RunLayout

_PLURAL = {"holds": "hold", "does not hold": "do not hold"}


@dataclass(frozen=True)
class Highlight:
    """A figure in words, beside what shortcuts reach."""

    what: str
    """What was measured, such as `New views of static clips`."""
    figure: str
    """Its mean over scenes, with the unit."""
    controls: str
    """A sentence with the figures of the controls; empty where none is scored."""

    @property
    def sentence(self) -> str:
        """All of it as text."""
        return f"{self.what}: {self.figure}. {self.controls}".strip()


@dataclass(frozen=True)
class Verdicts:
    """What became of the claims."""

    counts: Mapping[str, int]
    """Number of claims by verdict, the most favourable first."""
    failed: tuple[str, ...]
    """Claims that do not hold, with the place where they were measured."""

    @property
    def sentence(self) -> str:
        """Counts, and why claims are undecided."""
        listed = ", ".join(f"{n} {_PLURAL.get(name, name) if n > 1 else name}" for name, n in self.counts.items())
        why = f" Undecided: the interval contains 0, or fewer than {MIN_SCENES} scenes." * ("undecided" in self.counts)
        return f"Of {sum(self.counts.values())} claims: {listed}.{why}"


@dataclass(frozen=True)
class RunHighlights:
    """What a run has shown."""

    figures: tuple[Highlight, ...]
    """Up to five; what is not scored is left out."""
    verdicts: Verdicts
    """What became of the claims."""

    @classmethod
    def read(cls, config: RunConfig, layout: RunLayout) -> "RunHighlights":
        """From the tables of a run.

        Raises:
            ValueError: there are none yet, or they are damaged.
        """
        kinds = TableContext.from_config(config).kinds
        (health,) = read_healths([layout.renderer_scores]) if Path(layout.renderer_scores).is_file() else (None,)
        summary, claims = read_summary(layout.tables), read_claims(layout.tables)
        return cls(tuple(highlights(summary, kinds, health)), verdicts(claims))


def highlights(summary: pd.DataFrame, kinds: Mapping[str, str], health: Mapping[str, Any] | None) -> list[Highlight]:
    """Views, cameras, masks, false alarms and removal, as far as they are scored.

    Args:
        summary: means of a run, as in `summary.csv`; the smallest number of inputs counts.
        kinds: kind of each split, see `TableContext.kinds`; the first split of a kind counts.
        health: result of `score_renderer_health`, or None.
    """
    means = _Means(summary, kinds)
    renderings = (
        ("Where something moved, against the clean frame", "pairs", "ghost"),
        ("Where nothing moves in clips with moving objects", "moving", "static"),
    )
    rivals = {"unmasked": "Trained without masks", "static": "The static renderer"}
    removal = [means.highlight(what, "joint", (kind, region, "psnr"), rivals) for what, kind, region in renderings]
    shortcuts = {"nearest": "Copying the nearest input", "blend": "Blending the inputs"}
    others = {"residual:renderer": "The plain residual", "pseudo:nearest": "A copied input in place of the rendering"}
    overlap = [
        means.highlight("Overlap of masks with what moves (IoU)", "refined:renderer", (kind, "mask", "iou"), others)
        for kind in ("moving", "pairs")
    ]
    found = [
        means.highlight("New views of static clips", "static", ("static", "full", "psnr"), shortcuts),
        _cameras(health),
        overlap[0] or overlap[1],
        _standing_still(means),
        removal[0] or removal[1],
    ]
    return [highlight for highlight in found if highlight is not None]


class _Means:
    def __init__(self, summary: pd.DataFrame, kinds: Mapping[str, str]) -> None:
        place = ["split", "method", "region", "metric"]
        first = summary.sort_values("inputs", kind="stable").drop_duplicates(place)
        self.values = first.set_index(place)["mean"].to_dict()
        self.kinds = kinds

    def text(self, method: str, place: tuple[str, str, str]) -> str:
        """Mean of a method at (kind of split, region, metric), with the unit; empty where nothing is scored."""
        kind, region, metric = place
        splits = [split for split, own in self.kinds.items() if own == kind]
        found = [self.values.get((split, method, region, metric), np.nan) for split in splits]
        value = next((mean for mean in found if np.isfinite(mean)), np.nan)
        if np.isnan(value):
            return ""
        return f"{value:.1f} dB" if metric == "psnr" else f"{100 * value:.1f}%"

    def highlight(
        self, what: str, method: str, place: tuple[str, str, str], controls: Mapping[str, str]
    ) -> Highlight | None:
        """A method's figure beside those of other methods at the same place; `controls` has words for each of them."""
        figure = self.text(method, place)
        others = [f"{words}: {text}" for name, words in controls.items() if (text := self.text(name, place))]
        return Highlight(what, figure, _joined(others)) if figure else None


def _joined(parts: list[str]) -> str:
    """Parts as one sentence; only the first one keeps its capital."""
    return ", ".join(part if not number else part[0].lower() + part[1:] for number, part in enumerate(parts)) + (
        "." if parts else ""
    )


def _cameras(health: Mapping[str, Any] | None) -> Highlight | None:
    r2 = (health or {}).get("camera_r2") or {}
    if health is None or "shift" not in r2:
        return None
    lost = -health["figures"]["swapped"]["mean"]
    other = f"Rendering with another view's camera loses {lost:.1f} dB." if np.isfinite(lost) else ""
    explained = f"{r2['shift']:.2f}" if r2["shift"] >= 0 else "below 0"
    return Highlight("Predicted cameras against the true ones, which it never saw (R²)", explained, other)


def _standing_still(means: _Means) -> Highlight | None:
    what = "Marked of an actor that moves, and of one that stands still"
    shares = [
        [means.text(method, (kind, "mask", "recall")) for kind in ("moving", "frozen")]
        for method in ("refined:renderer", "residual:renderer")
    ]
    if not all(shares[0]):
        return None
    control = f"The plain residual: {' and '.join(shares[1])}." if all(shares[1]) else ""
    return Highlight(what, " and ".join(shares[0]), control)


def verdicts(claims: pd.DataFrame) -> Verdicts:
    """Counts by verdict, and the claims that do not hold, from `claims.csv`."""
    counted = claims["verdict"].value_counts().to_dict()
    order = ("holds", "does not hold", "undecided", "not scored")
    counts = {name: int(counted[name]) for name in order if name in counted}
    failed = claims[claims["verdict"] == "does not hold"]
    return Verdicts(counts, tuple(f"{row['claim'].replace('`', '')} ({row['where']})" for _, row in failed.iterrows()))
