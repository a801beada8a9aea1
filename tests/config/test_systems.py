"""Systems beside WildRayZer: what their runs consist of, and what is refused before any job."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wildrayzer.config import ConfigError, RunConfig, load_config, parse_config
from wildrayzer.config.variants import ablations_of
from wildrayzer.datasets.required import to_fetch
from wildrayzer.datasets.table import load_table
from wildrayzer.evaluation.tables.tables import TableContext
from wildrayzer.run.expected import ExpectedScores, training_runs
from wildrayzer.run.layout import RunLayout
from wildrayzer.tools.planning.jobs import planned_stages
from wildrayzer.tools.planning.split_sizes import split_sizes

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


RE10K, DL3DV = {"re10k", "index_re10k"}, {"dl3dv", "dl3dv_benchmark", "index_dl3dv"}


@pytest.mark.parametrize(
    ("name", "sizes", "views", "fetched", "scored"),
    [
        ("rayzer_dl3dv", (8, 12, 12, 3072), ([16], 8), DL3DV, {("dl3dv_test", 16), ("dl3dv_random", 16)}),
        ("rayzer_re10k", (8, 12, 12, 3072), ([5], 5), RE10K, {("re10k_test", 5), ("re10k_index", 2)}),
        ("open_rayzer_re10k", (8, 8, 8, 512), ([5], 5), RE10K, {("re10k_test", 5), ("re10k_index", 2)}),
        ("open_rayzer_dl3dv", (8, 8, 8, 512), ([16], 8), DL3DV,
         {("dl3dv_10k_test", 16), ("dl3dv_test", 16), ("dl3dv_random", 16)}),
        ("lvsm_re10k", (0, 0, 24, 0), ([2], 6), RE10K, {("re10k_test", 2), ("re10k_five", 5)}),
    ],
)  # fmt: skip
def test_published_configurations_have_their_sizes_data_and_plan(name, sizes, views, fetched, scored, tmp_path):
    config = load_config(ROOT / "config" / f"{name}.yaml")
    model, stage = config.model, config.pretrain
    assert (model.camera_blocks, model.scene_blocks, model.decoder_blocks, model.scene_tokens) == sizes
    assert (list(stage.views.inputs), stage.views.targets) == views
    assert stage.batch // stage.micro_batch % config.world_size == 0, "the batch divides over the published GPUs"
    assert set(to_fetch(config, load_table(), tmp_path)) == fetched | {"vgg16", "vgg19"}
    jobs = expected(config).view_jobs()
    assert {(where, count) for _, where, count in jobs} == scored
    assert {row for row, _, _ in jobs} == {"nearest", "blend", model.renderer_row}
    planned = {
        stage.name: stage for stage in planned_stages(config, split_sizes(config, RunLayout(name, str(tmp_path))))
    }
    assert planned["pretrain"].gpus == config.compute.gpus
    assert not {"residuals", "distill", "joint"} & set(planned)


def test_no_shipped_configuration_scores_a_set_without_its_published_index():
    table, published = load_table(), set()
    for file in sorted((ROOT / "config").glob("*.yaml")):
        config = load_config(file)
        for name, count in {(name, count) for _, name, count in expected(config).view_jobs()}:
            own = config.benchmark.set_of(name)
            source = config.data.splits[own.split].source
            places = table.published_indices(source, count)
            if places:
                published.add((source, count))
                assert own.index_file(count) in places, f"{file.name}: {name} with {count} inputs"
    assert published == {("re10k/test", 2), ("dre10k/test", 2), ("dl3dv_benchmark/test", 16)}


def test_an_index_of_one_number_of_inputs_leaves_the_others_drawn():
    benchmark = {"inputs": [2, 3], "index": {"clips": {"2": "two.json"}, "all": "for_{inputs}.json"}}
    config = parse_config(merged(DEMO, {"benchmark": {"inputs": [2, 3]}})).benchmark.model_validate(benchmark)
    assert [config.set_of("clips").index_file(count) for count in (2, 3)] == ["two.json", None]
    assert [config.set_of("all").index_file(count) for count in (2, 3)] == ["for_2.json", "for_3.json"]
    assert config.for_set("clips").index == {"clips": {2: "two.json"}}


def test_rayzers_batch_is_one_number_of_gpus_away():
    raw = yaml.safe_load((ROOT / "config" / "rayzer_dl3dv.yaml").read_text(encoding="utf-8"))
    for gpus, nodes in ((32, 4), (8, 1), (4, 1)):
        config = parse_config(merged(raw, {"compute": {"gpus": gpus}}))
        assert (config.compute.nodes, config.pretrain.batch) == (nodes, 256)


def test_every_value_of_a_published_configuration_has_its_source():
    for name in ("rayzer_dl3dv", "rayzer_re10k", "open_rayzer_re10k", "open_rayzer_dl3dv", "lvsm_re10k"):
        lines = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        start, stop = lines.index("model:"), next(n for n, line in enumerate(lines) if line.startswith("benchmark:"))
        numbers = [line for line in lines[start:stop] if any(digit in line.partition("#")[0] for digit in "0123456789")]
        own = ("workers", "weights")
        bare = [line for line in numbers if "# [" not in line and not line.strip().startswith(own)]
        assert bare == [], name


def test_the_demo_has_twins_and_what_is_no_twin_is_refused():
    config = parse_config(DEMO)
    assert {name: config.data.twin_of(name) for name in ("static_test", "dynamic_test", "pairs_test")} == {
        "static_test": "static_twin", "dynamic_test": "dynamic_twin", "pairs_test": None,
    }  # fmt: skip
    assert not {"static_twin", "dynamic_twin"} & {*expected(config).sets(), *expected(config).mask_splits()}
    for changes, message in (
        ({"embedded": {"splits": {"static_twin": {"reuse_cameras_of": None}}}}, "static_twin has purpose: twin, but"),
        ({"embedded": {"splits": {"static_twin": {"scenes": 9}}}}, "or has fewer scenes than that split"),
        ({"embedded": {"splits": {"static_twin": {"reuse_cameras_of": "static_twin"}}}}, "is no other embedded split"),
        ({"splits": {"static_twin": {"layout": "lvsm", "path": "x"}}}, "only a split with layout: embedded can have"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_config(merged(DEMO, {"data": changes}))


RELEASED = yaml.safe_load((ROOT / "config" / "released.yaml").read_text(encoding="utf-8"))


def test_a_run_without_training_clips_scores_what_comes_from_elsewhere(tmp_path):
    config = parse_config(RELEASED)
    scores = expected(config)
    assert (config.trains, training_runs(config), scores.health_scores(), scores.mask_jobs()) == (False, [], [], [])
    assert [row for row, _, _ in scores.view_jobs()] == ["nearest", "blend", "released", "released_oracle"]
    assert scores.input_mask_jobs() == [("released", "dre10k_test")]
    assert set(to_fetch(config, load_table(), tmp_path)) == {
        "dre10k", "dinov3_vit7b16", "vgg16", "wildrayzer", "index_dre10k",
    }  # fmt: skip
    sizes = split_sizes(config, RunLayout("released", str(tmp_path)))
    assert [(stage.name, stage.jobs) for stage in planned_stages(config, sizes)] == [
        ("frames", 1), ("scores", 6), ("tables", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": {"methods": ["nearest", "joint"]}}, r"benchmark\.methods: joint needs a renderer of this run"),
        ({"benchmark": {"masks": {"sav": {"folders": {"dre10k_test": "x"}}}}}, r"benchmark\.masks needs a renderer"),
        ({"released": {"row": "theirs"}}, r"released\.row = 'theirs' is no entry of benchmark\.checkpoints"),
    ],
)
def test_what_needs_training_is_refused_in_a_run_without_it(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(merged(RELEASED, changes))


def test_only_the_named_splits_are_in_the_mask_tables():
    named = {"benchmark": {"mask_splits": ["dynamic_test", "frozen_test"]}}
    every, some = expected(parse_config(DEMO)), expected(parse_config(merged(DEMO, named)))
    assert "static_test" in every.mask_splits()
    assert some.mask_splits() == ["dynamic_test", "frozen_test"]
    assert {split for split, _ in some.cached_masks()} == {"dynamic_train", "dynamic_test", "frozen_test"}
    assert {split for _, split in some.input_mask_jobs()} == {"dynamic_test", "frozen_test"}
    assert some.view_jobs() == every.view_jobs()
    with pytest.raises(ConfigError, match=r"benchmark\.mask_splits names the unknown split 'calibration'"):
        parse_config(merged(DEMO, {"benchmark": {"mask_splits": ["calibration"]}}))
