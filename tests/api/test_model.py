"""Models and scenes of the API: pictures of every kind, what is rendered, thresholds, and refusals."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wildrayzer as wr
from tests.tools.test_render import checkpoint, photos, pictures, tiny
from wildrayzer.api.images import read_pictures
from wildrayzer.data.ingest.views import read_views
from wildrayzer.evaluation.methods.unposed import choose_inputs, render_views
from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor

ROOT = Path(__file__).parents[2]
SIZE = 24
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("api") / "joint")


@pytest.fixture(scope="module")
def model(folder):
    return wr.load(folder)


def test_the_package_names_its_api_and_imports_nothing_heavy():
    code = (
        "import wildrayzer as wr, sys; assert set(wr.__all__) <= set(dir(wr))\n"
        "heavy = [name for name in ('torch', 'numpy', 'xarray', 'pydantic') if name in sys.modules]\n"
        "print(callable(wr.pseudo_masks), heavy)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["True []"]
    assert all(getattr(wr, name) is not None for name in wr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wr.nothing  # noqa: B018


def test_views_are_those_of_wildrayzer_render(model):
    images = pictures(5)
    scene = model.scene(images)
    assert (len(scene), scene.inputs) == (5, tuple(choose_inputs(5, 3)))
    assert scene.is_input.tolist() == [True, False, True, False, True]
    backbone = Descriptor(patch_size=4)
    expected, _ = render_views(tiny(), images, scene.inputs, targets=2, backbone=backbone, gated=True, device="cpu")
    made = scene.render()
    assert (made.views.shape, made.views.dtype) == ((5, SIZE, SIZE, 3), np.float32)
    for place, view in enumerate(expected):
        np.testing.assert_allclose(made.views[place], view.rendering.movedim(0, -1), atol=1e-6)
        np.testing.assert_allclose(made.cameras.c2w[place], view.common_c2w, atol=1e-6)
        np.testing.assert_allclose(made.cameras.intrinsics[place], view.cameras.intrinsics[0, 0], atol=1e-6)
        np.testing.assert_allclose(made.masks.probability[place], view.probability, atol=1e-6)
    np.testing.assert_array_equal(scene.gate()[list(scene.inputs)], [expected[n].replaced for n in scene.inputs])
    assert not scene.gate()[~scene.is_input].any()


def test_pictures_of_every_kind_are_the_same_picture(model, tmp_path):
    paths = photos(tmp_path / "in", [(40, 24), (24, 48)])
    arrays = [np.asarray(Image.open(path)) for path in paths]
    expected = np.stack([view.image for view in read_views(paths, image_size=SIZE, frames=10)])
    kinds = (
        paths,
        str(tmp_path / "in"),
        arrays,
        [Image.open(path) for path in paths],
        [array / 255 for array in arrays],
        [arrays[0], Image.open(paths[1])],
    )
    for kind in kinds:
        found = read_pictures(kind, image_size=SIZE)
        np.testing.assert_array_equal(np.stack([view.image for view in found]), expected)
    grey = read_pictures([np.full((24, 24), 7, np.uint8)], image_size=SIZE)[0].image
    assert np.unique(grey).tolist() == [7]
    turned = Image.fromarray(arrays[0])
    turned.getexif()[274] = 6  # to be turned clockwise by a quarter
    upright, expected = (read_pictures(one, image_size=SIZE)[0] for one in (turned, np.rot90(arrays[0], -1)))
    np.testing.assert_array_equal(upright.image, expected.image)
    assert model.scene(arrays).names == ("images[0]", "images[1]")
    assert model.scene(paths).names == ("p0.png", "p1.png")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there are none"),
        ([np.zeros((3, 24, 24))], "images[0]: an array of shape [3, 24, 24]; give [h w 3]"),
        ([np.full((24, 24, 3), 200.0)], "floats from 200 to 200; floats are in [0, 1]: divide"),
        ([np.full((24, 24, 3), np.nan)], "floats are in [0, 1]"),
        ([np.zeros((24, 24, 3), np.int64)], "an array of int64; give uint8"),
        ([np.zeros((24, 24, 3)), "a.png"], "images[1]: a path among arrays"),
        ("nowhere", "nowhere"),
        ([Image.new("F", (24, 24))], "images[0]: it holds 32-bit values"),
    ],
)
def test_unusable_pictures_are_named(images, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_pictures(images, image_size=SIZE)


def test_another_threshold_renders_again_from_the_same_probabilities(model, monkeypatch):
    scene = model.scene(pictures(3))
    monkeypatch.setattr(type(model.network), "predict_cameras", lambda *_, **__: pytest.fail("predicted again"))
    assert not scene.gate(1.0).any()
    assert scene.gate(0.0)[list(scene.inputs)].all()
    everything, nothing = scene.render(threshold=1.0), scene.render(threshold=0.0)
    assert not np.allclose(everything.views, nothing.views)
    assert everything.masks is scene.masks
    looser = scene.masks.at(0.0)
    assert looser.transient.all()
    assert looser.probability is scene.masks.probability
    assert (scene.masks.threshold, model.gate_threshold) == (0.5, 0.5)


def test_a_path_leads_through_the_inputs_and_is_the_same_in_slices(model):
    scene = model.scene(pictures(3))
    path = scene.path(5)
    np.testing.assert_allclose(path.c2w[[0, 2, 4]], scene.cameras.c2w, atol=1e-5)
    made = scene.render_path(5)
    assert (len(made), made.masks, made.names) == (5, None, ("0", "1", "2", "3", "4"))
    np.testing.assert_allclose(made.views[[0, -1]], scene.render().views[[0, -1]], atol=1e-4)
    slices = [scene.render(path[start : start + 2]).views for start in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(slices), made.views, atol=1e-6)
    gated = scene.render(path[[1]], threshold=0.0).views[0]
    assert np.abs(gated - made.views[1]).max() > 5e-6, "the scene is encoded again for another threshold"


def test_files_are_written_into_a_new_folder(model, tmp_path):
    made = model.render(pictures(3))
    files = made.save(tmp_path / "out")
    assert [file.name for file in files] == ["000.png", "001.png", "002.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(files[1])), made.pixels[1])
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "002.png"))
    np.testing.assert_array_equal(mask, made.masks.transient[2] * 255)
    with pytest.raises(ValueError, match="out exists; name another folder"):
        made.save(tmp_path / "out")


def test_view_counts_are_checked_and_forced_ones_are_said(model):
    with pytest.raises(ValueError, match=r"was trained with \[2, 3\] input views, not 4; give as many pictures"):
        model.scene(pictures(5), inputs=4)
    assert "not 4" in model.scene(pictures(5), inputs=4, force=True).warnings[0]
    assert model.scene(pictures(5), inputs=2).inputs == (0, 4)


def test_a_static_renderer_has_no_masks_and_says_why(tmp_path):
    static = wr.load(checkpoint(tmp_path / "pretrain", "pretrain"))
    scene = static.scene(pictures(2))
    assert (scene.masks, scene.gate(), static.gate_threshold) == (None, None, None)
    assert "not trained yet" in static.static_because
    assert static.render(pictures(2)).masks is None


def test_a_folder_without_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint here"):
        wr.load(tmp_path)


def test_the_scripts_of_the_document_run_as_they_stand(tmp_path):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    script, *others = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (steps,) = [block for block in others if "model.scene(" in block]
    assert len([line for line in script.splitlines() if line]) <= 5
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    names = {}
    with contextlib.chdir(tmp_path):
        exec(script, names)
        exec(steps, names)
    assert len(list((tmp_path / "clean-views" / "renderings").iterdir())) == 5
    photo, view = names["scene"].images[1] / 255, names["rendered"].views[1]
    moving = names["rendered"].masks.transient[1]
    error = ((photo - view) ** 2).mean(-1)
    spread = ((photo - photo.mean((0, 1))) ** 2).mean(-1)
    assert error[~moving].mean() < 0.6 * spread[~moving].mean(), "the bundled model renders the scene"
    assert error[moving].mean() > 2 * error[~moving].mean(), "and leaves out what moves"
