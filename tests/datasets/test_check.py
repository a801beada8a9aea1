"""`wildrayzer data check`: every miss is found before anything runs, with what to do; and how splits name sources."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from tests.data.test_readers import chunk_scene, picture
from wildrayzer.cli.main import app
from wildrayzer.config import SplitConfig, parse_config
from wildrayzer.config.sections.features import FeaturesConfig, is_hub_id
from wildrayzer.datasets.check import check_run
from wildrayzer.datasets.licences import backbone_licence
from wildrayzer.datasets.required import check_sources, needs, to_fetch
from wildrayzer.datasets.table import SourceTable, load_table

ROOT = Path(__file__).parents[2]
PAPER = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
COMMON = {"title": "A set", "home": "https://example.org"}
TABLE = SourceTable.model_validate(
    {
        "sources": {
            "stills": {
                **COMMON,
                "folder": "resources/data/stills",
                "version": "v2",
                "files": [{"name": "stills.zip", "mirrors": ["http://127.0.0.1:9/x"], "size": 1000, "archive": True}],
                "parts": {"train": {"layout": "pixelsplat"}, "test": {"layout": "pixelsplat", "scenes": 2}},
            },
            "movers": {
                **COMMON,
                "folder": "resources/data/movers",
                "hub": {"repository": "owner/movers", "type": "dataset"},
                "gated": True,
                "accept": "Accept the terms at https://example.org/movers",
                "parts": {"train": {"layout": "lvsm", "scenes": 2, "frames": 5}},
            },
            "pairs": {
                **COMMON,
                "folder": "resources/data/pairs",
                "provide": "write to its authors",
                "parts": {"test": {"layout": "lvsm"}},
            },
            "vgg": {
                **COMMON,
                "folder": "resources/weights",
                "files": [
                    {"name": "vgg.mat", "mirrors": ["http://127.0.0.1:9/x"], "md5": hashlib.md5(b"good").hexdigest()}
                ],
                "parts": {"vgg.mat": {"layout": "file"}},
            },
        }
    }
)


def config(**changes):
    """The paper's configuration on the sets of TABLE; changes by dotted name."""
    raw = json.loads(json.dumps(PAPER))
    raw["data"] |= {
        "static_train": "stills",
        "dynamic_train": "movers",
        "splits": {
            "stills": {"layout": "pixelsplat", "source": "stills/train", "role": "static", "purpose": "train"},
            "stills_test": {"layout": "pixelsplat", "source": "stills/test", "role": "static", "purpose": "test"},
            "movers": {"layout": "lvsm", "source": "movers/train", "role": "dynamic", "purpose": "train"},
        },
        "coco": {"annotations": "coco.json", "images": "coco"},
    }
    raw["benchmark"]["mask_splits"] = None
    raw |= {
        "features": {"weights": "dino"},
        "perceptual": {"kind": "vgg19", "weights": "resources/weights/vgg.mat"},
        "benchmark": {**raw["benchmark"], "inputs": [2], "index": {}, "lpips_weights": None},
    }
    for option, value in changes.items():
        section = raw
        *way, last = option.split("__")
        for step in way:
            section = section.setdefault(step, {})
        section[last] = value
    return parse_config(raw)


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, body in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body.encode() if isinstance(body, str) else body)


def saved(value, **options) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def chunk(*keys: str) -> bytes:
    return saved([chunk_scene(key, 1) for key in keys])


NO_CAMERAS = "there are no cameras; training and masks need none"
PICTURE = cv2.imencode(".png", picture())[1].tobytes()
NORMALISED = {"image_path": "a.png", "w2c": np.eye(4).tolist(), "fxfycxcy": [1.0, 1.0, 0.5, 0.5]}
EMPTY = torch.zeros(0, dtype=torch.uint8)
OBJECT = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]}
COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "width": 8, "height": 8}],
    "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}],
    "annotations": [OBJECT],
}
COMPLETE: dict[str, str | bytes] = {
    "resources/data/stills/train/0.torch": chunk("c"),
    "resources/data/stills/test/0.torch": chunk("a", "b"),
    "resources/data/stills/test/index.json": '{"a": "0.torch", "b": "0.torch"}',
    "resources/data/movers/train/full_list.txt": "metadata/a.json\nmetadata/b.json\n",
    "resources/data/movers/train/metadata/a.json": json.dumps({"frames": [{"image_path": "a.png"}] * 2}),
    "resources/data/movers/train/metadata/a.png": PICTURE,
    "resources/data/movers/train/metadata/b.json": json.dumps({"frames": [{"image_path": "a.png"}] * 3}),
    "coco.json": json.dumps(COCO),
    "coco/1.jpg": b"",
    "dino/config.json": "{}",
    "dino/model.safetensors": b"",
    "resources/weights/vgg.mat": b"good",
}


