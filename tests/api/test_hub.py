"""Checkpoints on a hub that is served on loopback: upload, download, cache, refusals; the token is seen nowhere."""

import json
import logging
import re
import shutil

import numpy as np
import pytest
import yaml

import wildrayzer as wr
from tests.helpers.model_hub import TOKEN, running_hub
from tests.tools.test_render import checkpoint, pictures
from wildrayzer.api.hub import fetch_checkpoint, hub_config, push_checkpoint
from wildrayzer.checkpoint import read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "lab/rooms"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub, and an empty cache of it; a token is set."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # uploads by LFS, which the hub speaks
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = [{"split": "static_train", "clips": 9, "frames": 90, "digest": "d1", "path": "resources/data/re10k/train"},
            {"split": "own_dynamic", "clips": 2, "frames": 20, "digest": "d2", "path": "data/own"}]  # fmt: skip
    return checkpoint(tmp_path_factory.mktemp("hub") / "joint", deviations=["model.focal: shared"], data=data)


def files_of(folder, **changed):
    """Files of a checkpoint as an upload without this project would have them."""
    names = ("model.safetensors", "manifest.json")
    return {**{name: (folder / name).read_bytes() for name in names}, **changed}


def test_a_checkpoint_goes_to_the_hub_and_comes_back(hub, folder):
    model = wr.load(folder)
    first = model.push_to_hub(NAME, licence="apache-2.0", notes="Trained in an afternoon.")
    assert hub.repositories[NAME].private
    stored = hub.repositories[NAME].commits[-1]
    assert stored[0] == first
    assert set(stored[1]) == {".gitattributes", "README.md", "config.json", "manifest.json", "model.safetensors"}
    assert stored[1]["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    again = wr.load(NAME)
    assert again.manifest == model.manifest
    images = pictures(3)
    np.testing.assert_array_equal(again.render(images).views, model.render(images).views)
    assert wr.Model.from_pretrained(NAME, revision=first, device="cpu").folder.name == first


def test_the_config_is_what_the_tools_of_the_hub_read(hub, folder):
    push_checkpoint(folder, NAME, licence="cc-by-4.0", private=False)
    config = json.loads(hub.repositories[NAME].commits[-1][1]["config.json"])
    assert not hub.repositories[NAME].private
    assert config == hub_config(read_manifest(folder))
    assert (config["architectures"], config["model_type"], config["model"]["width"]) == (
        ["WildRayZer"],
        "wildrayzer",
        32,
    )


def test_the_card_names_data_licences_deviations_and_what_is_not_known(hub, folder):
    push_checkpoint(folder, NAME, licence="cc-by-4.0", notes="Trained in an afternoon.")
    card = hub.repositories[NAME].commits[-1][1]["README.md"].decode()
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "cc-by-4.0"
    assert yaml.safe_load(header)["library_name"] == "wildrayzer"
    for words in (
        "# rooms", "removes what moves", 'wr.load("lab/rooms")', "Trained in an afternoon.", "joint, 1 steps",
        "`static_train`, 9 clips, 90 frames, digest d1: [RealEstate10K", "licence: ",
        "`own_dynamic`, 2 clips, 20 frames, digest d2: data of the uploader's own; their licence is not recorded",
        "- `model.focal: shared`", "without the tables of a run", read_manifest(folder).weights_digest,
    ):  # fmt: skip
        assert words in text, words


def test_figures_of_the_run_stand_beside_their_controls(hub, folder, tmp_path):
    run = tmp_path / "results" / "small"
    shutil.copytree(folder, run / "round1" / "joint" / "checkpoint")
    (run / "tables").mkdir()
    row = "pairs_test,2,{},{},{},{},0,9,0.5,30,60,0\n"
    rows = (
        ("joint", "full", "psnr", 21.25),
        ("nearest", "full", "psnr", 18),
        ("static", "full", "psnr", 20),
        ("head:joint", "mask", "iou", 0.4),
        ("residual:renderer", "mask", "iou", 0.3),
        ("coseg", "mask", "iou", 0.9),
    )
    (run / "tables" / "summary.csv").write_text(
        "split,inputs,method,region,metric,mean,low,high,error,scenes,frames,skipped\n"
        + "".join(row.format(method, region, metric, mean) for method, region, metric, mean in rows)
    )
    push_checkpoint(run / "round1" / "joint" / "checkpoint", NAME, licence="apache-2.0")
    card = hub.repositories[NAME].commits[-1][1]["README.md"].decode()
    assert "| split | inputs | region | metric | joint | nearest | static |\n" in card
    assert "| pairs_test | 2 | full | PSNR, dB | 21.250 ± 0.500 | 18.000 ± 0.500 | 20.000 ± 0.500 |\n" in card
    assert "| pairs_test | 2 | mask | IoU | 0.400 ± 0.500 | 0.300 ± 0.500 |\n" in card
    assert "coseg" not in card
    (run / "scores").mkdir()
    (run / "scores" / "joint.json").write_text('{"method": "joint", "digests": {"checkpoint": "another"}}')
    push_checkpoint(run / "round1" / "joint" / "checkpoint", NAME, licence="apache-2.0")
    card = hub.repositories[NAME].commits[-1][1]["README.md"].decode()
    assert "scored other weights" in card
    assert "21.250" not in card


def test_without_a_connection_the_cache_is_used(hub, folder, monkeypatch, caplog):
    commit = hub.add(NAME, files_of(folder))
    assert wr.load(NAME).folder.name == commit
    asked = len(hub.requests)
    assert fetch_checkpoint(NAME, local_files_only=True).name == commit
    assert fetch_checkpoint(NAME, revision=commit).name == commit, "a pinned commit needs no connection"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch_checkpoint(NAME).name == commit
    with pytest.raises(
        ValueError, match="lab/other is not in the hub's cache on this machine, and the hub was not to be"
    ):
        fetch_checkpoint("lab/other")
    assert len(hub.requests) == asked
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "wildrayzer"):
        assert fetch_checkpoint(NAME).name == commit
    assert "cannot be reached (ConnectError); looking for lab/rooms in its cache" in caplog.text
    with pytest.raises(
        ValueError, match="lab/other at v1 is not in the hub's cache on this machine, and the hub cannot"
    ):
        fetch_checkpoint("lab/other", revision="v1")


