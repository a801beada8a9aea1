"""The fast demo: the network of the bundled renderer and the demo's options of the method, on fewer clips."""

import subprocess
from pathlib import Path

import pytest

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import load_config

ROOT = Path(__file__).parents[2]
FAST, DEMO, SHOWCASE = (load_config(ROOT / "config" / f"{name}.yaml") for name in ("demo-fast", "demo", "showcase"))


METHOD = ("features", "perceptual", "residuals", "pseudo_masks", "refine", "paste")


@pytest.mark.parametrize("other", [DEMO, SHOWCASE])
def test_the_method_is_that_of_the_demo_and_of_the_bundled_models(other):
    for section in METHOD:
        assert getattr(FAST, section) == getattr(other, section), section


def test_the_network_is_that_of_the_bundled_models():
    assert FAST.model == SHOWCASE.model
    assert read_manifest(ROOT / "resources" / "bundled-model").model == SHOWCASE.model


def test_the_bundled_renderer_is_of_its_sizes():
    bundled = read_manifest(ROOT / FAST.pretrained).model
    assert bundled.model_copy(update={"motion_head": FAST.model.motion_head}) == FAST.model


def test_make_runs_it():
    planned = subprocess.run(
        ["make", "--dry-run", "demo", "FAST=1"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "--configfile config/demo-fast.yaml" in planned
    assert "run summary config/demo-fast.yaml" in planned
