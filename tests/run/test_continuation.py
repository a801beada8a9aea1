"""What a call would continue is named with its cost, and refused before anything is deleted where it cannot be."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.run.test_redo import graph, job
from wildrayzer.config import load_config
from wildrayzer.run.continuation import (
    ContinuedStage,
    continuation_faults,
    continuation_lines,
    continued_names,
    continued_stages,
)
from wildrayzer.run.redo import RepeatedJob

CONFIG = load_config(Path(__file__).parents[1] / "resources" / "tiny.yaml")


def params(steps: int, state: Path, **others) -> dict:
    return {"recipe": "distill", "options": {"stage": {"steps": steps, **others}}, "state": str(state)}


def test_a_stage_with_a_state_is_continued_and_its_cost_is_named(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "step-000000600.pt").touch()
    (state / "step-000000590.pt").touch()
    old, new = params(600, state), params(700, state, clip=2.0)
    dag = graph(job(tmp_path, "train_distill", new, recorded=old, seconds=3600))
    (found,) = continued_stages(dag, CONFIG, "distill")
    assert found == ContinuedStage("distill", 600, 700, True, ("distill.clip: default → 2.0",), 3600.0)
    assert continuation_lines([found]) == [
        "continued: distill from step 600 to 700, with the parts of the data that are new (about 10.0 min)"
    ]
    assert continued_stages(dag, CONFIG, None) == continued_stages(dag, CONFIG, "masked") == []
    for file in state.iterdir():
        file.unlink()
    assert continued_stages(dag, CONFIG, "distill") == [], "it starts from the beginning"


def test_later_stages_are_continued_too_and_others_are_refused():
    assert continued_names("masked") == {"masked", "joint", "unmasked"}
    assert continued_names(["joint", "distill"]) == {"distill", "masked", "joint", "unmasked"}
    assert continued_names(None) == frozenset()
    with pytest.raises(ValueError, match="continue=pretrain: no stage that can be continued; known: distill, masked"):
        continued_names("pretrain")


def test_what_cannot_be_continued_is_refused_by_name():
    stage = ContinuedStage("distill", 600, 700, True)
    assert continuation_faults([stage], [], rounds=1) == []
    assert continuation_faults([], [RepeatedJob("pretrain", (), 0.0, forced=False)], rounds=2) == []
    grown = RepeatedJob("refine", (), 5.0, forced=False)
    assert continuation_faults([stage], [grown], rounds=1) == []

    def refused(*, stages=(stage,), again=(), rounds=1):
        (fault,) = continuation_faults(stages, again, rounds=rounds)
        return fault

    done = ContinuedStage("distill", 600, 600, True)
    assert "distill has done its 600 steps; raise distill.steps" in refused(stages=[done])
    assert continuation_faults([ContinuedStage("distill", 600, 600, False)], [], rounds=1) == []
    changed = ContinuedStage("distill", 600, 700, True, ("distill.clip: 1.0 → 2.0",))
    assert "distill cannot be continued: distill.clip: 1.0 → 2.0;" in refused(stages=[changed])
    assert "masks of later rounds follow" in refused(rounds=2)
    again = [RepeatedJob("pretrain", (), 0.0, forced=False)]
    assert "pretrain gives other masks of all clips (it is made again)" in refused(again=again)
    again = [RepeatedJob("pseudo_masks", ("pseudo_masks.top_share: 0.3 → 0.4",), 0.0, forced=False)]
    assert "pseudo_masks gives other masks of all clips (pseudo_masks.top_share: 0.3 → 0.4)" in refused(again=again)


def test_a_job_that_is_no_training_is_not_continued(tmp_path):
    other = job(tmp_path, "vote_masks", {"pseudo_masks": {}})
    assert continued_stages(SimpleNamespace(**vars(graph(other))), CONFIG, "distill") == []
