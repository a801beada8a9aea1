"""What a changed option redoes is what it declares; nothing else is a reason to run a finished job again."""

import contextlib
import copy
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import yaml

from tests.helpers.tiny_run import ROOT, TINY, planned, snakemake
from wildrayzer.config import ConfigError, RunConfig, parse_config
from wildrayzer.config.base import effect_of
from wildrayzer.config.walk import Option, inner_section, options, without_null
from wildrayzer.run.redo import repeated_jobs
from wildrayzer.tools.reruns import adopt, difference, evaluated_workflow

NOT_SHOWN = {
    "name": "results go to another folder, so that nothing there is finished",
    "rounds": "a second round is new work; the first one stays as it is",
    "pretrained": "a checkpoint takes the place of pretraining: another rule with the same output",
    "benchmark.lpips_weights": "needs a weights file; scoring waits for it",
    "perceptual.weights": "needs a weights file; training waits for it",
    "features.weights": "read by dinov3 and timm only",
    "data.static_train": "needs a second split of this role and purpose",
    "data.dynamic_train": "needs a second split of this role and purpose",
    "data.splits.*.source": "needs a source of outside data",
    "data.splits.*.scene_list": "read by layout davis only",
    "benchmark.index": "needs an index file; scoring waits for it",
    "model.kind": "the networks of LVSM have no motion head, so that the run would end after pretraining",
    "model.cameras": "given cameras leave out the stages after pretraining",
    "data.sources": "needs another table of sources",
    "data.coco.annotations": "goes with data.coco.images; both must be there",
    "data.coco.images": "goes with data.coco.annotations; both must be there",
}
"""Options that decide results and whose effect a change of that option alone cannot show in the tiny run, and why."""

TOGETHER: dict[str, dict[str, Any]] = {
    "data.splits.*.role": {"data.splits.frozen_test.role": "static"},
    "data.splits.*.purpose": {"data.splits.frozen_test.purpose": "test"},
    "data.splits.*.layout": {
        "data.splits.static_test.layout": "pixelsplat",
        "data.splits.static_test.path": "results/tiny/raw/calibration",
    },
    "data.splits.*.path": {
        "data.splits.static_test.layout": "pixelsplat",
        "data.splits.static_test.path": "results/tiny/raw/calibration",
    },
    "model.camera_encoder": {"model.camera_encoder": "pairwise", "model.view_embedding": "type"},
    "model.matching_init": {
        "model.camera_encoder": "pairwise",
        "model.view_embedding": "type",
        "model.matching_init": True,
    },
    "data.embedded.splits.*.reuse_cameras_of": {"data.embedded.splits.static_test.reuse_cameras_of": "calibration"},
    "residuals.ssim_size": {"residuals.ssim_size": 7},
    "benchmark.inputs": {"benchmark.inputs": [2, 3], "benchmark.force_inputs": True},
    "benchmark.pictures": {"benchmark.pictures": ["static_test"]},
    "benchmark.mask_splits": {"benchmark.mask_splits": ["pairs_test", "frozen_test"]},
    "benchmark.ablations": {"benchmark.ablations": ["dino_only"]},
}
"""Options that need a certain value, or another option with them."""


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def rules_to_run(folder: Path, raw: dict[str, Any], file: Path) -> set[str]:
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    with inside(folder), evaluated_workflow(file, snakefile=ROOT / "Snakefile") as graph:
        return {job.rule.name for job in graph.needrun_jobs() if not job.rule.norun}


def other_values(value: Any, annotation: Any) -> Iterator[Any]:
    """Values of an option's type other than the given one; some break a bound."""
    kind = without_null(annotation)
    if kind is not annotation and value is not None:
        yield None
    if get_origin(kind) is Annotated:  # a path
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        yield from (choice for choice in get_args(kind) if choice != value)
    elif kind is bool:
        yield not value
    elif kind is int:
        yield from (value * 2, value + 1, value - 1, 4) if value is not None else (1, 2, 4, 1000)
    elif kind is float:
        yield from (value * 0.9, value + 0.1, value + 1.0) if value is not None else (0.5, 1.0)
    elif kind is str:
        yield "x"
    elif get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if get_origin(inner) is Literal:
            yield from ([*value, choice] for choice in get_args(inner) if choice not in value)
            yield [*value][:-1]
        elif inner is str:
            yield [*value, "person"]
        else:
            yield from ([*value[:-1], other] for other in other_values(value[-1], inner))
            yield [*value, max(value) + 1]


