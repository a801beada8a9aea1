"""A visitor's session: prediction, thresholds, controls, drawings, texts and the zip file."""

import json
import re
import shlex
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

import wildrayzer as wr
from tests.tools.test_render import checkpoint, pictures
from wildrayzer.api.arrays import ViewCameras
from wildrayzer.app import text
from wildrayzer.app.command import checkpoint_name, command, masks_command
from wildrayzer.app.download import write_zip
from wildrayzer.app.drawing import BLUE, SHOWN_SIDE, cameras_svg, enlarged, heat_map, overlay
from wildrayzer.app.session import Session, nearest_inputs, other_nearest_input
from wildrayzer.app.uploads import of_arrays
from wildrayzer.cli.main import app
from wildrayzer.io.shipped import BUNDLED_MODEL, BUNDLED_RENDERER

SIZE = 24
pytestmark = pytest.mark.usefixtures("one_thread")


def silent(share, what):
    assert 0 <= share <= 1
    assert what


def session(folder, count=5):
    names = [f"<b>{number}" for number in range(count)]
    return Session(wr.load(folder), "Room & <i>", of_arrays(pictures(count), names, image_size=SIZE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("app") / "joint")


@pytest.fixture(scope="module")
def predicted(folder):
    made = session(folder)
    made.predict(silent)
    return made


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    made = session(checkpoint(tmp_path_factory.mktemp("app") / "static", stage="pretrain"))
    made.predict(silent)
    return made


def test_a_prediction_is_the_apis_with_its_control(predicted):
    scene = predicted.model.scene(pictures(5))
    np.testing.assert_array_equal(predicted.views.views, scene.render().views)
    np.testing.assert_array_equal(predicted.ungated.views, scene.render(threshold=1.0).views)
    assert [one.name for one in predicted.steps] == ["cameras and motion", "5 views", "5 views without the gate"]
    assert all(one.seconds > 0 and one.peak_megabytes > 10 for one in predicted.steps)


def test_another_gate_keeps_cameras_and_drops_the_path(folder):
    made = session(folder)
    made.predict(silent)
    scene, before = made.scene, made.views.views
    made.render_path(3, silent)
    made.gate_threshold = 0.0  # no probability is 0, so that all input patches are kept out
    made.render()
    assert made.scene is scene
    assert made.path is None
    assert scene.gate(0.0)[list(scene.inputs)].all()
    assert np.abs(made.views.views - before).max() > 0


def test_a_path_has_its_controls(predicted):
    predicted.render_path(9, silent)
    path, scene = predicted.path, predicted.scene
    assert path.frames.shape == path.ungated.shape == (9, SIZE, SIZE, 3)
    np.testing.assert_array_equal(path.frames, scene.render_path(9).pixels)
    assert path.nearest[0] == min(scene.inputs)
    assert path.nearest[-1] == max(scene.inputs)


def test_nothing_is_predicted_at_first(folder):
    with pytest.raises(ValueError, match="nothing is predicted yet"):
        session(folder).render()


def test_the_nearest_input_by_position_and_direction():
    def cameras(*centres):
        c2w = np.tile(np.eye(4, dtype=np.float32), (len(centres), 1, 1))
        c2w[:, 0, 3] = centres
        return ViewCameras(c2w, np.ones((len(centres), 4), np.float32))

    views = cameras(0, 1, 2, 3)
    assert nearest_inputs(cameras(0.9, 1.4, 1.6, 9), views, (3, 0)).tolist() == [0, 0, 3, 3]
    turned = cameras(1, 1)
    turned.c2w[0, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    assert nearest_inputs(turned[:1], turned, (0, 1)).tolist() == [0]


def test_a_view_is_no_control_of_itself():
    assert [other_nearest_input(view, (0, 4, 2)) for view in range(5)] == [2, 0, 0, 2, 2]
    assert other_nearest_input(1, (1,)) == 1


def test_overlay_marks_transient_pixels_and_gated_patches():
    image = np.zeros((4, 4, 3), np.uint8)
    transient, gated = np.zeros((4, 4), bool), np.zeros((2, 2), bool)
    transient[0, 3], gated[1, 0] = True, True
    shown = overlay(image, transient, gated)
    side = SHOWN_SIDE // 4
    assert shown.shape == (SHOWN_SIDE, SHOWN_SIDE, 3)
    assert (shown[:side, 3 * side :] == (146, 18, 46)).all()  # 0.65 of the red
    assert not shown[:side, : 3 * side].any()
    assert (shown[2 * side, : 2 * side] == 255).all()  # the upper edge of the frame
    assert not shown[3 * side, 2 * side :].any()
    assert enlarged(np.zeros((300, 400, 3), np.uint8)).shape == (300, 400, 3)


def test_a_heat_map_frames_patches():
    shown = heat_map(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.0, 1.0, framed=np.array([[False, True], [False, False]]))
    side = SHOWN_SIDE // 2
    assert shown.shape == (SHOWN_SIDE, SHOWN_SIDE, 3)
    assert (shown[0, side:] == BLUE).all()
    assert (shown[:side, :side] == shown[0, 0]).all()
    assert shown[0, 0].max() < 10  # magma begins at black ...
    assert (shown[side:, :side] == shown[-1, 0]).all()
    assert shown[-1, 0].min() > 180  # ... and ends at light yellow


def test_cameras_are_drawn_inside_the_picture():
    c2w = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    c2w[:, 0, 3] = (0, 1, 50)
    cameras = ViewCameras(c2w, np.tile(np.array([1, 1, 0.5, 0.5], np.float32), (3, 1)))
    svg = cameras_svg(cameras, (0, 2), cameras, azimuth=90, elevation=10)
    assert (svg.count("<title>view 2, target"), svg.count(", input</title>")) == (1, 2)
    pairs = re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall(r'points="([^"]+)"', svg)))
    assert all(0 <= float(x) <= 640 and 0 <= float(y) <= 400 for x, y in pairs)
    one = ViewCameras(np.eye(4, dtype=np.float32)[None], np.array([[1, 1, 0.5, 0.5]], np.float32))
    assert "nan" not in cameras_svg(one, (0,))