def test_revisions_are_pinned(hub, folder, tmp_path):
    first = hub.add(NAME, files_of(folder))
    other = checkpoint(tmp_path / "other", "masked")
    hub.repositories[NAME].commit(files_of(other))
    hub.repositories[NAME].tags["v1"] = first
    assert wr.load(NAME).manifest.stage == "masked"
    assert wr.load(NAME, revision="v1").manifest.stage == "joint"
    assert wr.load(NAME, revision=first).manifest.stage == "joint"
    with pytest.raises(ValueError, match="lab/rooms has no revision 'v2'; name one of its branches, tags"):
        wr.load(NAME, revision="v2")
    with pytest.raises(ValueError, match="is a folder and has no revision"):
        wr.load(folder, revision="v1")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"wildrayzer.pt": b"", "config.json": b"{}"},
            "lab/rooms holds its weights only as pickles (wildrayzer.pt), which can run code when they are read. "
            "If one is a public checkpoint of this method, download it and import it: `wildrayzer released import",
        ),
        (
            {"config.json": b'{"architectures": ["LlamaForCausalLM"]}', "model.safetensors": b""},
            "lab/rooms holds the architecture LlamaForCausalLM, not WildRayZer; name a checkpoint of this project",
        ),
        ({"model.safetensors": b""}, "no checkpoint in the format of this project: manifest.json missing"),
        ({"README.md": b""}, "manifest.json and model.safetensors missing"),
    ],
)
def test_other_repositories_are_refused_before_their_weights_are_fetched(hub, files, message):
    hub.add(NAME, files)
    with pytest.raises(ValueError, match=re.escape(message)):
        wr.load(NAME)
    assert not [path for _, path in hub.requests if path.endswith((".pt", ".safetensors"))]


def test_a_config_of_another_architecture_beside_our_files_is_refused(hub, folder):
    hub.add(NAME, files_of(folder, **{"config.json": b'{"architectures": ["Other"]}'}))
    for _ in range(2):  # the second time from the cache
        with pytest.raises(ValueError, match="holds the architecture Other, not WildRayZer"):
            wr.load(NAME)


def test_exchanged_weights_are_refused(hub, folder, tmp_path):
    other = checkpoint(tmp_path / "other", "masked", features="x")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    hub.add(NAME, files_of(folder, **{"model.safetensors": bytes(weights)}))
    with pytest.raises(ValueError, match="the weights are damaged or belong to another checkpoint"):
        wr.load(NAME)


def test_a_repository_of_something_else_is_not_written_to(hub, folder):
    hub.add(NAME, {"model.bin": b"", "README.md": b""})
    with pytest.raises(ValueError, match=r"lab/rooms holds other files \(model.bin\); name a new repository"):
        push_checkpoint(folder, NAME, licence="apache-2.0")
    assert len(hub.repositories[NAME].commits) == 1


def test_private_repositories_need_the_token_which_is_seen_nowhere(hub, folder, monkeypatch, caplog, capfd):
    hub.add(NAME, files_of(folder), private=True)
    with caplog.at_level(logging.INFO):
        assert wr.load(NAME).manifest.stage == "joint"
        monkeypatch.setenv("HF_TOKEN", "hf_another")
        with pytest.raises(ValueError, match=r"shows no lab/rooms, and there is no folder .* the token may") as refused:
            wr.load(NAME)
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
        with pytest.raises(ValueError, match="no token was sent: set HF_TOKEN if it is private"):
            wr.load(NAME)
        with pytest.raises(ValueError, match=r"lab/mine.*no token was sent"):
            push_checkpoint(folder, "lab/mine", licence="apache-2.0")
        assert wr.load(NAME, token=TOKEN).manifest.stage == "joint"
    seen = "".join((caplog.text, *capfd.readouterr(), str(refused.value), repr(refused.value.__cause__)))
    assert TOKEN not in seen
    assert "hf_another" not in seen


@pytest.mark.parametrize("name", ["lab/../rooms", "lab", "a b"])
def test_what_is_neither_folder_nor_repository_is_named(hub, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        wr.load(name)
