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
from wildrayzer.evaluation.tables.claims import claim_texts
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
    untested: tuple[str, ...] = ()
    """Claims of the method that this run measures nowhere."""

    @property
    def sentence(self) -> str:
        """Counts, and why claims are undecided."""
        listed = ", ".join(f"{n} {_PLURAL.get(name, name) if n > 1 else name}" for name, n in self.counts.items())
        why = f" Undecided: the interval contains 0 (or the claim's limit), or fewer than {MIN_SCENES} scenes." * (
            "undecided" in self.counts
        )
        return f"Of {sum(self.counts.values())} claims: {listed}.{why}"

    @property
    def untested_sentence(self) -> str:
        """The claims that this run measures nowhere; empty if it measures all."""
        return f"Not tested in this run: {'; '.join(self.untested)}." if self.untested else ""


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
        return cls(tuple(highlights(summary, kinds, health, config.model.renderer_row)), verdicts(claims))


def highlights(
    summary: pd.DataFrame, kinds: Mapping[str, str], health: Mapping[str, Any] | None, renderer: str = "static"
) -> list[Highlight]:
    """Views, cameras, masks, false alarms and removal, as far as they are scored.

    Args:
        summary: means of a run, as in `summary.csv`; the smallest number of inputs counts.
        kinds: kind of each split, see `TableContext.kinds`; the first split of a kind counts.
        health: result of `score_renderer_health`, or None.
        renderer: row of the pretrained renderer.
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
        means.highlight("New views of static clips", renderer, ("static", "full", "psnr"), shortcuts),
        _cameras(health),
        overlap[0] or overlap[1],
        _standing_still(means),
        removal[0] or removal[1],
    ]
    return [highlight for highlight in found if highlight is not None]


_Place = tuple[str, int, str, str]
"""Split, number of inputs, region and metric."""


class _Means:
    def __init__(self, summary: pd.DataFrame, kinds: Mapping[str, str]) -> None:
        known = summary[summary["mean"].notna()].sort_values("inputs", kind="stable")
        columns = known[["split", "inputs", "region", "metric", "method", "mean"]]
        self.values = {(*place, method): mean for *place, method, mean in columns.itertuples(index=False)}
        self.kinds = kinds

    def place(self, method: str, kind: str, region: str, metric: str) -> _Place | None:
        """Where a method is scored: the first split of a kind that has it, with the fewest inputs."""
        for split in (name for name, own in self.kinds.items() if own == kind):
            for where, inputs, *rest in self.values:
                if (where, *rest) == (split, region, metric, method):
                    return (split, inputs, region, metric)
        return None

    def text(self, method: str, place: _Place | None) -> str:
        """Mean of a method at a place, with the unit; empty where it is not scored."""
        if place is None or (*place, method) not in self.values:
            return ""
        value = self.values[*place, method]
        return f"{value:.1f} dB" if place[-1] == "psnr" else f"{100 * value:.1f}%"

    def highlight(
        self, what: str, method: str, sought: tuple[str, str, str], controls: Mapping[str, str]
    ) -> Highlight | None:
        """A method's figure at (kind of split, region, metric), beside those of other methods at the same place.

        `controls` has words for each of them.
        """
        place = self.place(method, *sought)
        others = [f"{words}: {text}" for name, words in controls.items() if (text := self.text(name, place))]
        return Highlight(what, self.text(method, place), _joined(others)) if place else None


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
    return Highlight(
        "Predicted cameras against the true ones, which it never saw (R² of slide and pan)", explained, other
    )


def _standing_still(means: _Means) -> Highlight | None:
    what = "Marked of an actor that moves, and of one that stands still"
    shown = "refined:renderer"
    controls = {"residual:renderer": "The plain residual", "head:joint": "The motion head, which sees the inputs only"}
    places = [means.place(shown, kind, "mask", "recall") for kind in ("moving", "frozen")]
    shares = {method: [means.text(method, place) for place in places] for method in (shown, *controls)}
    if not all(shares[shown]):
        return None
    others = [f"{words}: {' and '.join(shares[name])}" for name, words in controls.items() if all(shares[name])]
    return Highlight(what, " and ".join(shares[shown]), _joined(others))


def verdicts(claims: pd.DataFrame) -> Verdicts:
    """Counts by verdict, the claims that do not hold, and those that are not tested, from `claims.csv`."""
    counted = claims["verdict"].value_counts().to_dict()
    order = ("holds", "does not hold", "undecided", "not scored")
    counts = {name: int(counted[name]) for name in order if name in counted}
    failed = claims[claims["verdict"] == "does not hold"]
    named = tuple(f"{row['claim'].replace('`', '')} ({row['where']})" for _, row in failed.iterrows())
    tested = set(claims.loc[claims["verdict"] != "not scored", "claim"])
    untested = (text.replace("`", "") for text in claim_texts() if text not in tested)
    return Verdicts(counts, named, tuple(untested))
