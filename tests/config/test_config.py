"""A configuration that cannot run is refused by name, with the fix, before any job starts."""

import json

import pytest
import yaml

from wildrayzer.config import ConfigError, load_config, parse_config

BASE = yaml.safe_load("""
name: base
compute: {gpus: 0}
data:
  static_train: static_train
  dynamic_train: dynamic_train
  splits:
    static_train: {layout: embedded, role: static, purpose: train}
    dynamic_train: {layout: embedded, role: dynamic, purpose: train}
    calibration: {layout: embedded, role: static, purpose: calibration}
    static_test: {layout: embedded, role: static, purpose: test}
    pairs_test: {layout: embedded, role: pairs, purpose: test}
  embedded:
    frames: 10
    splits:
      static_train: {scenes: 9}
      dynamic_train: {scenes: 9, movers: actors}
      calibration: {scenes: 9}
      static_test: {scenes: 9}
      pairs_test: {scenes: 9, movers: actors, truth: masks_and_clean}
      frozen: {scenes: 9, movers: actors, frozen: true, reuse_seed_of: pairs_test}
model:
  image_size: 48
  patch_size: 6
  width: 96
  head_width: 24
  camera_encoder: pairwise
  view_embedding: type
  matching_init: true
  ray_encoding: fourier
perceptual: {kind: pyramid, weights: null}
pretrain: &stage
  batch: 8
  micro_batch: 8
  views: {inputs: [2], targets: 2, min_distance: 5, max_distance: 9}
pseudo_masks: {absolute_test: patch}
distill: *stage
masked: *stage
joint: *stage
benchmark: {inputs: [2], targets: 4}
""")
"""A configuration that can run, with numbers to break."""
DROP = object()
"""Stands for an option to take out."""

SIZES = {
    "patch size": ({"model.patch_size": 7}, ["model.patch_size = 7", "model.image_size = 48", "choose a patch size"]),
    "head width": ({"model.head_width": 25}, ["model.head_width = 25", "model.width = 96", "choose a head width"]),
    "width": ({"model.width": 100, "model.head_width": 25}, ["model.width = 100", "multiple of 8"]),
    "ray samples": ({"model.ray_samples": 4}, ["model.ray_samples = 4", "model.patch_size = 6"]),
    "micro-batch": ({"pretrain.batch": 12}, ["pretrain: batch = 12", "micro_batch = 8", "divides the global batch"]),
    "processes": ({"compute.processes": 3}, ["pretrain.batch = 8", "3 processes", "choose a multiple"]),
    "share of a process": (
        {"compute.processes": 2, "joint.batch": 24},
        ["joint.micro_batch = 8", "12 samples", "joint.batch = 24", "choose a divisor"],
    ),
    "nodes": (
        {"compute.gpus": 6, "compute.gpus_per_node": 4}
        | {f"{stage}.batch": 48 for stage in ("pretrain", "distill", "masked", "joint")},
        ["compute.gpus = 6", "compute.gpus_per_node = 4"],
    ),
    "even window": ({"residuals.ssim_size": 8}, ["residuals.ssim_size = 8", "odd"]),
    "large window": (
        {"residuals.ssim_size": 49},
        ["residuals.ssim_size = 49", "model.image_size = 48", "choose a smaller window"],
    ),
    "many clusters": ({"residuals.clusters": 256}, ["residuals.clusters = 256", "less than or equal to 255"]),
}

FRAMES = {
    "no input": ({"pretrain.views.inputs": [0]}, ["views.inputs = [0]", "at least one"]),
    "one input beside leave-one-out maps": (
        {"model.motion_head": {"cross_residual": True}, "distill.views.inputs": [1]},
        ["distill.views.inputs = [1]", "cross_residual", "at least 2"],
    ),
    "distances": (
        {"distill.views.min_distance": 9, "distill.views.max_distance": 6},
        ["views.max_distance = 6", "views.min_distance = 9"],
    ),
    "too few frames between": (
        {"masked.views.min_distance": 3, "masked.views.max_distance": 4, "masked.views.targets": 5},
        [
            "masked.views",
            "views.max_distance = 4 leaves 3 frames",
            "= 5 distinct",
            "raise max_distance or lower targets",
        ],
    ),
    "short clips": ({"data.embedded.frames": 5}, ["pretrain.views needs clips of 6", "data.embedded.frames = 5"]),
    "benchmark": (
        {"benchmark.targets": 9},
        ["benchmark needs clips of 11", "data.embedded.frames = 10", "lower benchmark.targets"],
    ),
    "two kinds of views": (
        {"joint.dynamic_views": {"inputs": [3], "targets": 2, "min_distance": 5, "max_distance": 9}},
        ["dynamic_views has inputs [3]", "views has [2]", "make them the same"],
    ),
}