@pytest.fixture
def complete(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    write(tmp_path, COMPLETE)
    return tmp_path


def states(found) -> dict[str, str]:
    return {finding.option: finding.state for finding in found}


def missed(found) -> list[tuple[str, str, str]]:
    return [(finding.option, finding.found, finding.fix) for finding in found if finding.state == "miss"]


def test_nothing_is_missed_where_all_is_there(complete):
    found = check_run(config(), TABLE, root=complete, frames=True)
    assert set(states(found).values()) == {"ok"}
    facts = {finding.option: finding.found for finding in found}
    assert facts["data.splits.movers.path"] == f"2 scenes of 2, 5 frames of 5, {NO_CAMERAS}, provided by you"
    assert facts["data.splits.stills_test.path"] == "2 scenes of 2, 2 frames, provided by you"
    assert facts["data.coco.annotations"] == "1 objects"
    assert facts["perceptual.weights"] == "checksum as published"


def test_an_empty_machine_is_told_what_to_do_for_each_miss(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    run = config(data__splits__pairs={"layout": "lvsm", "source": "pairs/test", "role": "pairs", "purpose": "test"})
    found = check_run(run, TABLE, root=tmp_path)
    assert states(found) == {
        "data.splits.stills.path": "to fetch",
        "data.splits.stills_test.path": "to fetch",
        "data.splits.movers.path": "miss",
        "data.splits.pairs.path": "miss",
        "data.coco.annotations": "miss",
        "data.coco.images": "miss",
        "features.weights": "miss",
        "perceptual.weights": "to fetch",
        "disk": "ok",
    }
    fixes = {option: f"{facts}: {fix}" for option, facts, fix in missed(found)}
    assert "no token (HF_TOKEN): Accept the terms at https://example.org/movers; then set HF_TOKEN" in str(fixes)
    assert "write to its authors. Put it there, or set data.splits.pairs.path" in fixes["data.splits.pairs.path"]
    assert fixes["features.weights"] == "does not exist: set features.weights to where you have it"


def test_with_a_token_a_gated_source_is_to_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    (finding,) = [f for f in check_run(config(), TABLE, root=tmp_path) if f.option == "data.splits.movers.path"]
    assert finding.state == "to fetch"
    assert "accepted already? Accept the terms" in finding.fix


@pytest.mark.parametrize(
    ("files", "option", "fact"),
    [
        (
            {"resources/data/movers/train/full_list.txt": "metadata/a.json\n"},
            "data.splits.movers.path",
            "1 scenes of 2",
        ),
        (
            {"resources/data/movers/train/metadata/b.json": "{"},
            "data.splits.movers.path",
            "1 scenes cannot be used (scene file cannot be read: 1)",
        ),
        (
            {"resources/data/movers/train/metadata/b.json": '{"frames": [{"image_path": "a.png"}]}'},
            "data.splits.movers.path",
            "3 frames of 5",
        ),
        (
            {"resources/data/movers/train/metadata/a.png": None},
            "data.splits.movers.path",
            "2 scenes cannot be used (image is missing: 2)",
        ),
        (
            {"resources/data/stills/test/index.json": '{"a": "0.torch", "b": "9.torch"}'},
            "data.splits.stills_test.path",
            "1 chunks are missing: 9.torch",
        ),
        (
            {"resources/data/stills/test/index.json": '{"a": "0.torch", "z": "0.torch"}'},
            "data.splits.stills_test.path",
            "1 scenes cannot be used (scene is not in its chunk: 1)",
        ),
        (
            {"resources/data/movers/train/metadata/a.png": "version https://git-lfs.github.com/spec/v1\n"},
            "data.splits.movers.path",
            "2 scenes cannot be used (image cannot be decoded: 2)",
        ),
        (
            {"resources/data/movers/train/metadata/b.json": json.dumps({"frames": [NORMALISED] * 3})}
            | {"resources/data/movers/train/metadata/a.json": json.dumps({"frames": [NORMALISED] * 2})},
            "data.splits.movers.path",
            "2 scenes cannot be used (intrinsics do not fit the frames: 2)",
        ),
        (
            {
                "resources/data/stills/test/0.torch": saved(
                    [chunk_scene("a", 1), chunk_scene("b", 1) | {"images": [EMPTY]}]
                )
            },
            "data.splits.stills_test.path",
            "1 scenes cannot be used (image cannot be decoded: 1)",
        ),
        *(
            (
                {"resources/data/stills/test/index.json": json.dumps({"a": name, "b": "0.torch"})},
                "data.splits.stills_test.path",
                "listing cannot be read",
            )
            for name in ("", "..", "a/0.torch", "x" * 256, "0.torch\0", "\ud800.torch")
        ),
        *(
            (
                {"resources/data/stills/test/0.torch": content},
                "data.splits.stills_test.path",
                f"2 scenes cannot be used ({reason}: 2)",
            )
            for content, reason in (
                (chunk("a", "b")[:-20], "chunk cannot be read"),
                (b"", "chunk cannot be read"),
                (b"<!DOCTYPE html>", "chunk cannot be read"),
                (saved({"a": chunk_scene("a")}), "chunk is no list of scenes"),
                (saved([chunk_scene("a")], _use_new_zipfile_serialization=False), "chunk cannot be read"),
            )
        ),
        (
            {"resources/data/stills/train/0.torch": chunk("c")[:-20]},
            "data.splits.stills.path",
            "1 scenes cannot be used (chunk cannot be read: 1)",
        ),
        ({"coco.json": "hello"}, "data.coco.annotations", "no object can be cut out"),
        ({"coco.json": "{}"}, "data.coco.annotations", "no object can be cut out"),
        ({"resources/data/stills/test/index.json": "{"}, "data.splits.stills_test.path", "listing cannot be read"),
        ({"resources/data/stills/test/index.json": "{}"}, "data.splits.stills_test.path", "listing cannot be read"),
        ({"resources/weights/vgg.mat": b"evil"}, "perceptual.weights", "md5 is"),
        ({"dino/config.json": None}, "features.weights", "is not a folder with config.json and *.safetensors"),
        ({"coco/1.jpg": None}, "data.coco.images", "is not a folder that is not empty"),
        (
            {"resources/data/stills/train/source.json": '{"source": "stills", "version": "v1"}'},
            "data.splits.stills.path",
            "version v1, the table names v2",
        ),
        (
            {"resources/data/stills/train/source.json": '{"source": "movers", "version": "v2"}'},
            "data.splits.stills.path",
            "fetched as source movers, the table has stills here",
        ),
    ],
)
def test_what_is_there_and_wrong_is_missed(complete, files, option, fact):
    write(complete, {name: body for name, body in files.items() if body is not None})
    for name in (name for name, body in files.items() if body is None):
        (complete / name).unlink()
    ((found_option, found, fix),) = missed(check_run(config(), TABLE, root=complete, frames=True))
    assert found_option == option
    assert fact in found
    assert fix


@pytest.mark.parametrize("content", ['{"about": "a file of the data set itself"}', "[1]", "no JSON"])
def test_a_source_json_of_the_data_themselves_is_no_record_of_a_download(complete, content):
    write(complete, {"resources/data/stills/train/source.json": content})
    findings = check_run(config(), TABLE, root=complete)
    assert missed(findings) == []
    assert ["provided by you" in f.found for f in findings if f.option == "data.splits.stills.path"] == [True]


def test_expected_scenes_of_the_configuration_come_first(complete):
    run = config(data__splits__stills_test__expected_scenes=3)
    ((option, found, _),) = missed(check_run(run, TABLE, root=complete))
    assert (option, found) == ("data.splits.stills_test.path", "2 scenes of 3")


@pytest.mark.parametrize(
    ("index", "fact"),
    [
        ({"a": {"context": [0], "target": [1]}, "b": None}, None),
        ({"a": None, "z": None, "y": {"context": [0], "target": [1]}}, "names 2 scenes that the split lacks: y, z"),
        ({"a": {"context": [0]}}, "is no {scene:"),
        (["a"], "is no {scene:"),
    ],
)
def test_frozen_indices_are_read_and_compared_with_their_split(complete, index, fact):
    write(complete, {"index.json": json.dumps(index)})
    found = check_run(config(benchmark__index={"stills_test": "index.json"}), TABLE, root=complete)
    told = [facts for option, facts, _ in missed(found) if option == "benchmark.index.stills_test"]
    assert [fact in text for text in told] == ([] if fact is None else [True])


def test_scenes_that_a_split_lacks_may_be_left_out(complete):
    index = {"a": {"context": [0], "target": [1]}, "/elsewhere/z.json": {"context": [0], "target": [1]}}
    write(complete, {"index.json": json.dumps(index)})
    run = config(benchmark__index={"stills_test": "index.json"}, benchmark__intersect_index=True)
    (fact,) = [f.found for f in check_run(run, TABLE, root=complete) if f.option == "benchmark.index.stills_test"]
    assert "names 1 scenes that the split lacks: z; they are left out" in fact


def test_a_path_for_each_number_of_inputs_is_checked(complete):
    run = config(benchmark__inputs=[2, 3], benchmark__index={"stills_test": "index_{inputs}.json"})
    write(complete, {"index_2.json": "{}"})
    assert [(finding.what, finding.state) for finding in check_run(run, TABLE, root=complete)][-2:] == [
        ("index_2.json", "ok"),
        ("index_3.json", "miss"),
    ]


def test_a_hub_id_needs_a_token_where_its_source_is_gated(complete, monkeypatch):
    run = config(features__weights="owner/movers")
    assert states(check_run(run, TABLE, root=complete))["features.weights"] == "to fetch"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert states(check_run(run, TABLE, root=complete))["features.weights"] == "miss"


def test_too_small_a_disk_is_a_miss(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 999}))
    found = {finding.option: finding for finding in check_run(config(), TABLE, root=tmp_path)}
    assert found["disk"].state == "miss"
    assert "link to a larger disk" in found["disk"].fix