def with_value(raw: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    attempt = copy.deepcopy(raw)
    *names, last = path.split(".")
    place = attempt
    for name in names:
        place = place.setdefault(name, {})
    place[last] = value
    return attempt


def places(section: Any, path: list[str]) -> Iterator[tuple[str, Any]]:
    """Full names of an option in a configuration, one for each name that the user has chosen, and their values."""
    name, *rest = path
    if section is None:
        return
    if name == "*":
        for key in section:
            yield from ((f"{key}.{inner}", value) for inner, value in places(section[key], rest))
    elif rest:
        yield from ((f"{name}.{inner}", value) for inner, value in places(getattr(section, name), rest))
    else:
        yield name, getattr(section, name)


def changed(raw: dict[str, Any], option: Option) -> dict[str, Any] | None:
    """The configuration with another valid value of one option; None if the tiny run has no such section."""
    if option.path in TOGETHER:
        for path, value in TOGETHER[option.path].items():
            raw = with_value(raw, path, value)
        parse_config(raw)
        return raw
    found = list(places(parse_config(raw), option.path.split(".")))
    for path, value in found:
        for other in (one for one in other_values(value, option.field.annotation) if one != value):
            attempt = with_value(raw, path, other)
            with contextlib.suppress(ConfigError):
                parse_config(attempt)
                return attempt
    assert not found, f"{option.path}: no other valid value found"
    return None


def plain_options() -> list[Option]:
    return [option for option in options(RunConfig) if inner_section(option.field.annotation)[0] is None]


def test_options_that_decide_results_redo_something(finished, tmp_path):
    """Many options change at once, and each must be named as the cause of a repeated job.

    What is not named, because it brings new jobs in place of repeating some, is changed by itself.
    """
    raw, file = yaml.safe_load(TINY.read_text(encoding="utf-8")), tmp_path / "changed.yaml"
    deciding = [option for option in plain_options() if option.path not in NOT_SHOWN and decides(option)]
    found = {option.path: other for option in deciding if (other := changed(raw, option)) is not None}
    single = set(found) & set(TOGETHER)
    for batch in batches([option for option in deciding if option.path in found.keys() - single], raw):
        named = causes(finished, batch[1], file)
        single |= {path for path, names in batch[0].items() if not names & named}
    assert len(single) < len(found) / 2
    assert [path for path in sorted(single) if not rules_to_run(finished, found[path], file)] == []


def batches(chosen: list[Option], raw: dict[str, Any]) -> Iterator[tuple[dict[str, set[str]], dict[str, Any]]]:
    """Options that can change together: what changes for each, and the configuration with all of these changes."""
    while chosen:
        paths, every, left = {}, raw, []
        for option in chosen:
            try:
                other = changed(every, option)
            except (AssertionError, ConfigError):
                other = None
            if other is None:
                left.append(option)
            else:
                paths[option.path] = {name for name, value in flat(other).items() if flat(every).get(name) != value}
                every = other
        assert paths, f"{[option.path for option in left]}: no other valid value found"
        yield paths, every
        chosen = left


def flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in section.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return values


def causes(folder: Path, raw: dict[str, Any], file: Path) -> set[str]:
    """Options that repeated jobs name as changed; none where the workflow cannot be evaluated with all changes."""
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    with (
        inside(folder),
        contextlib.suppress(ValueError),
        evaluated_workflow(file, snakefile=ROOT / "Snakefile") as graph,
    ):
        return {change.partition(": ")[0] for job in repeated_jobs(graph) for change in job.changes}
    return set()


def test_all_other_options_redo_nothing(finished, tmp_path):
    """All at once, which takes one evaluation of the workflow; where something is redone, each option by itself."""
    raw = every = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    others = [option for option in plain_options() if option.path not in NOT_SHOWN and not decides(option)]
    for option in others:
        every = changed(every, option) or every
    assert len(others) > 30
    if not rules_to_run(finished, every, tmp_path / "changed.yaml"):
        return
    again = {}
    for option in others:
        other = changed(raw, option)
        if other is not None and (rules := rules_to_run(finished, other, tmp_path / "changed.yaml")):
            again[option.path] = (effect_of(option.section, option.name), sorted(rules))
    pytest.fail(f"these options redo jobs, although their effect says that they do not: {again}")


def decides(option: Option) -> bool:
    return effect_of(option.section, option.name) == "result"


@pytest.fixture
def copied(finished, tmp_path):
    """The run at another path, with new times for all files and without Snakemake's records."""
    folder = tmp_path / "another place"
    shutil.copytree(finished / "results", folder / "results", copy_function=shutil.copyfile)
    return folder


def adopted(folder: Path, config: Path = TINY, **options: Any) -> int:
    with inside(folder):
        return adopt(config, snakefile=ROOT / "Snakefile", **options)


def test_a_copied_run_is_adopted_and_has_nothing_to_do(copied):
    assert adopted(copied) > 40
    assert planned(copied, "--", "all") == {}


def test_a_run_that_was_copied_in_part_is_refused_by_name(copied):
    store = copied / "results" / "tiny" / "frames" / "dynamic_train"
    next(file for file in sorted(store.rglob("c/*/*")) if file.is_file()).unlink()
    with pytest.raises(ValueError, match=r"dynamic_train\.json has \d+ files .* copied in part or changed"):
        adopted(copied)


def test_damaged_weights_are_refused_by_name(copied):
    weights = copied / "results" / "tiny" / "pretrain" / "checkpoint" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"pretrain/checkpoint/model\.safetensors: digest"):
        adopted(copied)