DATA = {
    "a split's name": (
        {"data.splits.wide+1": {"layout": "embedded", "role": "static", "purpose": "test"}},
        ["data.splits", "'wide+1'", "rename the split"],
    ),
    "a split's path": (
        {"data.splits.a/x": {"layout": "embedded", "role": "static", "purpose": "test"}},
        ["data.splits", "rename the split"],
    ),
    "no such split": ({"data.static_train": "re10k"}, ["data.static_train = 're10k'", "known:", "'static_train'"]),
    "wrong role": ({"data.dynamic_train": "static_train"}, ["data.dynamic_train = 'static_train'", "role: dynamic"]),
    "wrong use": ({"data.static_train": "static_test"}, ["data.static_train = 'static_test'", "purpose: train"]),
    "no calibration": (
        {"data.splits.calibration": DROP},
        ["pseudo_masks.absolute_test: patch", "purpose: calibration", "set absolute_test: off"],
    ),
    "calibration moves": (
        {"data.splits.calibration.role": "dynamic"},
        ["data.splits.calibration", "must have role: static"],
    ),
    "path without layout": ({"data.splits.static_test.path": "data"}, ["layout: embedded with path: data"]),
    "layout without path": (
        {"data.splits.static_test.layout": "lvsm"},
        ["layout: lvsm with path: None", "give a source or a path"],
    ),
    "not generated": ({"data.embedded.splits.static_test": DROP}, ["data.splits.static_test", "data.embedded.splits"]),
    "pairs without twin": (
        {"data.embedded.splits.pairs_test.truth": "masks"},
        ["data.embedded.splits.pairs_test", "truth: masks_and_clean"],
    ),
    "seed of nothing": (
        {"data.embedded.splits.frozen.reuse_seed_of": "none"},
        ["data.embedded.splits.frozen.reuse_seed_of = 'none'"],
    ),
    "nothing to freeze": (
        {"data.embedded.splits.frozen.movers": "none"},
        ["data.embedded.splits.frozen", "needs movers"],
    ),
    "half of COCO": ({"data.coco": {"images": "train2014"}}, ["data.coco.annotations", "give both or neither"]),
    "index of nothing": (
        {"benchmark.index": {"davis": "davis.json"}},
        ["benchmark.index", "'davis'", "known:", "'pairs_test'"],
    ),
}

CONTRADICTIONS = {
    "matching without pairs": (
        {"model.camera_encoder": "joint"},
        ["model.matching_init", "model.camera_encoder: pairwise", "set one or drop the other"],
    ),
    "pairs with numbers": ({"model.view_embedding": "number"}, ["set model.view_embedding: type"]),
    "pairs around the middle": ({"model.canonical_view": "middle"}, ["needs model.canonical_view: first"]),
    "no motion head": (
        {"model.motion_head": None},
        ["model.motion_head: null ends the run", "set data.dynamic_train: null"],
    ),
    "VGG without weights": (
        {"perceptual.kind": "vgg19"},
        ["perceptual.kind: vgg19", "perceptual.weights", "set kind: pyramid"],
    ),
    "pretraining on moving clips": (
        {"pretrain.dynamic_share": 0.5},
        ["pretrain.dynamic_share: this stage does not read it (distill and masked and joint do); drop it"],
    ),
    "gate without rendering": (
        {"distill.motion_gate": "none"},
        ["distill.motion_gate: this stage does not read it (masked and joint do); drop it"],
    ),
    "labels without a head to train": (
        {"masked.psnr_filter": 17.0},
        ["masked.psnr_filter: this stage does not read it (distill and joint do); drop it"],
    ),
    "PSNR range": (
        {"pseudo_masks.psnr_low": 30.0},
        ["pseudo_masks.psnr_high = 27.0", "pseudo_masks.psnr_low = 30.0"],
    ),
    "paste range": ({"paste.min_area": 0.5}, ["paste.max_area = 0.35", "paste.min_area = 0.5"]),
}

