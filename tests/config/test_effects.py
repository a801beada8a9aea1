"""What options say of themselves: their effect, the paper's value, their old names."""

import copy
import warnings
from pathlib import Path
from typing import get_args

import pytest
import yaml

from wildrayzer.config import ConfigError, ModelConfig, RunConfig, load_config, parse_config
from wildrayzer.config.base import Effect, Rounding, Section, effect_of
from wildrayzer.config.effects import completed, deciding_options, differences, rounding_options
from wildrayzer.config.walk import options

TINY = yaml.safe_load(Path("tests/resources/tiny.yaml").read_text(encoding="utf-8"))
CONFIG = parse_config(TINY)


def test_every_option_says_what_it_affects():
    effects = {effect_of(one.section, one.name) for one in options(RunConfig)}
    assert effects == set(get_args(Effect))


def test_an_option_without_effect_is_refused():
    class Stated(Section):
        affects = "speed"
        one: int = 1

    with pytest.raises(TypeError, match=r"Silent\.two does not say what it affects; give the class `affects`"):

        class Silent(Stated):
            two: int = 2

    class Marked(Stated):
        two: Rounding[int] = 2

    assert (effect_of(Marked, "one"), effect_of(Marked, "two")) == ("speed", "rounding")


def test_results_follow_from_deciding_options_only():
    stage = CONFIG.stage("pretrain")
    kept = deciding_options(stage)
    assert kept["learning_rate"] == 1e-3
    assert kept["views"] == {"targets": 2, "min_distance": 3, "max_distance": 7}
    other = stage.model_copy(update={"micro_batch": 4, "workers": 3, "log_every": 7})
    assert deciding_options(other) == kept
    assert rounding_options(stage) == {"micro_batch": 2, "threads": None}
    assert deciding_options(CONFIG.watch) == {}
    assert deciding_options(None) is None


def test_an_option_at_its_default_leaves_the_deciding_options_as_they_are():
    stage = CONFIG.stage("pretrain")
    default = type(stage).model_fields["clip"].default
    assert "clip" not in deciding_options(stage.model_copy(update={"clip": default}))
    assert deciding_options(stage.model_copy(update={"clip": 2.0}))["clip"] == 2.0


def test_sections_under_names_keep_their_names():
    splits = deciding_options(CONFIG.data)["splits"]
    assert set(splits) == set(CONFIG.data.splits)
    assert splits["static_train"] == {"layout": "embedded", "role": "static", "purpose": "train"}


def test_a_job_reads_no_deciding_option_that_is_not_among_its_params():
    stage = CONFIG.stage("pretrain").model_copy(update={"workers": 3})
    assert completed(deciding_options(stage), stage) == stage
    without = {name: value for name, value in deciding_options(stage).items() if name != "learning_rate"}
    made = completed(without, stage)
    assert (made.learning_rate, made.workers) == (type(stage).model_fields["learning_rate"].default, 3)
    assert completed(deciding_options(CONFIG), CONFIG) == CONFIG


def test_the_papers_configuration_has_every_value_of_the_paper():
    assert list(differences(load_config("config/paper.yaml"), listed=False)) == []


def test_differences_name_options_by_path_and_sizes_only_on_request():
    model = ModelConfig(width=96, head_width=24, focal="shared")
    assert list(differences(model, "model.")) == [("model.focal", "shared")]
    names = [name for name, _ in differences(model, "model.", listed=False)]
    assert names == ["model.width", "model.head_width", "model.view_type_embedding", "model.focal"]


def with_old_names():
    raw = copy.deepcopy(TINY)
    for split in raw["data"]["splits"].values():
        split["use"] = split.pop("purpose")
    made = raw["data"]["embedded"]["splits"]
    made["frozen_test"]["seed_of"] = made["frozen_test"].pop("reuse_seed_of")
    made["static_test"]["standing_actors"] = 0.5
    return raw


def test_old_names_are_accepted_with_a_warning_that_names_the_new_ones():
    with pytest.warns(FutureWarning) as caught:
        config = parse_config(with_old_names(), source="old.yaml")
    assert sorted(str(one.message).split(";")[0] for one in caught) == [
        "old.yaml: data.embedded.splits.*.seed_of is now called reuse_seed_of",
        "old.yaml: data.embedded.splits.*.standing_actors is now called static_actors",
        "old.yaml: data.splits.*.use is now called purpose",
    ]
    assert config.data.splits == CONFIG.data.splits
    assert config.data.embedded.splits["frozen_test"].reuse_seed_of == "pairs_test"
    assert config.data.embedded.splits["static_test"].static_actors == 0.5


def test_new_names_need_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_config(TINY)


def test_both_names_at_once_are_refused():
    raw = with_old_names()
    raw["data"]["splits"]["static_test"]["purpose"] = "test"
    with pytest.raises(ConfigError, match=r"data\.splits\.\*\.use is the old name of .*purpose; drop use"):
        parse_config(raw)
