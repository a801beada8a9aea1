"""`masks run`: its folder, what it exports, and its page; the stages themselves are stood in for."""

import shutil
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.clips import write_clip
from tests.helpers.report_run import make_masks, make_store, small_config
from wildrayzer.checkpoint import save_checkpoint
from wildrayzer.cli.main import app
from wildrayzer.config import load_config
from wildrayzer.data.ingest.report import read_report
from wildrayzer.io.shipped import BUNDLED_MODEL, SNAKEFILE
from wildrayzer.models import WildRayZer
from wildrayzer.tools.video_masks import video_masks, workflow
from wildrayzer.tools.video_masks.export import STATIC, TRANSIENT, UNSEEN, full_mask, overlay
from wildrayzer.tools.video_masks.page import MaskNumbers, advice
from wildrayzer.tools.video_masks.workspace import SPLIT, Workspace

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = ("--fps", "0", "--clip-length", "8", "--no-cuts")  # every frame of the noise is a cut


def run(*arguments):
    return CliRunner().invoke(app, ["masks", "run", *map(str, arguments)])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A video of three clips, a checkpoint, and a configuration that fits it."""
    folder = tmp_path_factory.mktemp("inputs")
    config = small_config()
    save_checkpoint(
        folder / "checkpoint", WildRayZer(config.model), stage="pretrain", step=1, inputs=2, targets=2,
        config_digest="c0ffee", parent=None, extra={},
    )  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
    write_clip(folder / "walk.mp4", 24, size=(64, 32), noise=True)
    return folder


@pytest.fixture
def stages(monkeypatch):
    """Stands for the workflow: a frame store and masks whose patches move to the right. Counts the calls."""
    calls = []

    def make(workspace, *, cores):
        calls.append(cores)
        config, layout = workspace.config(), workspace.layout
        if len(calls) == 1:
            clips = [clip for source in read_report(workspace.data).sources for clip in source.clips]
            make_store(config, layout, SPLIT, scenes=clips)
            make_masks(config, layout, SPLIT)

    monkeypatch.setattr(video_masks, "make_masks", make)
    return calls


def test_one_command_from_a_video_to_masks_overlays_and_a_page(inputs, stages, tmp_path):
    out = tmp_path / "out"
    command = (inputs / "walk.mp4", "--out", out, "--base", inputs / "base.yaml", "--checkpoint",
               inputs / "checkpoint", "--cores", 3, *OPTIONS)  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert stages == [3]
    masks = sorted((out / "masks").rglob("*.png"))
    assert [str(file.relative_to(out / "masks")) for file in masks[:2]] == ["walk_000/00000.png", "walk_000/00001.png"]
    assert len(masks) == 24
    mask = cv2.imread(str(masks[2]), cv2.IMREAD_UNCHANGED)
    # The central square of 64 × 32 pixels; on the right of it the patch of the third frame, two pixels to a pixel.
    assert mask.shape == (32, 64)
    assert set(np.unique(mask[:, :16])) == set(np.unique(mask[:, 48:])) == {UNSEEN}
    assert set(np.unique(mask[:, 16:48])) <= {STATIC, TRANSIENT, UNSEEN}
    assert (mask[8:16, 16:48] == TRANSIENT).any()
    assert not (mask[20:, 16:48] == TRANSIENT).any()
    with av.open(str(out / "overlays" / "walk.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 24
    page = (out / "index.html").read_text(encoding="utf-8")
    assert 'src="overlays/walk.mp4"' in page
    assert "More pixels. Masks are made at 16 px" in page
    assert "For better masks:\n  - Learned features" in result.output
    assert "bundled-renderer" not in (out / "config.yaml").read_text(encoding="utf-8")
    # the same masks in the layout of DAVIS: 1 moves, 255 is unknown
    davis = tmp_path / "davis"
    result = CliRunner().invoke(app, ["export", "masks", str(out), "--to", "davis", "--out", str(davis)])
    assert result.exit_code == 0, result.output
    numbers = np.asarray(Image.open(davis / "Annotations/480p/walk_000/00002.png"))
    np.testing.assert_array_equal(numbers, np.select([mask == TRANSIENT, mask == UNSEEN], [1, 255], 0))
    assert len(list((davis / "JPEGImages/480p").rglob("*.jpg"))) == 24


def test_a_second_call_keeps_the_options_and_makes_the_exports_again(inputs, stages, tmp_path):
    out = tmp_path / "out"
    given = ("--base", inputs / "base.yaml", "--checkpoint", inputs / "checkpoint")
    assert run(inputs / "walk.mp4", "--out", out, *given, *OPTIONS).exit_code == 0
    text = (out / "config.yaml").read_text(encoding="utf-8").replace("psnr_filter: 17.0", "psnr_filter: 9.0")
    (out / "config.yaml").write_text(text, encoding="utf-8")
    (out / "masks" / "walk_000" / "stale.png").write_bytes(b"")
    assert run(inputs / "walk.mp4", "--out", out, *OPTIONS).exit_code == 0
    assert load_config(out / "config.yaml").distill.psnr_filter == 9.0
    assert not (out / "masks" / "walk_000" / "stale.png").exists()
    assert run(inputs / "walk.mp4", "--out", out).exit_code == 0, "options of an earlier call need not be repeated"
    other = run(inputs / "walk.mp4", "--out", out, "--clip-length", 9)
    assert other.exit_code == 2
    assert "--clip-length" in other.output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--checkpoint", "nowhere"), "--checkpoint nowhere: no checkpoint here, manifest.json is missing"),
        (("--checkpoint", "."), "--checkpoint .: no checkpoint here, manifest.json is missing"),
        (("--base", "nowhere.yaml"), "--base nowhere.yaml: no such file; name a configuration"),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_video_is_read(inputs, option, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(inputs / "walk.mp4", "--out", "out", *option)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_a_renderer_that_is_gone_is_named(inputs, stages, tmp_path):
    shutil.copytree(inputs / "checkpoint", tmp_path / "moved")
    out = tmp_path / "out"
    given = ("--base", inputs / "base.yaml", "--checkpoint", tmp_path / "moved")
    assert run(inputs / "walk.mp4", "--out", out, *given, *OPTIONS).exit_code == 0
    shutil.rmtree(tmp_path / "moved")
    result = run(inputs / "walk.mp4", "--out", out)
    assert result.exit_code == 2
    message = " ".join(result.output.split())
    assert f"config.yaml: pretrained: {tmp_path / 'moved'}: no checkpoint here" in message
    assert "name a checkpoint folder by --checkpoint" in message
    assert len(stages) == 1
    assert run(inputs / "walk.mp4", "--out", out, "--checkpoint", inputs / "checkpoint").exit_code == 0


def test_a_named_checkpoint_or_base_leaves_the_rest_of_the_configuration(inputs, tmp_path):
    workspace = Workspace(tmp_path)
    workspace.data.mkdir()
    workspace.configure(inputs / "base.yaml", inputs / "checkpoint")
    first = workspace.config()
    edited = workspace.config_file.read_text(encoding="utf-8").replace("psnr_filter: 17.0", "psnr_filter: 9.0")
    workspace.config_file.write_text(edited, encoding="utf-8")
    shutil.copytree(inputs / "checkpoint", tmp_path / "other")
    workspace.configure(None, tmp_path / "other")
    assert workspace.config().pretrained == str((tmp_path / "other").resolve())
    assert workspace.config().distill.psnr_filter == 9.0
    assert workspace.config().data == first.data
    workspace.configure(inputs / "base.yaml", None)
    assert workspace.config().pretrained == str((tmp_path / "other").resolve())
    assert workspace.config().distill.psnr_filter == 17.0


def test_what_is_named_and_not_taken_is_said_with_exit_code_1(inputs, stages, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(inputs / "walk.mp4", folder)
    (folder / "other.heic").write_bytes(b"no image")
    out = tmp_path / "out"
    given = ("--base", inputs / "base.yaml", "--checkpoint", inputs / "checkpoint", *OPTIONS)
    for _ in range(2):
        result = run(folder, "--out", out, *given)
        assert result.exit_code == 1, result.output
        assert "not taken" in result.output
        assert "other.heic" in result.output


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = run("video.mp4", "--out", tmp_path)
    assert result.exit_code == 2
    assert "holds other files; name a new folder" in result.output
    assert "is a file" in run("video.mp4", "--out", tmp_path / "notes.txt").output
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("code", [0, 1])
def test_the_stages_are_asked_for_pixel_masks_only(inputs, tmp_path, monkeypatch, code):
    asked = []

    class Process:
        def __init__(self, command):
            asked.extend(command)

        def wait(self):
            return code

    monkeypatch.setattr(subprocess, "Popen", Process)
    workspace = Workspace(tmp_path)
    workspace.data.mkdir()
    workspace.configure(inputs / "base.yaml", inputs / "checkpoint")
    if code:
        with pytest.raises(ValueError, match=r"a stage failed.*the same command resumes"):
            workflow.make_masks(workspace, cores=2)
    else:
        workflow.make_masks(workspace, cores=2)
    assert Path(asked[asked.index("--snakefile") + 1]) == SNAKEFILE
    assert asked[asked.index("--directory") + 1] == str(tmp_path)
    target = Path(workspace.layout.pixel_masks(1, SPLIT)).relative_to(tmp_path)
    assert asked[asked.index("--") + 1 :] == [str(target)]


def test_masks_and_overlays_by_hand():
    mask = np.array([[1, 0], [255, 0]], np.uint8)
    full = full_mask(mask, 2, 4)
    assert full.tolist() == [[128, 255, 0, 128], [128, 128, 0, 128]]
    image = np.full((8, 16, 3), 100, np.uint8)
    shown = overlay(image, full_mask(np.zeros((2, 2), np.uint8), 8, 16))
    assert shown[0, 0].tolist() == [60, 60, 60]
    assert shown[0, 8].tolist() == [100, 100, 100]
    marked = overlay(np.full((20, 20, 3), 100, np.uint8), full_mask(np.ones((2, 2), np.uint8), 20, 20))
    # 0.55 · 100 + 0.45 · (255, 90, 0) inside, the pure colour on the outline
    assert marked[10, 10].tolist() == [170, 96, 55]
    assert marked[0, 10].tolist() == [255, 90, 0]


def test_advice_follows_the_numbers(inputs, tmp_path):
    workspace = Workspace(tmp_path)
    workspace.data.mkdir()
    workspace.configure(None, None)
    config = workspace.config()
    calm = advice(MaskNumbers(9, 9, 20.0, kept=0.9, coverage=0.1), config)
    assert [line.partition(".")[0] for line in calm] == [
        "A renderer that has seen real scenes", "Learned features", "More pixels", "Thresholds of your own",
    ]  # fmt: skip
    workspace.configure(None, BUNDLED_MODEL)
    assert "procedural rooms" in advice(MaskNumbers(9, 9, 20.0, kept=0.9, coverage=0.1), workspace.config())[0]
    poor = advice(MaskNumbers(9, 9, 20.0, kept=0.25, coverage=0.6), config)
    assert "75% of the frames are rendered below 17 dB" in poor[3]
    assert "Masks cover 60% of the frame" in poor[4]