VALUES = {
    "near miss": ({"pretrain.lerning_rate": 1e-3}, ["pretrain.lerning_rate", "did you mean 'learning_rate'?"]),
    "section near miss": ({"pretrian": {}}, ["pretrian", "did you mean 'pretrain'?"]),
    "under a name": ({"data.splits.static_test.rol": "x"}, ["data.splits.static_test.rol", "did you mean 'role'?"]),
    "deep near miss": ({"joint.views.target": 2}, ["joint.views.target", "did you mean 'targets'?"]),
    "behind null": ({"masked.stepz": 2}, ["masked.stepz", "did you mean 'steps'?"]),
    "far miss": ({"refine.qqqq": 2}, ["refine.qqqq: unknown option", "known here: grabcut, grabcut_iterations"]),
    "unknown backbone": (
        {"features.backbone": "dino"},
        ["features.backbone = 'dino'", "'dinov3', 'timm' or 'descriptor'"],
    ),
    "unknown method": ({"benchmark.methods": ["joint", "best"]}, ["benchmark.methods.1 = 'best'", "'nearest'"]),
    "wrong type": ({"pretrain.steps": "many"}, ["pretrain.steps = 'many'", "valid integer"]),
    "out of range": ({"pseudo_masks.top_share": 1.5}, ["pseudo_masks.top_share = 1.5", "less than or equal to 1"]),
    "name is a path": ({"name": "../results"}, ["name = '../results'"]),
    "missing": ({"data": DROP}, ["data: missing", "give it a value"]),
}

CASES = {
    f"{kind}: {name}": case
    for kind, table in
    (("sizes", SIZES), ("frames", FRAMES), ("data", DATA), ("contradictions", CONTRADICTIONS), ("values", VALUES))
    for name, case in table.items()
}  # fmt: skip


def base_with(changes: dict) -> dict:
    raw = json.loads(json.dumps(BASE))  # no aliases of one section
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = raw
        for part in parents:
            section = section.setdefault(part, {})
        if value is DROP:
            del section[last]
        else:
            section[last] = value
    return raw


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_is_refused_by_name_with_the_remedy(case):
    changes, expected = case
    with pytest.raises(ConfigError) as refusal:
        parse_config(base_with(changes), source="run.yaml")
    message = str(refusal.value)
    assert message.startswith("run.yaml cannot run:")
    assert [part for part in expected if part not in message] == [], message


def test_names_all_faults_at_once():
    with pytest.raises(ConfigError) as refusal:
        parse_config(base_with({"seed": -1, "rounds": 0, "refine.min_size": 0.1}))
    lines = str(refusal.value).splitlines()
    assert len(lines) == 4
    assert {line.split()[1].rstrip(":") for line in lines[1:]} == {"seed", "rounds", "refine.min_size"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such configuration file; see config/"),
        (b"pretrain: {steps: 3", "not readable as YAML"),
        (b"\xff\xfe\x00", "not readable as YAML"),
        (b"- pretrain\n", "expected a mapping of sections, found list"),
        (b"", "expected a mapping of sections, found NoneType"),
    ],
)
def test_names_an_unreadable_file(tmp_path, content, expected):
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.yaml") as refusal:
        load_config(path)
    assert expected in str(refusal.value)


def test_the_base_without_changes_is_accepted():
    config = parse_config(base_with({}))
    assert (config.name, config.model.grid, config.world_size) == ("base", 8, 1)


def test_sections_are_frozen():
    config = parse_config(base_with({}))
    with pytest.raises(ValueError, match="frozen"):
        config.pretrain.steps = 3


def test_home_and_variables_are_replaced_in_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    config = parse_config(base_with({
        "pretrained": "~/renderer", "features.weights": "$SCRATCH/vit", "benchmark.lpips_weights": "${HOME}/$UNKNOWN/~",
        "benchmark.index": {"static_test": "~/{inputs}.json"},
    }))  # fmt: skip
    assert (config.pretrained, config.features.weights) == ("/home/me/renderer", "/scratch/vit")
    assert config.benchmark.lpips_weights == "/home/me/$UNKNOWN/~"
    assert config.benchmark.index == {"static_test": "/home/me/{inputs}.json"}
    assert parse_config(config.model_dump()) == config