def test_the_command_leaves_with_1_on_a_miss_and_0_without(complete, monkeypatch):
    monkeypatch.chdir(complete)
    raw = config().model_dump(mode="json")
    write(complete, {"run.yaml": yaml.safe_dump(raw), "table.yaml": yaml.safe_dump(TABLE.model_dump(mode="json"))})
    arguments = ["data", "check", "run.yaml", "--table", "table.yaml"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "Nothing is missing." in result.output) == (0, True), result.output
    (complete / "resources/weights/vgg.mat").write_bytes(b"evil")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "What to do:\n  perceptual.weights: move resources/weights/vgg.mat away" in result.output
    result = CliRunner().invoke(app, ["data", "check", "nowhere.yaml"])
    assert result.exit_code == 2
    assert "hf_x" not in result.output


def test_sources_are_listed_with_places_counts_and_conditions():
    result = CliRunner().invoke(app, ["data", "sources"])
    assert result.exit_code == 0
    counted = "resources/data/dre10k/train (15,467 scenes, 147,422 frames)"
    named = ("dre10k: Dynamic-RE10K", "accept   Log in at", "token    HF_TOKEN is needed", "download none:")
    for text in (*named, counted, "resources/weights/vgg16-397923af.pth"):
        assert text in result.output


def test_fetch_names_what_it_does_not_know():
    result = CliRunner().invoke(app, ["data", "fetch", "re20k"])
    assert result.exit_code == 2
    assert "no source is named 're20k'" in result.output
    result = CliRunner().invoke(app, ["data", "fetch", "dre10k_iphone"])
    assert result.exit_code == 2
    assert "cannot be downloaded" in result.output


