"""The method's claims, as differences between two rows, with the verdict that the interval of each allows."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from wildrayzer.config.sections.benchmark import GIVEN_ROWS
from wildrayzer.evaluation.metrics.bootstrap import MIN_SCENES, Interval, paired_difference, unpaired_difference

SplitKind = Literal["static", "moving", "pairs", "frozen", "same_family"]
Verdict = Literal["holds", "does not hold", "undecided", "not scored"]
REORDERING_TOLERANCE = 0.2
"""Loss of PSNR in dB under another order of frames that still counts as none."""


@dataclass(frozen=True)
class Claim:
    """`first − second` is above 0 on splits of a kind."""

    text: str
    """What is claimed."""
    kind: SplitKind
    """Kind of split it is about."""
    region: str
    """Region of the scores."""
    metric: str
    """Metric of the scores; higher is better."""
    first: str
    """Method that should be ahead."""
    second: str
    """Method that should be behind."""


@dataclass(frozen=True)
class Finding:
    """A claim, measured."""

    claim: str
    """What is claimed."""
    where: str
    """Split and number of inputs."""
    compared: str
    """The two sides and the metric."""
    difference: Interval | None
    """Signed so that above `limit` speaks for the claim; None where a side is not scored."""
    verdict: Verdict
    """`holds` or `does not hold` when the 95% interval excludes `limit`, else, or with too few scenes, `undecided`."""
    limit: float = 0.0
    """What the interval has to lie above."""
    note: str = ""
    """What was left out of the comparison, or why there is none."""


def _better(first: str, *others: str, kind: SplitKind, region: str, text: str) -> list[Claim]:
    return [Claim(text.format(other=other), kind, region, "psnr", first, other) for other in others]


_FULL = "the full method beats the static renderer"
CLAIMS: tuple[Claim, ...] = (
    *_better("static", "nearest", "blend", kind="static", region="full", text="the renderer beats `{other}`"),
    Claim(f"{_FULL} on the static region of dynamic inputs", "moving", "static", "psnr", "joint", "static"),
    Claim(f"{_FULL} on the static region, against the clean frame", "pairs", "static", "psnr", "joint", "static"),
    Claim(f"{_FULL} in the ghost region, against the clean frame", "pairs", "ghost", "psnr", "joint", "static"),
    *_better("joint", "unmasked", kind="moving", region="static", text="masks matter: better than without them"),
    *_better("joint", "unmasked", kind="pairs", region="ghost", text="masks matter: better than without them"),
    *(
        Claim(text, kind, "mask", "iou", first, second)
        for kind in ("moving", "same_family")
        for text, first, second in (
            ("pseudo-masks beat the plain residual at its best threshold", "pseudo:renderer", "residual:renderer"),
            ("refined pseudo-masks beat the plain residual at its best threshold", "refined:renderer",
             "residual:renderer"),
            ("fused maps beat features alone", "pseudo:renderer", "pseudo:renderer@dino_only"),
            ("fused maps beat SSIM alone", "pseudo:renderer", "pseudo:renderer@ssim_only"),
            ("a rendering tells more than a copied input view", "pseudo:renderer", "pseudo:nearest"),
            ("a rendering tells more than a blurred target", "pseudo:renderer", "pseudo:blurred"),
        )
    ),
    *(
        Claim("pseudo-masks teach more than pasted objects", kind, "mask", "iou", f"head:{stage}",
              f"head:{stage}@paste_only")
        for kind in ("moving", "pairs")
        for stage in ("distill", "joint")
    ),
    *(
        Claim("a head that compares the inputs beats the published one", kind, "mask", "iou", "head:distill",
              "head:distill@published_head")
        for kind in ("moving", "same_family")
    ),
)  # fmt: skip


def claim_texts() -> list[str]:
    """What can be claimed of a run, each text once."""
    return list(dict.fromkeys([*(claim.text for claim in CLAIMS), *_FROZEN.values(), _CAMERAS, _REORDERED]))


def judge(difference: Interval, *, limit: float = 0.0) -> Verdict:
    """Verdict of a difference that is above `limit` if the claim is true; undecided below `MIN_SCENES` scenes."""
    if not np.isfinite([difference.low, difference.high]).all() or difference.scenes < MIN_SCENES:
        return "undecided"
    if difference.low > limit:
        return "holds"
    return "does not hold" if difference.high < limit else "undecided"


def _too_few(scenes: int) -> str:
    """Why so many scenes decide nothing; empty where they are enough."""
    named = f"{scenes} scene{'s' if scenes != 1 else ''}"
    return f"{named}, {MIN_SCENES} are needed for a verdict" if scenes < MIN_SCENES else ""


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def check_claims(
    scores: pd.DataFrame,
    kinds: Mapping[str, str],
    healths: Sequence[Mapping[str, Any]] = (),
    *,
    resamples: int,
    seed: int,
) -> list[Finding]:
    """Measure every claim on every split of its kind and every number of inputs.

    Args:
        scores: tidy scores.
        kinds: kind of each split.
        healths: `score_renderer_health` results.
        resamples: bootstrap draws.
        seed: of the bootstrap.
    """
    findings = []
    rows = set(zip(scores["method"], scores["split"], strict=True))
    methods = {method for method, _ in rows}
    # A run whose network is given the cameras has another row in the place of `static`.
    given = [row for row in GIVEN_ROWS if row in methods and "static" not in methods]
    for claim in (replace(one, first=given[0]) if given and one.first == "static" else one for one in CLAIMS):
        for split in (name for name, kind in kinds.items() if kind == claim.kind):
            if "@" in claim.second and (claim.second, split) not in rows:
                continue  # an ablation that is not part of these tables, or not scored on this split
            here = scores[(scores["split"] == split) & (scores["region"] == claim.region)]
            here = here[here["metric"] == claim.metric]
            scored = here[here["method"].isin([claim.first, claim.second])]
            for inputs in sorted(scored["inputs"].unique().tolist()) or [None]:
                sides = scored[scored["inputs"] == inputs]
                findings.append(_measure(claim, split, inputs, sides, resamples=resamples, seed=seed))
    findings += _frozen(scores, kinds, resamples=resamples, seed=seed)
    for health in healths:
        findings += _healthy(health)
    return findings


def _measure(
    claim: Claim, split: str, inputs: int | None, sides: pd.DataFrame, *, resamples: int, seed: int
) -> Finding:
    where = split if inputs is None else f"{split}, {inputs} inputs"
    compared = f"{claim.first} − {claim.second}, {claim.region} {claim.metric}"
    first, second = (sides[sides["method"] == method] for method in (claim.first, claim.second))
    absent = [name for name, rows in ((claim.first, first), (claim.second, second)) if rows.empty]
    if absent:
        note = f"no scores of {' and '.join(absent)}"
        return Finding(claim.text, where, compared, None, "not scored", note=note)
    difference = paired_difference(first, second, resamples=resamples, seed=seed)
    other = set(first["scene"]) ^ set(second["scene"])
    apart = f"{len(other)} scenes scored on one side alone are left out" if other else ""
    note = _joined(_too_few(difference.scenes), apart)
    return Finding(claim.text, where, compared, difference, judge(difference), note=note)


_FROZEN = {
    "coverage": "masks cover less where the same things stand still",
    "recall": "masks mark less of an actor that stands still",
}
"""Metrics that differ between moving and frozen clips. Recall is only of actors: other false alarms do not count."""
_REORDERED = f"re-ordering frames loses less than {REORDERING_TOLERANCE:g} dB"
_CAMERAS = "predicted cameras follow the true ones (R² above 0.5)"
_NOT_CLAIMED = ("residual", "pseudo:nearest", "pseudo:blurred")
"""Methods of which this is not claimed: plain residuals and controls, whose figures are in the tables."""


def _frozen(scores: pd.DataFrame, kinds: Mapping[str, str], *, resamples: int, seed: int) -> list[Finding]:
    """On frozen clips masks should mark less than on moving ones: two sets of clips, resampled separately.

    Each number of input views is compared separately.
    """
    findings = []
    pairs = [
        (moving, frozen)
        for moving, frozen in itertools.product(kinds, kinds)
        if kinds[moving] == "moving" and kinds[frozen] == "frozen"
    ]
    for (metric, text), (moving, frozen) in itertools.product(_FROZEN.items(), pairs):
        measured = scores[scores["metric"] == metric]
        for method in sorted(measured["method"].unique()):
            rows = measured[(measured["method"] == method) & measured["split"].isin([moving, frozen])]
            partly_scored = "@" in method and rows["split"].nunique() < 2  # an ablation scores the splits it names
            if partly_scored or method.startswith(_NOT_CLAIMED):
                continue
            for inputs in sorted(rows["inputs"].unique().tolist()):
                sides = [rows[(rows["split"] == split) & (rows["inputs"] == inputs)] for split in (moving, frozen)]
                difference = unpaired_difference(*sides, resamples=resamples, seed=seed)
                absent = difference.scenes == 0
                findings.append(
                    Finding(
                        text,
                        f"{moving} against {frozen}, {inputs} inputs",
                        f"{method}, {metric} of {moving} − {frozen}",
                        None if absent else difference,
                        "not scored" if absent else judge(difference),
                        note=f"{method} has no scores on one of the two" if absent else _too_few(difference.scenes),
                    )
                )
    return findings


def _healthy(health: Mapping[str, Any]) -> list[Finding]:
    where = f"{health['split']}, {health['inputs']} inputs"
    r2 = health.get("camera_r2") or {}
    findings = []
    if "shift" in r2:
        few = _too_few(health["windows"])
        verdict: Verdict = "undecided" if few else "holds" if r2["shift"] > 0.5 else "does not hold"
        note = _joined(f"R² = {r2['shift']:.2f}, without an interval", few)
        findings.append(Finding(_CAMERAS, where, "shift", None, verdict, note=note))
    order = Interval(**health["figures"]["reordered"])
    limit = -REORDERING_TOLERANCE
    note = _joined(f"holds if the interval lies above {limit:g} dB".replace("-", "−"), _too_few(order.scenes))
    compared = "re-ordered − in order, full psnr"
    findings.append(Finding(_REORDERED, where, compared, order, judge(order, limit=limit), limit, note))
    return findings
