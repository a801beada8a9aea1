"""Schema and reference are what the models say, and every option is described."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from wildrayzer.cli.main import app
from wildrayzer.config import RunConfig, reference
from wildrayzer.config.walk import options

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="checkout")
def fresh_checkout(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "docs").mkdir()
    reference.write_generated(tmp_path)
    return tmp_path


def table_row(option: str, section: str) -> list[str]:
    text = reference.reference_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{option}` |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_committed_files_are_fresh():
    assert reference.stale_files(ROOT) == [], "run `wildrayzer config reference`"


def test_every_option_is_described():
    bare = [one.path for one in options(RunConfig) if not (one.field.description or "").strip()]
    assert bare == []


def test_every_option_is_in_the_reference():
    text = reference.reference_text()
    assert [one.name for one in options(RunConfig) if f"| `{one.name}` |" not in text] == []
    paths = {one.path for one in options(RunConfig)}
    assert {"pretrain.views.targets", "masked.crop_pretext.steps", "data.splits.*.role"} <= paths


@pytest.mark.parametrize(
    ("section", "option", "expected"),
    [
        ("Model", "image_size", ["integer", "`256`", "≥ 8"]),
        ("Model", "pose", ["choice", '`"6d"`', "`6d`, `quaternion`"]),
        ("Model", "motion_head", ["[MotionHead](#motionhead), or null", "its defaults", ""]),
        ("PseudoMasks", "top_share", ["number", "`0.05`", "> 0, ≤ 1"]),
        ("Split", "limit", ["integer, or null", "`null`", "≥ 1"]),
        ("Split", "role", ["choice", "required", "`static`, `dynamic`, `pairs`"]),
        ("Data", "splits", ["names, each with [Split](#split)", "required", ""]),
        ("Pretrain", "betas", ["list of 2 numbers", "`[0.9, 0.95]`", ""]),
        ("Views", "inputs", ["list of integers", "`[2]`", ""]),
        ("Benchmark", "inputs", ["list of integers", "`[2, 3, 4]`", ""]),
        ("Paste", "categories", ["list of texts", '`["animal", "vehicle", "person"]`', ""]),
        ("Benchmark", "index", ["names, each with text or numbers, each with text, or null", "`{}`", ""]),
    ],
)  # fmt: skip
def test_rows_tell_type_default_and_range(section, option, expected):
    assert table_row(option, section)[1:4] == expected


@pytest.mark.parametrize(
    ("section", "option", "expected"),
    [
        ("Pretrain", "micro_batch", ["rounding", ""]),
        ("Pretrain", "learning_rate", ["result", "`0.0004` (supplement A)"]),
        ("Joint", "learning_rate", ["result", "`0.0002` (public release)"]),
        ("Distill", "dynamic_share", ["result", "`0.5` (supplement A)"]),
        ("Masked", "motion_gate", ["result", '`"none"` (supplement A)']),
        ("Joint", "workers", ["speed", ""]),
        ("Joint", "log_every", ["observation", ""]),
        ("Model", "motion_head", ["", ""]),
        ("Model", "view_type_embedding", ["result", "`true` (supplement A)"]),
        ("Watch", "tensorboard", ["observation", ""]),
    ],
)
def test_rows_tell_effect_and_the_value_of_the_paper(section, option, expected):
    assert table_row(option, section)[4:6] == expected


def test_sections_say_where_they_occur():
    text = reference.reference_text()
    assert "At `pretrain.crop_pretext`, `masked.crop_pretext`, `joint.crop_pretext`." in text
    assert "At `data.splits.*`." in text


def test_generation_is_deterministic():
    assert reference.generated_files() == reference.generated_files()


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_shipped_configurations_fit_the_schema(name):
    schema = json.loads((ROOT / reference.SCHEMA_PATH).read_text())
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError, match="lerning_rate"):
        jsonschema.validate(config | {"pretrain": {"lerning_rate": 1e-3}}, schema)


def test_check_names_the_stale_file_and_leaves_it(checkout):
    (checkout / "docs" / "config.md").write_text("old")
    result = CliRunner().invoke(app, ["config", "reference", "--check", "--root", str(checkout)])
    assert result.exit_code == 1
    assert "docs/config.md" in result.output
    assert "schema.json" not in result.output
    assert (checkout / "docs" / "config.md").read_text() == "old"


def test_reference_repairs_what_check_named(checkout):
    (checkout / "config" / "schema.json").unlink()
    written = CliRunner().invoke(app, ["config", "reference", "--root", str(checkout)])
    assert written.output.split() == ["written", "config/schema.json"]
    assert CliRunner().invoke(app, ["config", "reference", "--check", "--root", str(checkout)]).exit_code == 0


def test_writing_outside_a_checkout_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["config", "reference", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "no folder config/" in result.output
    assert list(tmp_path.iterdir()) == []


def test_config_check_prints_deviations():
    files = [str(ROOT / "config" / f"{name}.yaml") for name in ("demo", "paper")]
    result = CliRunner().invoke(app, ["config", "check", *files])
    assert result.exit_code == 0
    demo, paper = result.output.split(f"{files[1]}: ")
    assert "model.camera_encoder: pairwise" in demo
    assert paper.splitlines()[1].strip() == "differs from the paper: nothing"


def test_config_check_refuses_with_exit_code_2(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nmodle: {}\n")
    result = CliRunner().invoke(app, ["config", "check", str(path)])
    assert result.exit_code == 2
    assert "did you mean 'model'?" in result.output
