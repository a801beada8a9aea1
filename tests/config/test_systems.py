"""Systems that the workflow cannot train are refused before any job."""

from pathlib import Path

import pytest
import yaml

from wildrayzer.config import load_config

DEMO = Path(__file__).parents[2] / "config" / "demo.yaml"


def test_a_run_with_given_cameras_is_refused_by_name(tmp_path):
    content = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    content["model"] = {"kind": "lvsm", "image_size": 48, "patch_size": 6}
    (tmp_path / "lvsm.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model\.kind: lvsm with model\.cameras: given cannot be trained"):
        load_config(tmp_path / "lvsm.yaml")


def test_a_run_can_train_open_rayzers_network(tmp_path):
    content = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    content["model"] = {
        "image_size": 48,
        "patch_size": 6,
        "width": 96,
        "head_width": 24,
        "camera_attention": "alternating",
        "camera_head": "pi3",
        "patch_positions": "rope2d",
        "view_embedding": "none",
        "token_fusion": "pixel",
        "motion_head": content["model"]["motion_head"],
    }
    (tmp_path / "open.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    found = load_config(tmp_path / "open.yaml").deviations
    for option in ("camera_attention: alternating", "camera_head: pi3", "patch_positions: rope2d"):
        assert f"model.{option}" in found
