"""The fast demo: the demo's network and options of the method, on fewer clips and with fewer jobs."""

import subprocess
from pathlib import Path

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import load_config

ROOT = Path(__file__).parents[2]
FAST, DEMO = (load_config(ROOT / "config" / f"{name}.yaml") for name in ("demo-fast", "demo"))


def test_network_and_method_are_those_of_the_demo():
    for section in ("model", "features", "perceptual", "residuals", "pseudo_masks", "refine", "paste"):
        assert getattr(FAST, section) == getattr(DEMO, section), section


def test_the_bundled_renderer_is_of_its_sizes():
    bundled = read_manifest(ROOT / FAST.pretrained).model
    assert bundled.model_copy(update={"motion_head": FAST.model.motion_head}) == FAST.model


def test_make_runs_it():
    planned = subprocess.run(
        ["make", "--dry-run", "demo", "FAST=1"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "--configfile config/demo-fast.yaml" in planned
    assert "run summary config/demo-fast.yaml" in planned
