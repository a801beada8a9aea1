"""`make setup` after an interruption."""

import shutil
import subprocess
import sys

import pytest

from tests.helpers.tiny_run import ROOT


@pytest.mark.slow
def test_setup_completes_an_environment_that_was_left_without_pip_and_with_half_a_package(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    # Ends the set-up right after the environment, without a network.
    (tmp_path / "requirements.lock").write_text("./no-such-package\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    python = tmp_path / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0
    half = next(tmp_path.glob(".venv/lib/python*/site-packages")) / "half-1.0.dist-info"
    half.mkdir()
    (half / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")

    command = ["make", "setup", f"PYTHON={sys.executable}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "No module named pip" not in result.stdout + result.stderr
    assert "no-such-package" in result.stderr, "pip read the lock"
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    assert not half.exists(), "pip would take it for installed"
    assert not (tmp_path / ".venv" / ".installed").exists()
