"""`wildrayzer released verify` on the recorded cases and on faulty input."""

import zipfile

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.helpers.golden import draw_images, read_case, released_state, save_backbone
from wildrayzer.cli.main import app
from wildrayzer.released.verify import Difference


def write_case(name, folder):
    """Checkpoint, images and expected outputs of a recorded case."""
    case, keys, expected = read_case(name)
    torch.save({"model": released_state(keys, case["seed"])}, folder / "in.pt")
    images = draw_images(case["batch"], case["vin"] + case["vtg"], case["img"], case["seed"]).numpy()
    np.savez(folder / "images.npz", images=images)
    np.savez(folder / "expected.npz", **expected)
    return case, images, expected


def run(folder, *options, inputs=2):
    files = {"--images": folder / "images.npz", "--expected": folder / "expected.npz", "--inputs": inputs}
    arguments = ["released", "verify", folder / "in.pt", *(part for pair in files.items() for part in pair), *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    case, images, expected = write_case("masked_small", folder)
    save_backbone(case, folder / "backbone")
    return folder, images, expected


@pytest.fixture
def tiny(tmp_path):
    _, images, expected = write_case("tiny_renderer", tmp_path)
    return tmp_path, images, expected


def test_tiny_renderer_verifies_and_a_changed_value_does_not(tiny):
    folder, _, expected = tiny
    result = run(folder)
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert set(rows) == {"array", "c2w", "fxfycxcy", "render"}
    assert float(rows["render"][0]) < 1e-5
    assert float(rows["render"][1]) < float(rows["render"][0])

    expected["render"][1, 2, 0, 5, 5] += 0.01
    np.savez(folder / "expected.npz", render=expected["render"])
    result = run(folder)
    assert result.exit_code == 1
    assert "past the tolerance 0.0001" in result.output
    assert run(folder, "--tolerance", 0.02).exit_code == 0
    expected["render"][1, 2, 0, 5, 5] = np.nan
    np.savez(folder / "expected.npz", render=expected["render"])
    assert run(folder, "--tolerance", 0.02).exit_code == 1


def test_another_canonical_view_does_not_verify(tiny):
    assert run(tiny[0], "--canonical", "middle").exit_code == 1


def test_masked_small_verifies_with_its_threshold_alone(masked):
    folder, _, _ = masked
    result = run(folder, "--mask-threshold", 0.39, "--backbone", folder / "backbone")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 8
    result = run(folder, "--backbone", folder / "backbone")
    assert result.exit_code == 1
    failing = {line.split()[0] for line in result.stdout.splitlines() if "past" in line}
    assert failing == {"render", "render_input", "input_patch_mask"}


def test_cameras_verify_without_a_backbone_and_the_rest_does_not(masked, tmp_path):
    folder, _, expected = masked
    whole = run(folder)
    assert whole.exit_code == 2
    assert "name a local Hugging Face folder with --backbone" in whole.output
    assert "no such folder; --backbone takes" in run(folder, "--backbone", tmp_path / "none").output
    np.savez(tmp_path / "cameras.npz", c2w=expected["c2w"], fxfycxcy=expected["fxfycxcy"])
    cameras = run(folder, "--expected", tmp_path / "cameras.npz")
    assert cameras.exit_code == 0, cameras.output


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"pictures": np.zeros((1, 3, 3, 32, 32))}, "no array 'images'; it holds pictures"),
        ({"images": np.zeros((5, 3, 32, 32))}, "images has shape [5, 3, 32, 32]; expected [B, V, 3, H, W]"),
        ({"images": np.zeros((1, 5, 32, 32, 3))}, "expected [B, V, 3, H, W]"),
        ({"images": np.zeros((0, 5, 3, 32, 32))}, "expected [B, V, 3, H, W]"),
        ({"images": np.zeros((1, 5, 3, 32, 32), dtype=np.uint8)}, "images holds uint8"),
        ({"images": np.full((1, 5, 3, 32, 32), 7.0)}, "values outside [0, 1]"),
        ({"images": np.full((1, 5, 3, 32, 32), np.nan)}, "values outside [0, 1]"),
        ({"images": np.array([{}], dtype=object)}, "not readable as NPZ"),
        ({"images": np.array(["a"])}, "images holds <U1, not real numbers"),
        ({"images": np.zeros((1, 2, 3, 32, 32))}, "inputs = 2, but"),
        ({"images": np.zeros((1, 5, 3, 30, 30))}, "model.patch_size = 8 does not divide model.image_size = 30"),
    ],
)
def test_faulty_images_are_named(tiny, images, message):
    folder, _, _ = tiny
    np.savez(folder / "images.npz", **images)
    result = run(folder)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pose": np.zeros(3)}, "unknown arrays pose; known are c2w, fxfycxcy, render"),
        ({}, "no arrays to compare with"),
        ({"c2w": np.zeros((2, 4, 4, 4))}, "c2w has shape [2, 4, 4, 4], expected [2, 5, 4, 4]"),
        ({"input_patch_mask": np.zeros((4, 1, 4, 4))}, "holds input_patch_mask, but"),
    ],
)
def test_faulty_expectations_are_named(tiny, arrays, message):
    folder, _, _ = tiny
    np.savez(folder / "expected.npz", **arrays)
    result = run(folder)
    assert result.exit_code == 2
    assert message in result.output


def test_files_that_are_no_npz_are_named(tiny):
    folder, images, _ = tiny
    np.save(folder / "single.npy", images)
    (folder / "images.npz").write_bytes((folder / "single.npy").read_bytes())
    assert "a single array, not an archive" in run(folder).output
    (folder / "images.npz").write_bytes(b"PK nothing")
    assert "not readable as NPZ" in run(folder).output
    with zipfile.ZipFile(folder / "images.npz", "w") as archive:
        archive.writestr("images.npy", b"short")
    assert "not readable as NPZ (EOF: reading magic string" in run(folder).output
    with zipfile.ZipFile(folder / "images.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00cut short")
    assert "not readable as NPZ" in run(folder).output
    (folder / "images.npz").unlink()
    result = run(folder)
    assert "no such file; name an NPZ file" in result.output
    assert result.exit_code == 2


def test_a_threshold_must_be_a_probability(tiny):
    result = run(tiny[0], "--mask-threshold", 1.5)
    assert result.exit_code == 2
    assert "mask threshold 1.5: choose a probability" in result.output


def test_tolerance_is_inclusive_and_nan_is_never_within():
    assert Difference("x", largest=0.5, mean=0.1).within(0.5)
    assert not Difference("x", largest=0.51, mean=0.1).within(0.5)
    assert not Difference("x", largest=float("nan"), mean=0.1).within(1e9)
