"""Systems beside WildRayZer: what their runs consist of, and what is refused before any job."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wildrayzer.config import ConfigError, RunConfig, load_config, parse_config
from wildrayzer.config.variants import ablations_of
from wildrayzer.evaluation.tables.tables import TableContext
from wildrayzer.run.expected import ExpectedScores, training_runs
from wildrayzer.run.layout import RunLayout

ROOT = Path(__file__).parents[2]
DEMO = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
LVSM = yaml.safe_load((ROOT / "tests" / "resources" / "lvsm.yaml").read_text(encoding="utf-8"))


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(made.get(name), dict)
        made[name] = merged(made[name], value) if both else value
    return made


def expected(config: RunConfig) -> ExpectedScores:
    return ExpectedScores(config, RunLayout(config.name))


def test_a_run_of_lvsm_ends_after_pretraining_and_scores():
    config = parse_config(LVSM)
    assert training_runs(config) == [("pretrain", None)]
    scores = expected(config)
    assert scores.view_jobs() == [("nearest", "static_test", 2), ("lvsm", "static_test", 2)]
    assert (scores.mask_jobs(), scores.cached_masks(), scores.input_mask_jobs()) == ([], [], [])
    assert ablations_of(config) == {}
    assert not any(one.startswith(("distill", "joint")) for one in config.deviations)
    assert TableContext.from_config(config).backbone == "none"


def test_the_own_renderer_with_given_cameras_is_a_row_of_its_own():
    model = {"kind": "wildrayzer", "cameras": "given", "motion_head": None}
    benchmark = {"methods": ["blend", "given_cameras"]}
    config = parse_config(merged(LVSM, {"model": model, "benchmark": benchmark}))
    assert (config.model.renderer_row, config.learns_motion) == ("given_cameras", False)


def test_the_static_renderer_alone_predicts_its_cameras_as_rayzer_does():
    model = {"kind": "wildrayzer", "motion_head": None}
    config = parse_config(merged(LVSM, {"model": model, "benchmark": {"methods": ["nearest", "static"]}}))
    assert training_runs(config) == [("pretrain", None)]
    assert config.model.cameras == "predicted"


DYNAMIC = {"layout": "lvsm", "path": "clips", "role": "dynamic"}


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (DEMO, {"model": {"motion_head": None}}, r"set data\.dynamic_train: null in place of 'dynamic_train'"),
        (DEMO, {"data": {"dynamic_train": None}}, r"data\.dynamic_train is missing; .*motion_head: null"),
        (DEMO, {"model": {"cameras": "given", "matching_init": False}}, r"model\.cameras: given, but dynamic clips"),
        (DEMO, {"benchmark": {"methods": ["nearest", "lvsm"]}},
         r"lvsm is the renderer of a run .* this run's is static\. Name a checkpoint"),
        (LVSM, {"benchmark": {"methods": ["joint"]}}, r"joint is no row of a run without motion head .* nearest"),
        (LVSM, {"benchmark": {"masks": {"sav": {"folders": {"static_test": "x"}}}}}, r"benchmark\.masks needs the"),
        (LVSM, {"ablations": {"a": {"changes": {"joint.steps": 3}}}}, r"ablations needs the stages after"),
        (LVSM, {"data": {"splits": {"clips": {**DYNAMIC, "purpose": "test"}}}},
         r"model\.kind: lvsm needs true cameras, which data\.splits\.clips \(layout: lvsm, role: dynamic\) has none"),
        (LVSM, {"data": {"splits": {"static_train": {"cameras": False}}}},
         r"model\.kind: lvsm needs true cameras, which data\.splits\.static_train"),
        (LVSM, {"pretrain": {"crop_pretext": {"steps": 2}}}, r"pretrain\.crop_pretext .* model\.kind: lvsm leaves out"),
        (LVSM, {"pretrain": {"views": {"curriculum": {"steps": 5, "start": [4, 5]}}}},
         r"pretrain: views\.curriculum\.steps = 5 is more than steps = 4"),
        (DEMO, {"data": {"splits": {"static_train": {"cameras": False}}}, "pretrain": {"views": {"curriculum":
         {"by": "overlap", "steps": 9, "start": [1, 1], "final": [0.5, 1]}}}},
         r"pretrain\.views\.curriculum\.by: overlap needs true cameras, which data\.splits\.static_train"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_by_name(base, changes, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(merged(base, changes))


def test_a_checkpoint_of_lvsm_is_a_row_of_the_sets_that_have_cameras():
    rows = {"checkpoints": {"lvsm": {"path": "results/lvsm/pretrain/checkpoint", "gate": "none", "cameras": "given"}}}
    splits = {"clips": {**DYNAMIC, "purpose": "test"}, "posed": {**DYNAMIC, "purpose": "test", "cameras": True}}
    config = parse_config(merged(DEMO, {"benchmark": rows, "data": {"splits": splits}}))
    having = {name for row, name, _ in expected(config).view_jobs() if row == "lvsm"}
    assert having == {"static_test", "dynamic_test", "pairs_test", "posed"}
    sentences = TableContext.from_config(config).left_out
    assert sentences["clips"] == ("lvsm needs true cameras, which this set has none of: it is not scored.",)
    assert sentences["posed"] == ()


def test_a_run_can_train_open_rayzers_network():
    model = {
        "image_size": 48,
        "patch_size": 6,
        "width": 96,
        "head_width": 24,
        "camera_attention": "alternating",
        "camera_head": "pi3",
        "patch_positions": "rope2d",
        "view_embedding": "none",
        "token_fusion": "pixel",
        "motion_head": DEMO["model"]["motion_head"],
    }
    found = parse_config({**DEMO, "model": model}).deviations
    for option in ("camera_attention: alternating", "camera_head: pi3", "patch_positions: rope2d"):
        assert f"model.{option}" in found


def test_shipped_configurations_load():
    for path in sorted((ROOT / "config").glob("*.yaml")):
        assert load_config(path).name