def test_names_from_outside_are_escaped(predicted):
    assert "&lt;b&gt;0" in text.about_view(predicted, 0)
    assert "Room &amp; &lt;i&gt;" in text.about_pictures(predicted.title, predicted.pictures)


def test_the_page_says_what_a_static_model_lacks(static, predicted):
    assert "removes nothing" in text.about_model(static.model)
    assert "removes nothing" not in text.about_model(predicted.model)
    assert (static.ungated, static.gate_threshold, text.about_gate(static, 0.5)) == (None, None, "")


@pytest.mark.parametrize("folder", [BUNDLED_MODEL, BUNDLED_RENDERER])
def test_models_of_the_package_are_named_as_in_the_repository(folder):
    made = Session(wr.load(folder, device="cpu"), "", [])
    assert checkpoint_name(made) == f"resources/{folder.name}"
    assert "that ships with the package" in text.about_model(made.model)
    named = f"--checkpoint resources/{folder.name}"
    assert (named in masks_command(made)) == (folder == BUNDLED_MODEL)  # `masks run` takes the renderer by itself


def test_the_gates_text_counts_patches(predicted):
    grid = predicted.scene.gate(0.0).shape[-1]
    patches = len(predicted.scene.inputs) * grid**2
    assert f"{patches} of {patches} input patches" in text.about_gate(predicted, 0.0)
    assert "press “Render again”" in text.about_gate(predicted, 0.0)
    assert "press" not in text.about_gate(predicted, predicted.gate_threshold)


def unzipped(made, out):
    file = write_zip(made, out / "all.zip")
    with zipfile.ZipFile(file) as packed:
        packed.extractall(out / "all")
    assert sorted(path.name for path in out.iterdir()) == ["all", "all.zip"]
    return out / "all"


def test_the_zip_holds_everything_and_its_command_makes_it_again(predicted, tmp_path, monkeypatch):
    predicted.render_path(4, silent)
    predicted.mask_threshold = 0.4
    root = unzipped(predicted, tmp_path)
    there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    for kind in ("recorded", "views", "masks", "probability"):
        assert {f"{kind}/00{number}.png" for number in range(5)} <= there
    assert {"path.mp4", "README.txt", "colmap/scene/sparse/0/images.txt"} <= there
    transforms = json.loads((root / "nerfstudio/scene/transforms.json").read_text(encoding="utf-8"))
    assert len(transforms["frames"]) == 5
    assert "up to gauge" in transforms["comment"]
    assert "above 0.4" in transforms["comment"]
    words = shlex.split(command(predicted))
    assert " ".join(words) in (root / "README.txt").read_text(encoding="utf-8").replace("'", "")
    monkeypatch.chdir(root)
    assert CliRunner().invoke(app, [*words[1:], "--device", "cpu"]).exit_code == 0
    for number in range(5):
        again = (root / "again" / "renderings" / f"00{number}.png").read_bytes()
        assert again == (root / "views" / f"00{number}.png").read_bytes()
    predicted.mask_threshold = 0.5


def test_a_number_of_inputs_is_kept_in_the_command(folder):
    made = session(folder)
    made.inputs = 2
    made.predict(silent)
    assert made.scene.inputs == (0, 4)
    assert "--inputs 2" in command(made)
    made.inputs = 4
    with pytest.raises(ValueError, match="was trained with"):
        made.predict(silent)


def test_the_command_repeats_the_renderings_of_another_gate(folder, tmp_path, monkeypatch):
    made = session(folder)
    made.predict(silent)
    assert "--gate-threshold" not in command(made)
    made.gate_threshold = 0.0
    made.render()
    root = unzipped(made, tmp_path)
    words = shlex.split(command(made))
    assert words[words.index("--gate-threshold") + 1] == "0.0"
    monkeypatch.chdir(root)
    assert CliRunner().invoke(app, [*words[1:], "--device", "cpu"]).exit_code == 0
    again = (root / "again" / "renderings" / "002.png").read_bytes()
    assert again == (root / "views" / "002.png").read_bytes()
    assert json.loads((root / "again" / "render.json").read_text(encoding="utf-8"))["gate_threshold"] == 0.0


def test_a_static_models_zip_has_no_masks(static, tmp_path):
    root = unzipped(static, tmp_path)
    assert not (root / "masks").exists()
    assert "Nothing is removed" in (root / "README.txt").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="nothing is rendered yet"):
        write_zip(Session(static.model, "", static.pictures, scene=static.scene), tmp_path / "none.zip")
