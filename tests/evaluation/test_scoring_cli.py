"""`wildrayzer score`: the JSON it prints and the files it refuses."""

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.evaluation.test_metrics import RECORDED, vgg16_file  # noqa: F401
from wildrayzer.cli.main import app


@pytest.fixture
def files(tmp_path):
    with np.load(RECORDED) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "truth.npz", images=arrays["gt"])
    np.savez(tmp_path / "prediction.npz", images=arrays["pred"])
    np.savez(tmp_path / "mask.npz", mask=arrays["mask"])
    return tmp_path, arrays


def call(folder: Path, *extra: str):
    names = ("truth", "prediction", "mask")
    return CliRunner().invoke(
        app, ["score"] + [part for n in names for part in (f"--{n}", str(folder / f"{n}.npz"))] + [*extra]
    )


def test_prints_recorded_values(files, vgg16_file):  # noqa: F811
    folder, arrays = files
    result = call(folder, "--lpips-weights", str(vgg16_file))
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    for region in ("static", "transient"):
        values = scores["per_image"][region]
        np.testing.assert_allclose(values["psnr"], arrays[f"psnr_{region}"], atol=1e-3)
        np.testing.assert_allclose(values["ssim"], arrays[f"ssim_{region}"], atol=1e-4)
        np.testing.assert_allclose(values["lpips"], arrays[f"lpips_paper_{region}"], atol=1e-4)
        np.testing.assert_allclose(values["lpips_released"], arrays[f"lpips_spatial_{region}"], atol=1e-4)
        assert scores["mean"][region]["psnr"] == pytest.approx(np.nanmean(arrays[f"psnr_{region}"]), abs=1e-3)
    assert scores["empty_masks"] == {"full": 0, "static": 0, "transient": 1}
    assert scores["per_image"]["full"]["ssim_valid"][0] < scores["per_image"]["full"]["ssim"][0]


def test_says_why_lpips_is_absent(files):
    scores = json.loads(call(files[0]).stdout)
    assert "no VGG-16 weights" in scores["lpips"]
    assert "lpips" not in scores["mean"]["full"]


def test_all_masks_empty_means_nan(files):
    folder, arrays = files
    np.savez(folder / "mask.npz", mask=np.zeros_like(arrays["mask"], dtype=bool))
    scores = json.loads(call(folder).stdout)
    assert math.isnan(scores["mean"]["transient"]["psnr"])
    assert scores["empty_masks"]["transient"] == 3
    assert scores["mean"]["static"] == scores["mean"]["full"]


