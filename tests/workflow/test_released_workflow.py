"""The target `released_table`: on stand-ins in the layouts of the public files, served on loopback; its refusals."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.helpers.dataset_server import running_server
from tests.helpers.golden import released_shapes, released_state, save_backbone
from tests.workflow.test_sources_workflow import planned
from wildrayzer.config import ModelConfig, load_config
from wildrayzer.config.sections.model import MotionHeadConfig
from wildrayzer.datasets.check import check_run
from wildrayzer.datasets.table import load_table
from wildrayzer.released.keys import CONSTANTS

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "released.yaml"
SIDE, FRAMES, CLIPS = 64, 20, ("1j7MOIdoeUA_clip0032", "2IGfVBTiYLM_clip0001", "left_out_clip0000")
WIDTH = 24
"""Width of the stand-in's backbone features."""


def snakemake(folder, *arguments, check=True):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1", "HF_TOKEN": ""}
    result = subprocess.run(
        [*command, "--cores", "2", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not check or result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return result.stdout + result.stderr


def packed(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return stream.getvalue()


def write_mask_test(folder: Path) -> None:
    """D-RE10K's mask test as it is published: no full_list.txt, a scene list with paths of another machine, images
    beside the scene files, masks of 1 = transient."""
    test = folder / "dynamic_re10k" / "test"
    for number, clip in enumerate(CLIPS):
        images, masks = test / "metadata" / clip, test / "binary_masks" / clip
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        frames = []
        for frame in range(FRAMES):
            picture = np.full((SIDE, SIDE, 3), 100 + 20 * number, np.uint8)
            picture[8:40, frame : frame + 32] = 250
            Image.fromarray(picture).save(images / f"{frame:05d}.png")
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[8:40, frame : frame + 32] = 1
            np.save(masks / f"{frame:05d}.npy", mask)
            camera = {"fxfycxcy": [80.0, 80.0, 32.0, 32.0], "w2c": np.eye(4).tolist()}
            frames.append({"image_path": f"{clip}/{frame:05d}.png", **camera})
        text = json.dumps({"scene_name": clip, "frames": frames})
        (test / "metadata" / f"{clip}.json").write_text(text, encoding="utf-8")
    listed = "\n".join(f"/scratch/someone/dynamic_re10k/test/metadata/{clip}.json" for clip in CLIPS[:2])
    (test / "dre10k_final_context_2.txt").write_text(listed + "\n", encoding="utf-8")


def checkpoint() -> bytes:
    head = MotionHeadConfig(blocks=1, feature_width=WIDTH, head_width=None)
    config = ModelConfig(image_size=32, width=96, head_width=8, camera_blocks=1, scene_blocks=1, decoder_blocks=1,
                         scene_tokens=2, motion_head=head)  # fmt: skip
    stream = io.BytesIO()
    shapes = released_shapes(config) | dict.fromkeys(CONSTANTS, (1, 3, 1, 1))
    torch.save({"model": released_state(shapes, 4)}, stream)
    return stream.getvalue()


@pytest.fixture
def public(tmp_path):
    """Folder whose table of sources leads to stand-ins on loopback, and their server."""
    write_mask_test(tmp_path / "set")
    options = {"patch_size": 16, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 1,
               "num_attention_heads": 3, "num_register_tokens": 4, "seed": 1}  # fmt: skip
    save_backbone({"dino": options}, tmp_path / "backbone" / "dinov3-vits16-tiny")
    window = {"context": [0, 19], "target": [1, 3, 4, 9, 15, 18]}
    with running_server() as server:
        server.files |= {
            "/set.zip": packed(tmp_path / "set"),
            "/dino.zip": packed(tmp_path / "backbone"),
            "/index.json": json.dumps(dict.fromkeys(CLIPS[:2], window)).encode(),
            "/wildrayzer_2view.pt": checkpoint(),
        }
        real = load_table().sources
        sources = {
            "dre10k": ("/set.zip", {"test": {"layout": "lvsm", "find": list(real["dre10k"].parts["test"].find)}}),
            "index_dre10k": ("/index.json", None),
            "wildrayzer": ("/wildrayzer_2view.pt", None),
            "dino": ("/dino.zip", {"dinov3-vits16-tiny": {"layout": "huggingface"}}),
        }
        table = {}
        for name, (path, parts) in sources.items():
            folder = real[name].folder if name in real else "resources/weights"
            part = next(iter(real[name].parts)) if parts is None else ""
            file = {"name": part or path[1:], "mirrors": [f"{server.address}{path}"], "archive": parts is not None}
            table[name] = {"title": name, "home": "https://example.org", "folder": folder, "files": [file],
                           "parts": parts or {part: {"layout": "file"}}}  # fmt: skip
        changes = {
            "compute": {"device": "cpu", "threads": 1},
            "data": {"sources": "table.yaml", "splits": {"dre10k_test": {"expected_scenes": 3}}},
            "model": {"image_size": 32},
            "features": {"weights": "resources/weights/dinov3-vits16-tiny", "precision": "float32"},
            "benchmark": {"methods": [], "lpips_weights": None, "bootstrap": 100, "panels": 1},
        }
        (tmp_path / "table.yaml").write_text(yaml.safe_dump({"sources": table}), encoding="utf-8")
        (tmp_path / "changes.yaml").write_text(yaml.safe_dump(changes), encoding="utf-8")
        yield tmp_path, server


@pytest.mark.slow
def test_a_public_checkpoint_is_fetched_imported_scored_under_both_protocols_and_judged(public):
    folder, server = public
    snakemake(folder, "--configfile", CONFIG, folder / "changes.yaml", "--", "released_table")
    assert {path for _, path, _ in server.requests} == set(server.files)
    text = (folder / "results/released/tables/tables.md").read_text(encoding="utf-8")
    parts = {part.splitlines()[0].partition(" on ")[0]: part for part in text.split("\n## ")[1:]}
    judged = [
        line.split(" | ") for line in parts["The public checkpoint"].splitlines() if line.startswith("| released")
    ]
    assert [(row[0].strip("| "), row[1], row[2], row[4]) for row in judged] == [
        ("released", "paper", "static PSNR, dB", "21.78"),
        ("released", "release", "full (release) PSNR, dB", "19.20"),
        ("released_oracle", "paper, oracle gate", "static PSNR, dB", "–"),
        ("released_oracle", "release, oracle gate", "full (release) PSNR, dB", "–"),
    ]
    assert {row[-1].strip(" |") for row in judged[:2]} == {"differs"}, "weights are random"
    assert "| head:released | paper | mask IoU, % |" in parts["The public checkpoint"]
    assert "dre10k_final_context_2_view_idx.json, digest" in text
    assert "2 of 3 scenes. Precision: float32. LPIPS: not scored." in text
    rows = [line.split(" | ")[1:5] for line in parts["Protocols"].splitlines() if line.startswith("| 2 | released")]
    assert [row[:3] for row in rows] == [
        ["released", "paper", "motion head"],
        ["released", "release", "motion head"],
        ["released_oracle", "paper, oracle gate", "true masks (oracle)"],
        ["released_oracle", "release, oracle gate", "true masks (oracle)"],
    ]
    assert "Nothing to be done" in snakemake(
        folder, "--configfile", CONFIG, folder / "changes.yaml", "--dry-run", "--", "released_table"
    )


def test_a_fresh_clone_plans_it_and_a_start_without_what_must_be_accepted_is_refused(tmp_path):
    jobs = planned(snakemake(tmp_path, "--configfile", CONFIG, "--dry-run"))
    fetched = {"dre10k", "index_dre10k", "wildrayzer", "dinov3_vit7b16", "vgg16"}
    assert {name for name in jobs if name.startswith("fetch_")} == {f"fetch_{name}" for name in fetched}
    assert {"import_released": 1, "score_views": 4, "score_input_masks": 1, "write_tables": 1}.items() <= jobs.items()
    assert not {"train_pretrain", "write_report", "score_renderer"} & set(jobs)


def test_what_is_missing_is_listed_with_what_to_accept_and_where(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    found = {one.option: one for one in check_run(load_config(CONFIG), load_table(), root=tmp_path)}
    assert {option for option, one in found.items() if one.state == "miss"} >= {
        "data.splits.dre10k_test.path", "features.weights",
    }  # fmt: skip
    assert "https://huggingface.co/datasets/uva-cv-lab/Dynamic-RE10K" in found["data.splits.dre10k_test.path"].fix
    assert "accept the DINOv3 License" in found["features.weights"].fix
    assert found["released.file"].state == "to fetch"
    assert not any("imported" in one.what for one in found.values())
