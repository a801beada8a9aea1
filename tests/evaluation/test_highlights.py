"""The figures that sum up a run, from tables made by hand."""

import pandas as pd

from wildrayzer.evaluation.tables.claims import claim_texts
from wildrayzer.evaluation.tables.highlights import highlights, verdicts

KINDS = {"still": "static", "moving": "moving", "frozen": "frozen", "pairs": "pairs"}
HEALTH = {"camera_r2": {"tx": 0.2, "shift": 0.83}, "figures": {"swapped": {"mean": -2.72}}}
ROWS = [
    ("still", 2, "static", "full", "psnr", 21.64),
    ("still", 2, "nearest", "full", "psnr", 20.06),
    ("still", 4, "static", "full", "psnr", 25.0),
    ("moving", 2, "refined:renderer", "mask", "iou", 0.3531),
    ("moving", 2, "pseudo:nearest", "mask", "iou", 0.147),
    ("moving", 2, "refined:renderer", "mask", "recall", 0.611),
    ("frozen", 2, "refined:renderer", "mask", "recall", 0.212),
    ("moving", 2, "head:joint", "mask", "recall", 0.677),
    ("frozen", 2, "head:joint", "mask", "recall", 0.37),
    ("moving", 2, "residual:renderer", "mask", "recall", 0.631),  # not scored on frozen clips: left out
    ("moving", 2, "joint", "static", "psnr", 21.0),
]


def _sentences(rows, health=None, **options):
    summary = pd.DataFrame(rows, columns=["split", "inputs", "method", "region", "metric", "mean"])
    return [one.sentence for one in highlights(summary, KINDS, health, **options)]


def test_figures_stand_beside_their_controls():
    assert _sentences(ROWS, HEALTH) == [
        "New views of static clips: 21.6 dB. Copying the nearest input: 20.1 dB.",
        "Predicted cameras against the true ones, which it never saw (R² of slide and pan): 0.83. "
        "Rendering with another view's camera "
        "loses 2.7 dB.",
        "Overlap of masks with what moves (IoU): 35.3%. A copied input in place of the rendering: 14.7%.",
        "Marked of an actor that moves, and of one that stands still: 61.1% and 21.2%. The motion head, which sees the "
        "inputs only: 67.7% and 37.0%.",
        "Where nothing moves in clips with moving objects: 21.0 dB.",
    ]


def test_clean_frames_are_preferred_and_what_is_not_scored_is_left_out():
    ghost = [("pairs", 2, "joint", "ghost", "psnr", 20.2), ("pairs", 2, "unmasked", "ghost", "psnr", 18.4)]
    ghost += [
        ("pairs", 2, "static", "ghost", "psnr", 18.1),
        ("pairs", 2, "refined:renderer", "mask", "iou", float("nan")),
    ]
    assert _sentences([ROWS[-1], *ghost]) == [
        "Where something moved, against the clean frame: 20.2 dB. Trained without masks: 18.4 dB, the static renderer: "
        "18.1 dB."
    ]
    assert _sentences([]) == []


def test_controls_are_those_of_the_same_split_and_number_of_inputs():
    kinds = {"first": "static", "second": "static"}
    rows = [
        ("first", 2, "nearest", "full", "psnr", 11.0), ("second", 3, "lvsm", "full", "psnr", 25.0),
        ("second", 2, "nearest", "full", "psnr", 12.0), ("second", 3, "nearest", "full", "psnr", 13.0),
    ]  # fmt: skip
    summary = pd.DataFrame(rows, columns=["split", "inputs", "method", "region", "metric", "mean"])
    (shown,) = highlights(summary, kinds, None, renderer="lvsm")
    assert shown.sentence == "New views of static clips: 25.0 dB. Copying the nearest input: 13.0 dB."


def test_cameras_that_follow_nothing_are_said_to():
    health = {"camera_r2": {"shift": -1590.9}, "figures": {"swapped": {"mean": float("nan")}}}
    assert _sentences([], health) == [
        "Predicted cameras against the true ones, which it never saw (R² of slide and pan): below 0."
    ]


def test_verdicts_are_counted_and_failures_named():
    rows = [("a `b`", "x, 2 inputs", verdict) for verdict in ("holds", "holds", "does not hold", "undecided")]
    found = verdicts(pd.DataFrame(rows, columns=["claim", "where", "verdict"]))
    assert found.failed == ("a b (x, 2 inputs)",)
    assert found.sentence.startswith("Of 4 claims: 2 hold, 1 does not hold, 1 undecided. Undecided: the interval")


def test_claims_that_are_measured_nowhere_are_named():
    texts = claim_texts()
    rows = [(text, "x", "not scored" if text == texts[-1] else "holds") for text in texts[1:]]
    found = verdicts(pd.DataFrame([*rows, (texts[1], "y", "not scored")], columns=["claim", "where", "verdict"]))
    assert found.untested == ("the renderer beats nearest", "re-ordering frames loses less than 0.2 dB")
    assert found.untested_sentence.startswith("Not tested in this run: the renderer beats nearest; re-ordering")
    everything = pd.DataFrame([(text, "x", "undecided") for text in texts], columns=["claim", "where", "verdict"])
    assert verdicts(everything).untested_sentence == ""