def test_a_picture_equal_to_its_truth_is_left_out_of_the_mean_and_counted(files):
    folder, arrays = files
    before = json.loads(call(folder).stdout)["per_image"]["full"]["psnr"]
    np.savez(folder / "prediction.npz", images=np.concatenate([arrays["gt"][:1], arrays["pred"][1:]]))
    scores = json.loads(call(folder).stdout)
    assert scores["per_image"]["full"]["psnr"] == [math.inf, *before[1:]]
    assert scores["mean"]["full"]["psnr"] == pytest.approx(np.mean(before[1:]))
    assert scores["equal_images"]["full"] == 1
    assert scores["empty_masks"]["full"] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("truth", {"pictures": np.zeros((1, 3, 4, 4))}, "holds ['pictures'] and no array 'images'"),
        ("truth", {"images": np.zeros((3, 64, 64, 3))}, "shape (3, 64, 64, 3); expected [N, 3, H, W]"),
        ("truth", {"images": np.zeros((0, 3, 64, 64))}, "shape (0, 3, 64, 64)"),
        ("prediction", {"images": np.zeros((3, 3, 32, 32))}, "prediction has shape (3, 3, 32, 32)"),
        ("prediction", {"images": np.zeros((2, 3, 64, 64))}, "prediction has shape (2, 3, 64, 64)"),
        ("prediction", {"images": np.full((3, 3, 64, 64), 200, np.uint8)}, "uint8; store floating point"),
        ("prediction", {"images": np.full((3, 3, 64, 64), 1.5)}, "spans [1.5, 1.5]; scale to [0, 1]"),
        ("prediction", {"images": np.full((3, 3, 64, 64), np.nan)}, "36864 values that are NaN"),
        (
            "prediction",
            {"images": np.array([{"a": 1}], dtype=object)},
            "not readable as NPZ (it holds object, pickled objects)",
        ),
        ("mask", {"mask": np.zeros((3, 64, 64))}, "expected [N, 1, H, W]"),
        ("mask", {"mask": np.zeros((3, 1, 32, 32))}, "mask has shape (3, 1, 32, 32), expected (3, 1, 64, 64)"),
        (
            "mask",
            {"mask": np.full((3, 1, 64, 64), 255, np.uint8)},
            "mask holds [255]; store 0 = static, 1 = transient, and 255 = unknown beside these",
        ),
        ("mask", {"mask": np.full((3, 1, 64, 64), -1, np.int8)}, "mask holds [-1]; store 0 = static"),
        ("mask", {"mask": np.full((3, 1, 64, 64), "x")}, "store bool, integers or floating point"),
    ],
)
def test_refuses_bad_arrays(files, name, content, message):
    np.savez(files[0] / f"{name}.npz", **content)
    result = call(files[0])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_255_beside_1_is_unknown_and_in_neither_region(files):
    folder, arrays = files
    before = json.loads(call(folder).stdout)
    mask = np.zeros((3, 1, 64, 64), np.uint8)
    mask[:, :, :16], mask[:, :, 16:] = 1, 255
    np.savez(folder / "mask.npz", mask=mask)
    scores = json.loads(call(folder).stdout)
    assert scores["empty_masks"] == {"full": 0, "static": 3, "transient": 0}
    assert scores["per_image"]["full"] == before["per_image"]["full"]
    error = (arrays["pred"] - arrays["gt"])[:, :, :16].astype(float) ** 2
    assert scores["per_image"]["transient"]["psnr"] == pytest.approx(
        (-10 * np.log10(error.mean((1, 2, 3)))).tolist(), abs=1e-3
    )


@pytest.mark.parametrize("claim", ["(3000000000000, 1)", "(1000000, 1000000, 1000)"])
def test_a_header_that_claims_more_than_the_file_holds_is_refused(files, claim):
    stream = io.BytesIO()
    np.save(stream, np.zeros((3, 1, 64, 64)))
    text = stream.getvalue().replace(b"(3, 1, 64, 64), }".ljust(40), f"{claim}, }}".encode().ljust(40))
    with zipfile.ZipFile(files[0] / "mask.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mask.npy", text)
    result = call(files[0])
    assert (result.exit_code, "its header claims" in result.stderr) == (2, True), result.stderr


def test_refuses_bad_files(files):
    folder, arrays = files
    assert "no such file" in call(folder, "--lpips-weights", str(folder / "none.pth")).stderr
    (folder / "mask.npz").write_bytes((folder / "mask.npz").read_bytes()[:100])
    assert "not readable as NPZ" in call(folder).stderr
    np.savez_compressed(folder / "mask.npz", mask=arrays["mask"])
    torn = bytearray((folder / "mask.npz").read_bytes())
    torn[60:80] = bytes(20)  # within the compressed data: the archive is whole, its content is not
    (folder / "mask.npz").write_bytes(torn)
    result = call(folder)
    assert (result.exit_code, "not readable as NPZ" in result.stderr) == (2, True)
    np.save(folder / "single.npy", arrays["mask"])
    (folder / "single.npy").rename(folder / "mask.npz")
    result = call(folder)
    assert (result.exit_code, "not readable as NPZ" in result.stderr) == (2, True)
    (folder / "mask.npz").unlink()
    assert "no such file" in call(folder).stderr