def test_a_disk_that_is_not_mounted_is_a_miss(complete):
    shutil.rmtree(complete / "resources/data/stills")
    (complete / "resources/data/stills").symlink_to(complete / "gone")
    findings = {finding.option: finding for finding in check_run(config(), TABLE, root=complete)}
    finding = findings["data.splits.stills.path"]
    assert finding.state == "miss"
    assert finding.found.endswith("resources/data/stills is a link to nowhere")


def test_that_a_source_is_downloaded_whole_is_said(tmp_path):
    findings = {finding.option: finding for finding in check_run(config(), TABLE, root=tmp_path)}
    assert "the job fetch_stills, which downloads the source whole" in findings["data.splits.stills_test.path"].fix
    assert findings["perceptual.weights"].fix == "the job fetch_vgg"


def test_a_split_takes_the_place_of_its_source_unless_it_has_a_path():
    options = {"layout": "lvsm", "role": "dynamic", "purpose": "train"}
    assert SplitConfig(source="movers/train", **options).path == "resources/data/movers/train"
    assert SplitConfig(source="movers/train", path="/mine", **options).path == "/mine"
    with pytest.raises(ValueError, match="give a source or a path"):
        SplitConfig(**options)
    with pytest.raises(ValueError, match="give a source or a path"):
        SplitConfig(**{**options, "layout": "embedded"}, source="movers/train")