def test_results_of_other_options_are_adopted_only_if_they_are_kept(copied, tmp_path):
    other = tmp_path / "other.yaml"
    raw = with_value(yaml.safe_load(TINY.read_text(encoding="utf-8")), "pseudo_masks.top_share", 0.4)
    other.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    with pytest.raises(ValueError, match=r"pseudo_masks\.top_share: \S+ → 0\.4"):
        adopted(copied, other)
    adopted(copied, other, keep=True)
    with inside(copied):
        assert difference(other, snakefile=ROOT / "Snakefile") == []


def test_the_difference_names_options_and_stages(finished, tmp_path):
    other = tmp_path / "other.yaml"
    raw = with_value(yaml.safe_load(TINY.read_text(encoding="utf-8")), "joint.steps", 8)
    other.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    with inside(finished):
        lines = difference(other, snakefile=ROOT / "Snakefile")
    assert re.fullmatch(r"made again: joint \(1 job, \S+ (?:s|min|h) when last run\): joint\.steps: 6 → 8", lines[0])
    assert [line.split()[2] for line in lines] == ["joint", "unmasked", "scores", "benchmark_tables", "report"]


def test_training_that_cannot_continue_with_more_data_is_refused_before_anything_is_deleted(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    grown = ("--config", "continue=masked", "data={embedded: {splits: {dynamic_train: {scenes: 7}}}}")
    refused = snakemake(folder, *grown, "--", "joint", check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "masked has done its 6 steps; raise masked.steps, which counts all steps, to train on with more data" in said
    assert "joint has done its 6 steps" in said
    assert "distill has done" not in said
    assert (folder / "results" / "tiny" / "round1" / "joint" / "checkpoint" / "model.safetensors").is_file()
    named = snakemake(folder, "--config", "continue=pretrain", "--", "all", check=False)
    assert "continue=pretrain: no stage that can be continued" in named.stdout + named.stderr


def test_a_stage_of_more_than_an_hour_is_made_again_only_where_the_call_names_it(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    benchmark = folder / "results" / "tiny" / "benchmarks" / "joint" / "round1.tsv"
    header, row = benchmark.read_text(encoding="utf-8").splitlines()
    benchmark.write_text("\n".join([header, "\t".join(["7200", *row.split("\t")[1:]])]), encoding="utf-8")
    call = ("--config", "joint={steps: 8}")
    refused = snakemake(folder, *call, "--", "all", check=False)
    assert refused.returncode != 0
    assert "joint took more than an hour" in refused.stdout + refused.stderr
    assert "redo=joint" in refused.stdout + refused.stderr
    named = snakemake(folder, "--config", "redo=pretraining", "--", "all", check=False)
    assert "redo=pretraining: no stage of this name" in named.stdout + named.stderr