def test_only_missing_places_are_fetched(tmp_path):
    run = config(data__splits__movers__path=str(tmp_path / "mine"))
    assert to_fetch(run, TABLE, tmp_path) == {
        "stills": ["train", "test"],
        "vgg": ["vgg.mat"],
    }
    (tmp_path / "resources/data/stills/test").mkdir(parents=True)
    assert to_fetch(run, TABLE, tmp_path)["stills"] == ["train"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("movers/tran", r"source = 'movers/tran' is in no source of the table; known: movers/train"),
        ("mover/train", r"known: stills, movers, pairs, vgg"),
        ("stills/train", r"has layout: pixelsplat, but the split says layout: lvsm"),
    ],
)
def test_a_source_that_is_not_in_the_table_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        check_sources(config(data__splits__movers__source=source), TABLE)


def test_the_paper_names_places_of_the_table_alone():
    run = parse_config(PAPER)
    table = load_table()
    check_sources(run, table)
    assert [need.path for need in needs(run) if table.at(need.path) is None] == []


def test_hub_ids_are_told_from_paths():
    assert is_hub_id("facebook/dinov3-vits16-pretrain-lvd1689m")
    paths = (
        "/data/dino",
        "./dino",
        "../dino/x",
        "resources/weights",
        "resources/weights/dino",
        "dino",
        "a/b/c",
        "~/dino",
    )
    assert not any(map(is_hub_id, paths))


def test_the_licence_of_weights_without_a_gate_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    name = "vit_small_patch16_dinov3.lvd1689m"
    named = backbone_licence(FeaturesConfig(backbone="timm", weights=name))
    assert f"Licence of features.weights = {name}: DINOv3 License (https://ai.meta.com/" in named
    assert f"Text: https://huggingface.co/timm/{name}" in named
    assert "Apache License 2.0" in backbone_licence(
        FeaturesConfig(backbone="timm", weights="vit_base_patch14_reg4_dinov2.lvd142m")
    )
    config = json.dumps({"pretrained_cfg": {"license": "dinov3-license"}})
    write(tmp_path / "weights", {"config.json": config, "LICENSE.md": "# Terms\n\nBe kind.\n"})
    local = backbone_licence(FeaturesConfig(backbone="timm", weights="weights"), root=tmp_path)
    assert local.startswith("Licence of features.weights = weights: DINOv3 License (")
    assert local.endswith("LICENSE.md:\n\n  # Terms\n\n  Be kind.")
    assert backbone_licence(FeaturesConfig()) is None


@pytest.mark.parametrize("line", ["metadata\\a.json", "C:\\data\\metadata\\a.json"])
def test_lists_of_windows_are_read(complete, line):
    write(
        complete,
        {"resources/data/movers/train/full_list.txt": f"\ufeff{line}\r\n{line.replace('a.json', 'b.json')}\r\n"},
    )
    document = {"frames": [{"image_path": "..\\metadata\\a.png"}] * 3}
    write(complete, {"resources/data/movers/train/metadata/b.json": "\ufeff" + json.dumps(document)})
    found = check_run(config(), TABLE, root=complete, frames=True)
    assert missed(found) == []
    facts = {finding.option: finding.found for finding in found}
    assert facts["data.splits.movers.path"] == f"2 scenes of 2, 5 frames of 5, {NO_CAMERAS}, provided by you"


def test_objects_that_cannot_be_cut_out_are_counted(complete):
    odd = [{**OBJECT, "segmentation": outline} for outline in ([], [[]], None, [[1, 2]])]
    write(complete, {"coco.json": json.dumps({**COCO, "annotations": [OBJECT, *odd]})})
    facts = {finding.option: finding.found for finding in check_run(config(), TABLE, root=complete)}
    assert facts["data.coco.annotations"] == "1 objects, skipped object has no outline: 1, outline has no area: 3"
